"""Rewards of single steps for the environment: what the solve spent from one decision to the next, added up and scaled.

The functions count upwards, as Ecole's do; what should be small carries a minus sign: ``-nodes - 0.001 * lp_iterations``.
(``rewards`` is about the cost of whole paths and its redistribution, which needs the finished tree.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite

from .settings import INFINITY

__all__ = ["Progress", "Reward", "RewardFunction", "dual_integral", "lp_iterations", "nodes", "seconds"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a solve has come: what rewards are made of."""

    instance: str
    """Name of the instance."""
    nodes: int
    """Nodes processed over all restarts, the one at hand included (SCIPgetNTotalNodes)."""
    lp_iterations: int
    """Simplex iterations, those of strong branching left out (SCIPgetNLPIterations)."""
    seconds: float
    """Wall seconds that SCIP has run. The time between two steps, which is the user's, is not in it."""
    primal_bound: float
    """In the instance's own sense; +-1e20 without one."""
    dual_bound: float
    """Likewise."""
    maximises: bool
    """Whether the instance is a maximisation."""


Reward = Callable[[Progress, Progress], float]
"""Reward of a step: from the progress at the last decision and at this one (or at the end) to a number."""


class RewardFunction:
    """A ``Reward`` that can be added, subtracted and scaled.

    Args:
        function: the reward itself.
        name: how it is shown.
    """

    __slots__ = ("_function", "name")

    def __init__(self, function: Reward, name: str = "reward") -> None:
        self._function = function
        self.name = name

    def __call__(self, before: Progress, after: Progress) -> float:
        """The reward of the step between these two."""
        return float(self._function(before, after))

    def __repr__(self) -> str:
        return self.name

    def __add__(self, other: Reward) -> RewardFunction:
        if not callable(other):
            return NotImplemented
        return RewardFunction(lambda before, after: self(before, after) + other(before, after), f"({self!r} + {other!r})")

    def __sub__(self, other: Reward) -> RewardFunction:
        if not callable(other):
            return NotImplemented
        return RewardFunction(lambda before, after: self(before, after) - other(before, after), f"({self!r} - {other!r})")

    def __mul__(self, factor: float) -> RewardFunction:
        if not isinstance(factor, (int, float)):
            return NotImplemented
        return RewardFunction(lambda before, after: factor * self(before, after), f"{factor} * {self!r}")

    __rmul__ = __mul__

    def __neg__(self) -> RewardFunction:
        return RewardFunction(lambda before, after: -self(before, after), f"-{self!r}")


nodes = RewardFunction(lambda before, after: after.nodes - before.nodes, "nodes")
"""Nodes processed between the two; over an episode: all nodes but those up to the first decision."""

lp_iterations = RewardFunction(lambda before, after: after.lp_iterations - before.lp_iterations, "lp_iterations")
"""Simplex iterations between the two, those of strong branching left out."""

seconds = RewardFunction(lambda before, after: after.seconds - before.seconds, "seconds")
"""Wall seconds of SCIP between the two. Not the same in every run, as all others are."""


def dual_integral(bound: float | Callable[[Progress], float]) -> RewardFunction:
    """What the dual bound lacks, integrated over SCIP's wall seconds (Ecole's ``DualIntegral``, Gasse et al. 2022, ML4CO).

    The bound is looked at when a decision is taken and held until the next: SCIP may raise it in between, so a step's integral
    is an upper bound. It is zero while there is no finite dual bound.

    Args:
        bound: what the dual bound is measured against, in the instance's own sense: its optimum, where it is known, makes the
            integrand zero at the end. A function is asked at every step and can look it up under ``Progress.instance``.
    """

    def integral(before: Progress, after: Progress) -> float:
        reference = bound(before) if callable(bound) else bound
        if not isfinite(before.dual_bound) or abs(before.dual_bound) >= INFINITY:
            return 0.0
        lack = before.dual_bound - reference if before.maximises else reference - before.dual_bound
        return lack * (after.seconds - before.seconds)

    return RewardFunction(integral, "dual_integral")
