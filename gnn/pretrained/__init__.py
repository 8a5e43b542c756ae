"""Weights that ship: every ``*.safetensors`` file in this folder is a policy, named after the file."""

from __future__ import annotations

from pathlib import Path

__all__ = ["pretrained_names", "pretrained_path"]

_FOLDER = Path(__file__).parent


def pretrained_names() -> tuple[str, ...]:
    """Names of the policies that ship, sorted."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.safetensors")))


def pretrained_path(name: str) -> Path:
    """The checkpoint file of a policy that ships.

    Raises:
        ValueError: there is no such policy; the message lists those there are.
    """
    names = pretrained_names()
    if name not in names:
        raise ValueError(f"unknown pretrained policy {name!r}; there are {', '.join(names) or 'none'}")
    return _FOLDER / f"{name}.safetensors"
