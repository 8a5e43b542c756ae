"""The learners compared at one budget: trains every variant with every seed, evaluates them, and prints the tables.

    python -m revibranch.benchmarks.learning --out runs/learning --workers 2
    python -m revibranch.benchmarks.learning --out runs/learning-setcover --set instances.family=setcover --set instances.size=300x600 \
        --instances setcover:300x600:0-29 --instances setcover:500x1000:0-9

What is there already is not done again; trainings that were stopped are resumed.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from time import sleep

import click
import numpy as np

from ..branching.workers.process_pool import ProcessPool
from ..gnn.devices import DEVICES, Device
from ..gnn.training.recipe import load_recipe
from ..gnn.training.run_folder import LOG_NAME, RECIPE_NAME, STATE_NAME, checkpoint_path, recipe_text
from ..instances.files import resolve_all
from .evaluate import evaluated, list_jobs
from .page import document
from .report import build_report
from .rows import RunRow
from .store import StoreError

__all__ = ["ABLATION", "CONTENDERS", "main", "relabelled"]

_SIZES = ("network.highest=12.0",)  # classes of log2 of nodes reach further than those of levels
_SCALAR = ("network.classes=0", "network.history_length=0")
_STOCHASTIC = ("rollout.temperature=1.0", "rollout.last_temperature=1.0", "rollout.epsilon=0.0", "rollout.last_epsilon=0.0")

CONTENDERS: Mapping[str, tuple[str, ...]] = {
    "revibranch": (),
    "bbmdp": ("learner=bbmdp", "network.history_length=0", *_SIZES),
    "treedqn": ("learner=treedqn", *_SCALAR, "learning.target_every=50"),
    "retro": ("learner=retro", *_SCALAR, "learning.target_every=50"),
    "tmdp": ("learner=tmdp", *_SCALAR, *_STOCHASTIC, "learning.learning_rate=1e-3", "learning.last_learning_rate=1e-4"),
}
"""Changes of the recipe that make each learner."""

ABLATION: Mapping[str, tuple[str, ...]] = {
    "no history": ("network.history_length=0",),
    "subtree": ("learning.importance=subtree", *_SIZES),
    "bound": ("learning.importance=bound", *_SIZES),
    "attention": ("learning.importance=attention", *_SIZES),
    "uniform": ("learning.importance=uniform", *_SIZES),
    "alpha 0.5": ("learning.alpha=0.5",),
    "alpha 0": ("learning.alpha=0.0",),
}
"""Changes of the recipe of ``revibranch``; its own are history 8, redistribution by the gap, alpha 1."""

_RULES = ("scip:random", "scip:pscost", "scip:vanillafullstrong")


@click.command()
@click.option("--recipe", type=click.Path(path_type=Path, exists=True), default=Path("recipes/auction-learning.toml"), show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/learning"), show_default=True)
@click.option("--instances", multiple=True, default=("auction:50x250:0-29", "auction:100x500:0-19"), show_default=True)
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="A change of the recipe for all variants; repeatable.")
@click.option("--seeds", default=3, show_default=True, help="Trainings of each variant.")
@click.option("--only", multiple=True, help="Variants; all if not given.")
@click.option("--rule", "rules", multiple=True, default=_RULES, show_default=True, help="SCIP's rules to evaluate beside them; repeatable.")
@click.option("--time-limit", default=60.0, show_default=True, help="CPU seconds of a run of the evaluation.")
@click.option("--device", type=click.Choice(DEVICES), default="cpu", show_default=True, help="Where gradient steps run.")
@click.option("--workers", default=1, show_default=True, help="Trainings, then runs, at a time.")
def main(
    recipe: Path,
    out: Path,
    instances: tuple[str, ...],
    changes: tuple[str, ...],
    seeds: int,
    only: tuple[str, ...],
    rules: tuple[str, ...],
    time_limit: float,
    device: Device,
    workers: int,
) -> None:
    """Train, evaluate, and print the tables as Markdown."""
    variants = {**CONTENDERS, **ABLATION}
    unknown = [name for name in only if name not in variants]
    if unknown:
        raise click.UsageError(f"unknown variants {', '.join(unknown)}; known are {', '.join(variants)}")
    if fixed := [change for change in changes if change.partition("=")[0].strip() in ("seed", "name")]:
        raise click.UsageError(f"--set {fixed[0]}: seeds and names are the study's own")
    chosen = [name for name in variants if not only or name in only]
    runs = {(name, seed): out / f"{name.replace(' ', '-')}-s{seed}" for name in chosen for seed in range(seeds)}
    _train(recipe, {runs[name, seed]: (f"seed={seed}", *changes, *variants[name]) for name, seed in runs}, device, workers)
    checkpoints = {str(_checkpoint(recipe, folder)): key for key, folder in runs.items()}
    jobs = list_jobs(resolve_all(instances), [*rules, *checkpoints], [0], "clean", time_limit)
    try:
        rows = evaluated(jobs, out / "evaluation.parquet", ProcessPool(workers))
    except StoreError as error:  # trainings that were done anew, for one
        raise click.ClickException(str(error)) from error
    click.echo(_curves(runs))
    baseline = "revibranch" if "revibranch" in chosen else chosen[0]
    for spec in instances:
        names = {source.name for source in resolve_all([spec])}
        part = [row for row in relabelled(rows, checkpoints, seeds) if row.instance in names]
        click.echo(f"\n# {spec}\n\n{document(build_report(part, baseline=baseline, illustrated=False, trainings=True), 'markdown')}")


def _train(recipe: Path, runs: Mapping[Path, Sequence[str]], device: Device, workers: int) -> None:
    """A process for each training, one thread each."""
    for folder, changes in runs.items():
        _require(recipe, folder, changes)
    waiting = deque((folder, changes) for folder, changes in runs.items() if not _checkpoint(recipe, folder).exists())
    running: list[tuple[Path, subprocess.Popen[bytes]]] = []
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                folder, changes = waiting.popleft()
                running.append((folder, _start(recipe, folder, changes, device)))
            for folder, process in list(running):
                if process.poll() is not None:
                    running.remove((folder, process))
                    if process.returncode:
                        raise click.ClickException(f"training {folder} failed: see {folder / 'output.txt'}")
                    click.echo(f"trained {folder}", err=True)
            sleep(0.5)
    finally:  # one failed, or an interrupt: the others write their states and end
        for _, process in running:
            process.terminate()
        for _, process in running:
            process.wait()


def _start(recipe: Path, folder: Path, changes: Sequence[str], device: Device) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-P", "-m", "revibranch", "train", str(recipe), "--out", str(folder), "--workers", "0", "--device", device]
    command += [part for change in changes for part in ("--set", change)]
    command += ["--resume"] if (folder / STATE_NAME).exists() else []
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "output.txt").open("ab") as output:
        return subprocess.Popen(command, stdout=output, stderr=output)


def _require(recipe: Path, folder: Path, changes: Sequence[str]) -> None:
    """See that what a folder holds already was trained by this recipe with these changes."""
    kept = folder / RECIPE_NAME
    if kept.exists() and kept.read_text(encoding="utf-8") != recipe_text(recipe, changes):
        raise click.ClickException(f"{folder} holds a training of another recipe or with other --set options: choose another --out")


def _checkpoint(recipe: Path, folder: Path) -> Path:
    """What a training writes last."""
    return checkpoint_path(folder, load_recipe(recipe).name)


def relabelled(rows: Sequence[RunRow], checkpoints: Mapping[str, tuple[str, int]], seeds: int) -> list[RunRow]:
    """Rows with the variant as policy and the training's seed as seed; rows of SCIP's rules stand for every seed."""
    result: list[RunRow] = []
    for row in rows:
        if row.policy in checkpoints:
            name, seed = checkpoints[row.policy]
            result.append(replace(row, policy=name, seed=seed))
        else:
            result += [replace(row, seed=seed) for seed in range(seeds)]
    return result


def _curves(runs: Mapping[tuple[str, int], Path]) -> str:
    """Nodes at validation against decisions, mean over the trainings of a variant, as a Markdown table."""
    curves: dict[str, dict[int, list[float]]] = {}
    for (name, _), folder in runs.items():
        lines = [json.loads(line) for line in (folder / LOG_NAME).read_text(encoding="utf-8").splitlines()]
        # One that was done anew after a crash is written twice.
        points = {line["decisions"]: line["nodes"] for line in lines if line["kind"] == "validation"}
        for place, nodes in enumerate(points.values()):
            curves.setdefault(name, {}).setdefault(place, []).append(nodes)
    width = max(len(points) for points in curves.values())
    head = f"| variant | {' | '.join(str(place + 1) for place in range(width))} |\n| --- |{' ---: |' * width}"
    body = [
        f"| {name} | " + " | ".join(f"{np.mean(points[place]):.1f}" if place in points else "" for place in range(width)) + " |"
        for name, points in curves.items()
    ]
    return "\n".join([head, *body])


if __name__ == "__main__":
    main()
