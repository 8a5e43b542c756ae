"""The experts that imitation learns from: strong branching, and a rule of thumb for packing problems."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ._scip import Search
from .state import BranchState, variable_column_names

if TYPE_CHECKING:
    from pyscipopt import Model

__all__ = ["ConstraintByConstraint", "StrongBranching", "strong_branching"]

_VALUE, _AT_LOWER, _AT_UPPER = (
    variable_column_names().index(name) for name in ("solution_value", "is_solution_at_lower_bound", "is_solution_at_upper_bound")
)


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


class ConstraintByConstraint:
    """A rule of thumb for packing problems: decide one constraint after the other.

    A variable belongs to the longest constraint that it stands in; where it stands complemented it packs nothing, so that does not
    count. The best candidate is the one whose constraint has the most
    variables fixed and not at 0; of equals, the one of the largest value in the LP solution. On multiple knapsacks that is to fill
    the knapsack on which most has been decided before the next one is looked at, as bin-oriented searches do (Fukunaga & Korf 2007).
    It asks for no gain in the dual bound: there the optimum mostly is the root's bound, rounded, so what the tree looks for is a
    solution that attains it.

    Args:
        model: the model that is being solved, presolved. A restart makes other variables: then this must be made anew.
    """

    def __init__(self, model: Model) -> None:
        places = {variable.ptr(): place for place, variable in enumerate(model.getVars(transformed=True))}
        self._members: list[NDArray[np.intp]] = []
        self._constraint = np.full(len(places), -1)
        """(n,) the constraint that a variable belongs to; -1 for none."""
        lengths = np.zeros(len(places), dtype=np.intp)
        for constraint in model.getConss(transformed=True):
            variables = [places[variable.ptr()] for variable in model.getConsVars(constraint) or () if variable.ptr() in places]
            members = np.array(variables, dtype=np.intp)
            longer = members[lengths[members] < len(members)]
            self._constraint[longer], lengths[longer] = len(self._members), len(members)
            self._members.append(members)

    def places(self, state: BranchState) -> NDArray[np.float64]:
        """Places of the candidates in this order, (k,); the highest is the best."""
        columns = state.variable_features
        taken = (columns[:, _AT_LOWER] > 0) & (columns[:, _AT_UPPER] > 0) & (columns[:, _VALUE] != 0)
        constraints = self._constraint[state.candidates].tolist()
        decided = np.array([np.count_nonzero(taken[self._members[constraint]]) if constraint >= 0 else -1 for constraint in constraints])
        order = np.lexsort((-state.candidates, columns[state.candidates, _VALUE], decided))
        return order.argsort().astype(np.float64)
