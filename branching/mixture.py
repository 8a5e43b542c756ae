"""SCIP's pseudocosts beside a policy's scores: what the search itself has learnt of a candidate, once it has learnt something."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ._scip import Pseudocosts
from .policy import PathStep, Policy, PolicyWrapper
from .state import BranchState

if TYPE_CHECKING:
    from pyscipopt import Model

__all__ = ["MixedPolicy", "as_asked"]

WEIGHT = 1.0
"""Weight of pseudocosts that are known for certain; that of the policy's scores is 1."""
HALF = 8.0
"""Observations in the direction that has fewer that give pseudocosts half of their weight."""


class MixedPolicy(PolicyWrapper):
    """Mixes SCIP's pseudocosts into the scores of a policy that asks for it (``Policy.mixes_pseudocosts``); leaves others alone.

    A policy knows candidates by their kind from the first node on, and learns nothing in the solve; pseudocosts know each
    candidate by what branching on it has gained, which takes many nodes. So the mixture is the policy's choice in small trees
    and heeds both in large ones. Both are standardised over the candidates of the node (``Pseudocosts.mixed``), and the weight
    of a candidate's pseudocosts is ``WEIGHT * n / (n + HALF)`` with n observations, as relpscost trusts them by their number
    (Achterberg, Koch & Martin, "Branching rules revisited", 2005).

    A mixture follows one solve at a time; the policy inside may serve several.
    """

    def __init__(self, policy: Policy) -> None:
        super().__init__(policy)
        self.overruled = 0
        """Nodes of this solve at which the mixture's best candidate was not the policy's."""
        self._pseudocosts: Pseudocosts | None = None

    @property
    def mixes_pseudocosts(self) -> bool:  # type: ignore[override]
        """False: the policy's wish is fulfilled, so whoever asks shall not mix once more."""
        return False

    def begin(self, model: Model) -> None:
        """Forget the last solve."""
        self.overruled = 0
        super().begin(model)
        self._pseudocosts = Pseudocosts(model) if super().mixes_pseudocosts else None

    def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[np.floating] | None:
        """The mixture, (k,) float64; scores that are not finite become NaN."""
        scores = self.policy.score(state, path)
        if self._pseudocosts is None or scores is None or np.shape(scores) != state.candidates.shape:
            return scores  # in the last case the brancher says what is wrong
        found = self._pseudocosts.mixed(np.ascontiguousarray(scores, dtype=np.float64), WEIGHT, HALF)
        if found is None:
            return scores  # the policy undid the LP: SCIP will solve it once more, and ask again
        mixed, overruled = found
        self.overruled += overruled
        return mixed

    def report(self) -> dict[str, float | str]:
        """At how many nodes pseudocosts changed the choice; nothing of that for a policy that is left alone."""
        report = dict(super().report())
        return report if self._pseudocosts is None else {**report, "pseudocosts_overruled": self.overruled}


def as_asked(policy: Policy) -> Policy:
    """A policy, mixed with pseudocosts if it asks for that or if it is a wrapper, in which one may turn up that does (``auto``)."""
    return MixedPolicy(policy) if isinstance(policy, PolicyWrapper) or getattr(policy, "mixes_pseudocosts", False) else policy
