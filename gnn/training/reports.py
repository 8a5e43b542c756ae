"""What a training by reinforcement learning says of itself: after each round, and after each validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ...branching.measures import SETTLED, shifted_geometric_mean
from .rollout import RolloutResult

__all__ = ["Learned", "RoundReport", "ValidationReport", "mean"]


def mean(values: Sequence[float]) -> float:
    """NaN for none."""
    return float(np.mean(values)) if values else float("nan")


@dataclass
class Learned:
    """Means over the gradient steps of a round."""

    losses: list[float] = field(default_factory=list)
    biases: list[float] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)
    entropies: list[float] = field(default_factory=list)

    def add(self, loss: float, bias: float, error: float, entropy: float) -> None:
        """A gradient step."""
        self.losses.append(loss)
        self.biases.append(bias)
        self.errors.append(error)
        self.entropies.append(entropy)


@dataclass(frozen=True, slots=True)
class RoundReport:
    """How a round ended. Means over nothing are NaN, null in ``log.jsonl``."""

    round: int
    """From 1."""
    decisions: int
    """Of all training episodes so far."""
    episodes: int
    """So far, lost ones included."""
    steps: int
    """Gradient steps so far."""
    nodes: float
    """Shifted geometric mean over the round's episodes, shift 10; they explored."""
    lp_iterations: float
    """Likewise, shift 100."""
    loss: float
    """Mean over the round's gradient steps, like the next three."""
    bias: float
    """Mean of value - target, the values' calibration: in log2 of nodes or of levels (``importance = "gap"``); ``retro``: in steps."""
    error: float
    """Mean absolute difference of the same."""
    entropy: float
    """Of the softmax over candidates' scores, in nats."""
    buffer_age: float
    """Mean age of the replay's episodes, in episodes."""
    buffer_decisions: int
    """Decisions in the replay."""
    round_episodes: int
    """Episodes of this round that came back."""
    round_steps: int
    """Gradient steps of this round."""
    rollout_seconds: float
    learning_seconds: float


@dataclass(frozen=True, slots=True)
class ValidationReport:
    """Greedy solves of the validation instances; those that hit a limit count with what they reached."""

    decisions: int
    """Of all training episodes when it was made."""
    nodes: float
    """Shifted geometric mean, shift 10."""
    lp_iterations: float
    """Shifted geometric mean, shift 100."""
    unsolved: int
    """Instances at the node limit, or at that of time."""
    instances: int
    """Those whose solves came back."""
    lost: int = 0
    """Those whose solves did not; the means are then over other instances than those of other validations."""

    @property
    def rank(self) -> tuple[int, float]:
        """The lower, the better: unsolved instances first, for their nodes count only as far as they came, then nodes.

        It says nothing where instances were lost.
        """
        return self.unsolved, self.nodes

    @classmethod
    def of(cls, decisions: int, results: Sequence[RolloutResult], lost: int = 0) -> ValidationReport:
        """Out of the results of all validation instances that were not lost."""
        return cls(
            decisions,
            shifted_geometric_mean([result.nodes for result in results], 10.0),
            shifted_geometric_mean([result.lp_iterations for result in results], 100.0),
            sum(result.status not in SETTLED for result in results),
            len(results),
            lost,
        )
