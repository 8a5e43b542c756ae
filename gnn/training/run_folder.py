"""The folder of a training run: taken once, gone on with only where that is asked for."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from .errors import TrainingError

__all__ = ["STATE_NAME", "take_folder"]

STATE_NAME = "state.safetensors"
"""The file that a run goes on from."""


def take_folder(out: Path, products: Iterable[str], *, resume: bool) -> None:
    """Make the folder of a run, or go on in one.

    Args:
        out: the folder.
        products: names of files and folders in it that a run leaves, beside its state.
        resume: whether a run may be there already.

    Raises:
        TrainingError: a run is there already and ``resume`` is False.
        OSError: the folder cannot be made.
    """
    if not resume and any((out / name).exists() for name in (STATE_NAME, *products)):
        raise TrainingError(f"{out} holds a run already: --resume goes on with it, --out chooses another folder")
    out.mkdir(parents=True, exist_ok=True)
