"""A guard around a policy: where its choices gain less than SCIP's pseudocosts promise, SCIP's own rule takes over.

Policies that look for solutions, not for bounds, are not judged: they take turns with SCIP's rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, inf, isfinite, log, sqrt
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ._scip import Pseudocosts, Search
from .policy import PathStep, Policy, PolicyError, PolicyWrapper, best_candidate
from .state import BranchState
from .statistics import NodesOnce

if TYPE_CHECKING:
    from pyscipopt import Model

__all__ = ["Comparison", "GuardedPolicy"]

SMOOTHING = 0.1
"""Share of the usual gain that is added to both sides of a ratio: a gain of nothing is bad, not infinitely bad."""
MEMORY = 128
"""Children that the comparison remembers: older ones fade, so that a bad subtree is not outweighed by a good start."""
FEWEST = 12
"""Children to be seen before the guard judges."""
CONFIDENCE = 1.64
"""Standard errors between the mean and the line it must fall below: one-sided 95 %."""
TOLERANCE = 0.3
"""How far the mean log ratio may lie below 0, beside what the spread explains: gains a quarter below what is promised."""
CENSORING = 0.5
"""How far it may lie below that, in standard deviations: see ``Comparison``."""
FIRST_REST = 512
"""Calls that go to SCIP's rule after the first hand-over; twice as many after each further one."""
FIRST_TURN = 300
"""Calls of the first turn of a policy that does not raise the bound, then of SCIP's rule; each turn after these has twice as many."""
MOST_PENDING = 4096
"""Decisions whose children are waited for. A search that jumps about leaves the oldest unseen."""


class Comparison:
    """Running comparison of gains with promises, by the mean of x = log((gain + s) / (promise + s)).

    s is ``SMOOTHING`` times the running mean of gains and promises. Observations fade with ``MEMORY``. The policy is behind
    when, with n observations of mean m and standard deviation d,

        m + CONFIDENCE * d / sqrt(n) < -TOLERANCE - CENSORING * d.

    The last term is there because only children that are branched on again are seen. Half of all children are not: they are cut
    off, and those are the ones that gained most. What is left of a distribution without its upper part has a mean that is too
    low in proportion to its spread; best choices (by strong branching) show that too. d counts four observations of spread 1
    beside those seen, so that a few equal ones prove nothing.
    """

    __slots__ = ("_gains", "_squares", "_sum", "_weight", "count")

    def __init__(self) -> None:
        self.count = 0
        """Observations so far."""
        self._weight = self._sum = self._squares = self._gains = 0.0

    def add(self, gain: float, promise: float) -> None:
        """Take one child's gain in the dual bound, and what was promised for it; both finite."""
        gain, promise = max(gain, 0.0), max(promise, 0.0)
        fading = 1.0 - 1.0 / MEMORY
        self.count += 1
        self._weight = self._weight * fading + 1.0
        self._gains = self._gains * fading + 0.5 * (gain + promise)
        smoothing = SMOOTHING * self._gains / self._weight
        # Bounds that do not move at all, and none was promised to, say nothing about anybody.
        ratio = log((gain + smoothing) / (promise + smoothing)) if smoothing > 0.0 else 0.0
        self._sum = self._sum * fading + ratio
        self._squares = self._squares * fading + ratio * ratio

    @property
    def mean(self) -> float:
        """Mean of the log ratios; 0 without observations."""
        return self._sum / self._weight if self._weight else 0.0

    @property
    def behind(self) -> bool:
        """Whether the gains fall short of the promises beyond doubt."""
        if self.count < FEWEST:
            return False
        mean, weight = self.mean, self._weight
        spread = sqrt((max(self._squares - weight * mean * mean, 0.0) + 4.0) / (weight + 4.0))
        return mean + spread * (CONFIDENCE / sqrt(weight) + CENSORING) < -TOLERANCE


class GuardedPolicy(PolicyWrapper):
    """Asks a policy as long as it keeps up with SCIP's pseudocosts, otherwise leaves the nodes to SCIP's next rule.

    At every node it notes what the pseudocosts promise where they would branch (the gains in the dual bound, both ways, of the
    best candidate that has been branched on). When a child comes up for branching, its LP tells what the policy's choice has
    gained; a promise counts no further than to the cutoff bound. Once ``Comparison`` finds the policy behind, SCIP's next rule
    takes the following calls: ``FIRST_REST`` at first. Then the policy is tried again, from a clean slate, and after each
    further failure SCIP's rule takes twice as many.

    A policy whose ``raises_bound`` is False cannot be judged so. Its trees end early or late by luck: it is given ``FIRST_TURN``
    calls, then SCIP's rule as many, then it twice as many, and so on: where one of the two does not come to an end, the other
    has half of all calls. A call is SCIP's question where to branch. A rule that answers by tighter domains, as SCIP's may, is
    asked again at the same node, so its calls are more than its nodes.

    All of this depends on the search alone: same seed, same tree.

    A guard follows one solve at a time; the policy inside may serve several.

    Args:
        policy: who is asked.
    """

    def __init__(self, policy: Policy) -> None:
        super().__init__(policy)
        self.handovers = 0
        """How often the policy was found to be behind in this solve, or its turn was over."""
        self.nodes_left = 0
        """Nodes of this solve that SCIP's rule was given for that."""
        self._begun: tuple[Search, Pseudocosts] | None = None
        self._comparison = Comparison()
        self._last_mean = 0.0
        self._resting = 0
        self._turn: int | None = None
        """Calls left of the policy's turn; None for a policy that is judged by its gains."""
        self._left = NodesOnce()
        """Nodes that were left to SCIP's rule."""
        self._judged = NodesOnce()
        """Nodes whose LP was compared with the promise: SCIP may ask twice at one, after its rule has raised the bound there."""
        self._run = 0
        self._pending: dict[int, tuple[float, tuple[float, float]]] = {}
        """By node: LP objective, promises down and up."""

    def begin(self, model: Model) -> None:
        """Forget the last solve."""
        self._begun = Search(model), Pseudocosts(model)
        self._comparison = Comparison()
        self.handovers = self.nodes_left = self._resting = self._run = 0
        self._last_mean = 0.0
        self._pending.clear()
        super().begin(model)
        self._turn = None if self.raises_bound else FIRST_TURN
        self._left, self._judged = NodesOnce(), NodesOnce()

    def skip(self) -> bool:
        """Whether SCIP's rule has the node, before anything of it is read."""
        if self._turn == 0:
            self._hand_over()
        if self._resting:
            self._resting -= 1
            self.nodes_left += self._left.first(self._solve()[0])
            return True
        if self._turn is not None:
            self._turn -= 1
        return super().skip()

    def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[np.floating] | None:
        """The policy's scores; None at the node where it is found to be behind."""
        if self._turn is not None:
            return self.policy.score(state, path)
        (search, pseudocosts), node = self._solve(), state.node
        if node.run != self._run:  # node numbers begin anew
            self._run = node.run
            self._pending.clear()
        decision = self._pending.get(search.parent)
        if decision is not None and (entered := search.entered) >= 0 and self._judged.first(search):
            objective, promises = decision
            self._comparison.add(node.lp_objective - objective, promises[entered])
            if self._comparison.behind:
                self._hand_over()
                self.nodes_left += self._left.first(search)
                return None
        scores = self.policy.score(state, path)
        promise = pseudocosts.promise()
        if scores is not None and promise is not None:
            self._note(state, np.asarray(scores), promise)
        return scores

    def report(self) -> dict[str, float | str]:
        """How often the guard stepped in, for how many nodes, and why.

        Where it judges, gains by promises: geometric mean over recent children, or as of the last hand-over.
        """
        report = {**super().report(), "guard_handovers": self.handovers, "guard_nodes_left": self.nodes_left}
        if self._turn is None:
            mean = self._comparison.mean if self._comparison.count else self._last_mean
            report["guard_gain_to_promise"] = round(exp(mean), 4)
        return report

    def _note(self, state: BranchState, scores: NDArray[np.floating], promise: tuple[float, float]) -> None:
        node = state.node
        try:
            best_candidate(scores, len(state.candidates))
        except PolicyError:
            return  # the brancher says what is wrong
        if not isfinite(node.lp_objective):
            return
        most = max(node.primal_bound - node.lp_objective, 0.0) if node.primal_bound < inf else inf
        promises = (min(promise[0], most), min(promise[1], most))
        self._pending[node.number] = (node.lp_objective, promises)
        if len(self._pending) > MOST_PENDING:
            del self._pending[next(iter(self._pending))]

    def _solve(self) -> tuple[Search, Pseudocosts]:
        if self._begun is None:
            raise RuntimeError("a guard must begin a solve before it scores")
        return self._begun

    def _hand_over(self) -> None:
        doublings = min(self.handovers, 32)
        self.handovers += 1
        if self._turn is not None:
            self._resting = FIRST_TURN << doublings
            self._turn = 2 * self._resting
            return
        self._resting = FIRST_REST << doublings
        self._last_mean = self._comparison.mean
        self._comparison = Comparison()
        self._pending.clear()
