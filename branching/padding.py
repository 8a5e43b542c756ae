"""States as a dictionary of arrays of fixed shapes, for libraries that need one."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .settings import INFINITY
from .state import BranchState

__all__ = ["NODE_COLUMNS", "Padding", "PaddingError"]

NODE_COLUMNS: tuple[str, ...] = (
    "depth",
    "lower_bound",
    "lp_objective",
    "primal_bound",
    "dual_bound",
    "root_dual_bound",
    "n_nodes",
    "n_open",
    "n_lps",
    "n_solutions",
)
"""What stands in ``node``, in this order; names as in ``NodeFacts``."""


class PaddingError(ValueError):
    """A state is larger than its padding."""


@dataclass(frozen=True, slots=True)
class Padding:
    """Sizes that all states are brought to: N variables, M row sides, E edges, K candidates.

    Cuts add rows and edges: those of the root before the first decision already, with the settings ``clean`` no others. Leave room for
    them, or set SCIP's ``separating/maxroundsroot`` to 0.

    Raises:
        ValueError: a size is not positive.
    """

    variables: int
    rows: int
    edges: int
    candidates: int

    def __post_init__(self) -> None:
        if min(astuple(self)) < 1:
            raise ValueError(f"a padding's sizes are positive, not {astuple(self)}")

    def arrays(self, state: BranchState) -> dict[str, NDArray[Any]]:
        """The state in arrays of these sizes, filled up with zeros; all of them new.

        Missing values (NaN) become 0, and infinite ones +-1e20, as SCIP has them; ``n_solutions`` tells whether the columns of
        the incumbent say anything.

        Returns:
            ``variable_features`` (N, F) float32, ``row_features`` (M, 5) float32, ``edge_rows`` and ``edge_variables`` (E,)
            int32 and ``edge_values`` (E,) float32 in the order of rows, ``candidates`` (K,) int32, ``action_mask`` (K,) int8,
            ``node`` (10,) float32 with ``NODE_COLUMNS``, ``sizes`` (4,) int32: how much of N, M, E and K is in use.

        Raises:
            PaddingError: the state does not fit; the message names the sizes that it needs.
        """
        sizes = (state.n_variables, state.n_rows, state.n_edges, len(state.candidates))
        room = (self.variables, self.rows, self.edges, self.candidates)
        if any(size > limit for size, limit in zip(sizes, room, strict=True)):
            raise PaddingError(f"a state needs Padding{sizes} (variables, rows, edges, candidates), more than Padding{room}")
        n, m, e, k = sizes
        arrays: dict[str, NDArray[Any]] = {
            "variable_features": np.zeros((self.variables, state.variable_features.shape[1]), dtype=np.float32),
            "row_features": np.zeros((self.rows, state.row_features.shape[1]), dtype=np.float32),
            "edge_rows": np.zeros(self.edges, dtype=np.int32),
            "edge_variables": np.zeros(self.edges, dtype=np.int32),
            "edge_values": np.zeros(self.edges, dtype=np.float32),
            "candidates": np.zeros(self.candidates, dtype=np.int32),
            "action_mask": np.zeros(self.candidates, dtype=np.int8),
            "node": _finite(np.array([getattr(state.node, name) for name in NODE_COLUMNS], dtype=np.float32)),
            "sizes": np.array(sizes, dtype=np.int32),
        }
        arrays["variable_features"][:n] = _finite(state.variable_features)
        arrays["row_features"][:m] = _finite(state.row_features)
        arrays["edge_rows"][:e] = np.repeat(np.arange(m, dtype=np.int32), np.diff(state.row_offsets))
        arrays["edge_variables"][:e] = state.edge_variables
        arrays["edge_values"][:e] = state.edge_values
        arrays["candidates"][:k] = state.candidates
        arrays["action_mask"][:k] = 1
        return arrays


def _finite(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.nan_to_num(values, nan=0.0, posinf=INFINITY, neginf=-INFINITY)
