"""The folder of a training run: taken once, gone on with only where that is asked for, by one training at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ...branching.complaints import one_line
from ...branching.files import locked
from .errors import TrainingError

__all__ = [
    "LOG_NAME",
    "RECIPE_NAME",
    "STATE_NAME",
    "alone_in",
    "checkpoint_path",
    "holds_run",
    "make_folder",
    "recipe_changes",
    "recipe_text",
    "require_run",
    "take_folder",
]

RECIPE_NAME = "recipe.toml"
"""What a run writes first: a folder with no more than that may be begun anew, and gone on with too."""

STATE_NAME = "state.safetensors"
"""The file that a run goes on from."""

LOG_NAME = "log.jsonl"
"""Rounds and validations of reinforcement learning."""

_CHANGED = "# changed: "

_LOCK_NAME = ".lock"
"""Held by the training that is at work in the folder. Alone it means nothing: one that was killed leaves it behind, unheld."""


def checkpoint_path(out: Path, name: str) -> Path:
    """Where the run in ``out`` leaves the policy of this name."""
    return out / f"{name}.safetensors"


def recipe_text(recipe: Path, changes: Sequence[str]) -> str:
    """What a run writes as its recipe: the file's text, and behind it what ``--set`` changed, in comments that ``load_recipe`` heeds."""
    return recipe.read_text(encoding="utf-8") + "".join(f"{_CHANGED}{change}\n" for change in changes)


def recipe_changes(text: str) -> list[str]:
    """What ``--set`` changed, out of such a text."""
    return [line.removeprefix(_CHANGED) for line in text.splitlines() if line.startswith(_CHANGED)]


def holds_run(out: Path, products: Iterable[str] = ()) -> bool:
    """Whether there is something to go on with; see ``take_folder``."""
    return any((out / name).exists() for name in (RECIPE_NAME, STATE_NAME, *products))


def require_run(out: Path, products: Iterable[str] = ()) -> None:
    """Refuse to go on with nothing: a mistyped folder would be trained in anew for hours.

    Raises:
        TrainingError: the folder holds no run.
    """
    if not holds_run(out, products):
        raise TrainingError(f"{out} holds no run to go on with: without --resume one begins there, --out chooses another folder")


def take_folder(out: Path, products: Iterable[str], *, resume: bool) -> None:
    """Make the folder of a run, or go on in one.

    Args:
        out: the folder.
        products: names of files and folders in it that a run leaves, beside its state.
        resume: whether a run is there already.

    Raises:
        TrainingError: a run is there already and ``resume`` is False, or none is and it is True; or the folder cannot be made.
    """
    if resume:
        require_run(out, products)
    elif any((out / name).exists() for name in (STATE_NAME, *products)):
        raise TrainingError(f"{out} holds a run already: --resume goes on with it, --out chooses another folder")
    make_folder(out)


def make_folder(folder: Path) -> None:
    """Make a folder that somebody chose, if there is none.

    Raises:
        TrainingError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainingError(f"{folder} cannot be made: {one_line(error)}") from error


@contextmanager
def alone_in(out: Path) -> Iterator[None]:
    """Make the folder of a run if there is none, and keep other trainings out of it within this block (``files.locked``).

    Args:
        out: the folder.

    Raises:
        TrainingError: another training is at work there, the folder cannot be made, or nothing can be written in it.
    """
    make_folder(out)
    with ExitStack() as held:
        try:
            held.enter_context(locked(out / _LOCK_NAME, wait=False))
        except BlockingIOError:
            raise TrainingError(f"another training is at work in {out}: wait until it ends; --out chooses another folder") from None
        except OSError as error:
            raise TrainingError(f"nothing can be written in {out}: {one_line(error)}") from error
        yield
