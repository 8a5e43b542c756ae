"""``python -m revibranch.benchmarks.reproduce``: a policy that ships once more, by the commit and the recipe in its checkpoint.

Later code gives other weights from the same recipe, so the commit's own is checked out and installed, in a folder of its own.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from ..gnn.description import CheckpointError, Description, read_checkpoint
from ..gnn.pretrained import pretrained_names, pretrained_path
from ..gnn.training.run_folder import checkpoint_path, holds_run, recipe_changes

__all__ = ["commands", "difference"]

_Tensors = Mapping[str, NDArray[np.float32]]


def commands(name: str, description: Description, repository: Path, folder: Path) -> list[Sequence[str | Path]]:
    """What is to be run, one after the other, in the folder; what an interrupted run has done is not done again.

    Args:
        name: of the policy.
        description: of its checkpoint.
        repository: a clone of this project with its history.
        folder: where source, environment and training go.

    Raises:
        ValueError: the checkpoint names no commit, or one with changes that nobody knows.
    """
    commit = description.commit
    if commit is None or not commit.isalnum():
        raise ValueError(f"{name} cannot be trained again: its checkpoint names no commit of this project ({commit})")
    source, part, run = folder / "source", folder / "source.part", folder / "run"
    train: list[str | Path] = [source / ".venv" / "bin" / "python", "-m", "revibranch", "train", folder / f"{name}.toml", "--out", run]
    train += [part for change in recipe_changes(description.recipe) for part in ("--set", change)]
    if holds_run(run):
        train.append("--resume")
    clone: list[Sequence[str | Path]] = []
    if not source.exists():  # a clone that was cut off is begun anew
        clone = [("rm", "-rf", part), ("git", "clone", "--quiet", repository, part), ("mv", part, source)]
    return [*clone, ("git", "-C", source, "checkout", "--quiet", commit), ("make", "-C", source, "install"), train]


def difference(first: _Tensors, second: _Tensors) -> float:
    """The largest difference of two checkpoints' weights; 0 where they are the same, bit for bit; infinite where their shapes differ."""
    if {name: tensor.shape for name, tensor in first.items()} != {name: tensor.shape for name, tensor in second.items()}:
        return float("inf")
    return max((float(np.abs(first[name] - second[name]).max(initial=0.0)) for name in first), default=0.0)


@click.command()
@click.argument("name", type=click.Choice(pretrained_names()))
@click.option(
    "--repository",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=".",
    help="Clone of the project.  [default: here]",
)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default="runs/reproduce", show_default=True)
def main(name: str, repository: Path, out: Path) -> None:
    """Train the policy NAME anew, and compare its weights with those that ship. Run once more after an interruption, it goes on."""
    header, shipped = read_checkpoint(pretrained_path(name))
    folder = (out / name / (header.description.commit or "unknown")[:12]).resolve()  # a policy that is replaced is another training
    try:
        steps = commands(name, header.description, repository.resolve(), folder)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.toml").write_text(header.description.recipe, encoding="utf-8")
    for step in steps:
        click.echo(" ".join(map(str, step)))
        if subprocess.run(step, cwd=folder, check=False).returncode:
            raise click.ClickException("that failed")
    try:
        largest = difference(read_checkpoint(checkpoint_path(folder / "run", name))[1], shipped)
    except CheckpointError as error:
        raise click.ClickException(str(error)) from error
    if largest:
        raise click.ClickException(f"the weights differ from those that ship, by {largest:.3g} at most")
    click.echo("the same weights as those that ship, bit for bit")


if __name__ == "__main__":
    main()
