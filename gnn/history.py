"""Which of a path's steps a network sees; read without torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..branching.policy import PathStep

__all__ = ["CHILDREN", "select_history", "select_steps"]

CHILDREN = 3
"""Children a decision may create: down, up, and the middle one of an integer LP value."""


def select_history(n_steps: int, length: int) -> list[int]:
    """Which steps of a path the decoder sees: the root and the most recent ones.

    Args:
        n_steps: steps of the path.
        length: most steps to keep. With room for one only, it is the most recent.

    Returns:
        Ascending positions on the path, at most ``length`` of them.
    """
    if n_steps <= length:
        return list(range(n_steps))
    if length <= 1:
        return list(range(n_steps - length, n_steps))
    return [0, *range(n_steps - length + 1, n_steps)]


def select_steps(path: Sequence[PathStep], length: int) -> list[PathStep]:
    """The steps of a path that the decoder sees, of those that have a memory; ``length`` as in ``select_history``."""
    steps = [step for step in path if step.memory is not None]
    return [steps[place] for place in select_history(len(steps), length)]
