"""Strong branching among a policy's best candidates: it buys nodes with LPs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ._scip import Search
from .policy import PathStep, Policy, PolicyWrapper
from .state import BranchState

if TYPE_CHECKING:
    from pyscipopt import Model

__all__ = ["ShortlistPolicy"]

LENGTH = 8
"""Candidates on the list."""
PATIENCE = 3
"""Candidates in a row that may fail to better the best score before the rest of the list is spared."""
SHALLOW = 10
"""Depth down to which the whole list is tried: a poor choice costs most near the root."""
CLOSE = 0.5
"""Below that depth only candidates compete whose score is within so many standard deviations (of all scores) of the best."""


class ShortlistPolicy(PolicyWrapper):
    """Lets strong branching decide among the candidates that a policy scores best.

    The list, best first, goes to strong branching (two LPs a candidate, without limit, SCIP's score of both gains), which stops
    after ``PATIENCE`` candidates that were no better. The first of the best is branched on. A list of one costs nothing.

    What strong branching finds out beside the scores is used in two ways, neither of which touches the optimum. A candidate with
    an infeasible child scores best and is branched on: that child is cut off at once. SCIP's conflict analysis learns from such
    children what it learns from infeasible nodes, but for models that are reoptimised: SCIP keeps what it learns so when the
    objective changes, where it may not hold.

    A shortlist follows one solve at a time; the policy inside may serve several.

    Args:
        policy: who makes the list.
        length: candidates on the list, at least 1.

    Raises:
        ValueError: an empty list.
    """

    def __init__(self, policy: Policy, *, length: int = LENGTH) -> None:
        if length < 1:
            raise ValueError(f"a shortlist of {length} candidates leaves nothing to choose from")
        super().__init__(policy)
        self.length = length
        self.nodes = 0
        """Nodes of this solve at which strong branching decided."""
        self.overruled = 0
        """Those of them at which it did not choose the policy's favourite."""
        self._search: Search | None = None
        self._learning = True

    def begin(self, model: Model) -> None:
        """Forget the last solve."""
        self._search = Search(model)
        self._learning = not model.getParam("reoptimization/enable")
        self.nodes = self.overruled = 0
        super().begin(model)

    def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[np.floating] | None:
        """Strong branching's scores of the candidates that it tried, NaN for all others; the policy's where it tried none.

        Of equals all but the first of the list are moved down by the least amount that there is.
        """
        if self._search is None:
            raise RuntimeError("a shortlist must begin a solve before it scores")
        scores = self.policy.score(state, path)
        if scores is None or np.shape(scores) != state.candidates.shape:
            return scores  # the brancher says what is wrong
        if not self._search.lp_is_optimal():
            return scores  # the policy undid it: SCIP will solve it once more, and ask again
        listed = self._listed(np.asarray(scores, dtype=np.float64), state.node.depth)
        if len(listed) < 2:
            return scores
        tried: NDArray[np.float64] = self._search.strong_branch(places=listed, patience=PATIENCE, learning=self._learning)[0]
        if np.isnan(tried).all():
            return scores
        best = np.nanmax(tried)
        winner, *equals = listed[tried[listed] == best]
        tried[equals] = np.nextafter(best, -np.inf)
        self.nodes += 1
        self.overruled += int(winner != listed[0])
        return tried

    def report(self) -> dict[str, float | str]:
        """At how many nodes strong branching decided, and at how many it overruled the policy."""
        return {**super().report(), "shortlist_nodes": self.nodes, "shortlist_overruled": self.overruled}

    def _listed(self, scores: NDArray[np.float64], depth: int) -> NDArray[np.intp]:
        """Places of the candidates to try, best first."""
        finite = np.flatnonzero(np.isfinite(scores))
        listed = finite[np.argsort(-scores[finite], kind="stable")[: self.length]]
        if depth > SHALLOW and len(listed) > 1:
            listed = listed[scores[listed] >= scores[listed[0]] - CLOSE * scores[finite].std()]
        return listed
