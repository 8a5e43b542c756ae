"""Gymnasium's spaces of the environment: places among candidates, states, padded states."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from .padding import NODE_COLUMNS, Padding
from .state import ECOLE_VARIABLE_COLUMNS, ROW_COLUMNS, VARIABLE_COLUMNS, BranchState

__all__ = ["CandidateSpace", "StateSpace", "padded_space"]


class CandidateSpace(spaces.Discrete):  # type: ignore[misc]  # Gymnasium is optional: nothing is known of its types
    """Places among the candidates of the state at hand, 0 .. k-1.

    ``sample`` draws from these. ``n`` is k, which changes with every state, or with a padding its K, which does not.
    """

    def __init__(self, n: int | None, seed: int | None = None) -> None:
        self.n_candidates = 1
        """Candidates k of the state at hand; 1 where there is none."""
        self._fixed = n
        super().__init__(1 if n is None else n, seed=seed)

    # Looked up when it is asked for: the environment sets one number a step.
    @property
    def n(self) -> np.int64:
        """Number of actions."""
        return np.int64(self.n_candidates if self._fixed is None else self._fixed)

    @n.setter
    def n(self, n: np.int64) -> None:
        """What ``Discrete`` sets when it is made is known already."""

    def sample(self, mask: Any = None, probability: Any = None) -> np.int64:
        """A place, uniformly among the candidates of the state at hand; ``mask`` and ``probability`` as in ``Discrete``."""
        if mask is None and probability is None:
            return np.int64(self.np_random.integers(self.n_candidates))
        if probability is None:
            return np.int64(super().sample(mask))
        return np.int64(super().sample(mask, probability))


class StateSpace(spaces.Space):  # type: ignore[misc]
    """All ``BranchState`` objects. There is nothing to sample from."""

    @property
    def is_np_flattenable(self) -> bool:
        """Never: sizes differ."""
        return False

    def contains(self, x: Any) -> bool:
        """Whether it is a state."""
        return isinstance(x, BranchState)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StateSpace)

    __hash__ = None  # type: ignore[assignment]


def padded_space(padding: Padding, extended: bool) -> spaces.Dict:
    """The space of ``Padding.arrays``."""

    def numbers(*shape: int) -> spaces.Box:
        return spaces.Box(-np.inf, np.inf, shape, dtype=np.float32)

    def places(n: int, among: int) -> spaces.Box:
        return spaces.Box(0, among - 1, (n,), dtype=np.int32)

    room = (padding.variables, padding.rows, padding.edges, padding.candidates)
    return spaces.Dict(
        {
            "variable_features": numbers(padding.variables, len(VARIABLE_COLUMNS) if extended else ECOLE_VARIABLE_COLUMNS),
            "row_features": numbers(padding.rows, len(ROW_COLUMNS)),
            "edge_rows": places(padding.edges, padding.rows),
            "edge_variables": places(padding.edges, padding.variables),
            "edge_values": numbers(padding.edges),
            "candidates": places(padding.candidates, padding.variables),
            "action_mask": spaces.MultiBinary(padding.candidates),
            "node": numbers(len(NODE_COLUMNS)),
            "sizes": spaces.Box(np.zeros(4, dtype=np.int32), np.array(room, dtype=np.int32), dtype=np.int32),
        }
    )
