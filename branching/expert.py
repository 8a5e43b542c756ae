"""Strong branching: the expert that imitation learns from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ._scip import Search

if TYPE_CHECKING:
    from pyscipopt import Model

__all__ = ["StrongBranching", "strong_branching"]


@dataclass(frozen=True, slots=True)
class StrongBranching:
    """Result of strong branching on all k candidates of a node, in the order of ``BranchState.candidates``."""

    scores: NDArray[np.float64]
    """(k,) SCIP's branching score of the two gains (the product rule by default); NaN where there is no valid result."""
    down_gains: NDArray[np.float64]
    """(k,) gain in the dual bound of the down child, >= 0; an infeasible child gains up to the cutoff bound."""
    up_gains: NDArray[np.float64]
    """(k,) likewise of the up child."""
    down_infeasible: NDArray[np.bool_]
    """(k,) the down child was proven infeasible or worse than the incumbent."""
    up_infeasible: NDArray[np.bool_]
    """(k,) likewise of the up child."""

    @property
    def valid(self) -> NDArray[np.bool_]:
        """(k,) which candidates have a valid result."""
        return ~np.isnan(self.scores)


def strong_branching(model: Model, *, iteration_limit: int = -1) -> StrongBranching:
    """Scores of all LP candidates by full strong branching (Applegate et al. 1995), two LPs a candidate.

    To be called inside ``Policy.score``. SCIP's pseudocosts and its counts of strong branching stay as they were; the LP's basis
    may not, so that degenerate LPs of later nodes may come out at another of their optima.

    Args:
        model: the model that is being solved.
        iteration_limit: simplex iterations for each child's LP; -1 for no limit.

    Raises:
        RuntimeError: SCIP is not in its solving stage, or the node's LP is not solved.
    """
    result = Search(model).strong_branch(iteration_limit)
    flags = np.nan_to_num(result[3]).astype(np.int64)
    return StrongBranching(result[0], result[1], result[2], (flags & 1) > 0, (flags & 2) > 0)
