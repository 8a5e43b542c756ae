"""Rollout policies: a network's policy that explores and writes down what it did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...branching._scip import Search
from ...branching.episode_recorder import EpisodeRecorder
from ...branching.policy import PathStep, Policy
from ...branching.state import BranchState

if TYPE_CHECKING:
    from pyscipopt import Model

__all__ = ["Exploration", "Explorer", "choice_shares"]


@dataclass(frozen=True, slots=True)
class Exploration:
    """How a rollout departs from the best score."""

    temperature: float = 0.0
    """Candidates are drawn from softmax(score / temperature); 0 takes the best."""
    epsilon: float = 0.0
    """Probability of a candidate drawn evenly."""
    probing: float = 0.0
    """Probability that strong branching probes the policy's best candidates. Its scores are written down, not followed."""
    probes: int = 8
    """Candidates that are probed, two LPs each."""

    @property
    def greedy(self) -> bool:
        """Whether nothing is drawn."""
        return self.temperature == 0.0 and self.epsilon == 0.0


def choice_shares(scores: NDArray[np.floating], exploration: Exploration) -> NDArray[np.float64]:
    """Probability of each candidate, (k,).

    Args:
        scores: (k,) finite.
        exploration: how to draw.
    """
    shares = np.zeros(len(scores))
    if exploration.temperature > 0.0:
        exponents = (scores.astype(np.float64) - scores.max()) / exploration.temperature
        shares = np.exp(exponents)
        shares /= shares.sum()
    else:
        shares[scores.argmax()] = 1.0
    return (1.0 - exploration.epsilon) * shares + exploration.epsilon / len(scores)


class Explorer(Policy):
    """Asks a policy, draws among its candidates, and records every decision.

    Args:
        policy: whose scores; None scores all candidates alike.
        exploration: how to draw.
        entropy: seeds of the draws.
        record: whether to record.
        extended: whether to record all variable columns, where there is no policy that reads them.
    """

    needs_path = True

    def __init__(
        self,
        policy: Policy | None,
        exploration: Exploration,
        entropy: Sequence[int],
        *,
        record: bool = True,
        extended: bool = False,
    ) -> None:
        self.policy = policy
        self.exploration = exploration
        self.extended = extended or (policy is not None and policy.extended)
        self.recorder = EpisodeRecorder(self.extended) if record else None
        self._random = np.random.default_rng(entropy)
        self._log_probability = 0.0
        self._search: Search | None = None
        self._probed: NDArray[np.float64] | None = None
        self._path: tuple[PathStep, ...] = ()  # the policy's own, from ``score`` for ``remember``

    def begin(self, model: Model) -> None:
        """Begin with a fresh memory."""
        self._search = Search(model)
        if self.policy is not None:
            self.policy.begin(model)

    def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[np.floating]:
        """1 for the candidate that was drawn, 0 for the others."""
        k = len(state.candidates)
        if self.policy is None:
            scores: NDArray[np.floating] = np.zeros(k)
        else:
            self._path = self._inner_path(path)
            answer = self.policy.score(state, self._path)
            if answer is None or answer.shape != (k,) or not np.isfinite(answer).all():
                raise RuntimeError("the network gave no finite score for some candidate")
            scores = answer
            self._probed = self._probe(scores)
        if self.policy is not None and self.exploration.greedy:
            self._log_probability = 0.0
            return scores
        shares = choice_shares(scores, self.exploration) if self.policy is not None else np.full(k, 1.0 / k)
        # Not Generator.choice: it costs tens of microseconds.
        drawn = min(int(shares.cumsum().searchsorted(self._random.random())), k - 1)
        self._log_probability = float(np.log(shares[drawn]))
        one_hot = np.zeros(k)
        one_hot[drawn] = 1.0
        return one_hot

    def remember(self, state: BranchState, path: Sequence[PathStep], choice: int) -> tuple[int, object]:
        """Record the decision; its number and the policy's own memory are what its descendants see of it."""
        inner = None
        if self.policy is not None and self.policy.needs_path:
            inner = self.policy.remember(state, self._path, choice)
        if self.recorder is None:
            return -1, inner
        parent, entered = (_pair(path[-1])[0], path[-1].child) if path else (-1, -1)
        number = self.recorder.add(
            state, choice, parent=parent, entered=entered, scores=self._probed, log_probability=self._log_probability
        )
        return number, inner

    def _probe(self, scores: NDArray[np.floating]) -> NDArray[np.float64] | None:
        """Strong branching's scores of the best candidates, (k,), NaN for the others; None where it is not asked, or cannot tell."""
        exploration = self.exploration
        if not exploration.probing or self.recorder is None or self._random.random() >= exploration.probing or len(scores) < 2:
            return None
        assert self._search is not None
        best = np.argsort(-scores, kind="stable")[: exploration.probes]
        probed: NDArray[np.float64] = self._search.strong_branch(places=best)[0]
        # With fewer than two valid results there is nothing to choose between.
        return probed if np.isfinite(probed).sum() >= 2 else None

    def _inner_path(self, path: Sequence[PathStep]) -> tuple[PathStep, ...]:
        if self.policy is None or not self.policy.needs_path:
            return ()
        return tuple(PathStep(step.node, step.depth, step.child, _pair(step)[1]) for step in path)


def _pair(step: PathStep) -> tuple[int, object]:
    memory = step.memory
    assert isinstance(memory, tuple)
    return memory
