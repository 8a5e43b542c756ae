"""What rows say: shifted geometric means, wins, performance profiles. ``comparison`` sets two policies against each other.

How runs are counted, everywhere:

- A run with status ``error`` has no numbers. It is counted as an error, never as a value.
- A run that hit a limit costs the time limit in seconds (a lower bound of its true cost), and what it had used by then in
  nodes and LP iterations. The number of such runs stands beside the means.
- An instance that all runs solved without branching (at most one node, fair or not) has no tree to speak of. It is counted, and left
  out of node counts and wins, not of LP iterations and seconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..branching.measures import SETTLED, shifted_geometric_mean
from .rows import RunRow

__all__ = [
    "METRICS",
    "Estimate",
    "FloatArray",
    "Metric",
    "Pair",
    "PolicySummary",
    "Profile",
    "cost",
    "failed_nodes",
    "performance_profile",
    "shifted_geometric_mean",
    "solved",
    "summarize",
    "unbranched",
    "wins",
]

FloatArray = NDArray[np.float64]
Pair = tuple[str, int]
"""Instance and seed: what two policies are compared on."""

CLOCK_TICK = 0.01
"""Resolution of SCIP's clock, in seconds: times this close cannot be told apart."""
WIN_MARGIN = 0.01
"""Runs within 1 % of the fastest share its win."""


def solved(row: RunRow) -> bool:
    """Whether the run settled its instance."""
    return row.status in SETTLED


def _seconds(row: RunRow) -> float | None:
    if row.solve_seconds is not None and not solved(row) and math.isfinite(row.time_limit):
        return row.time_limit
    return row.solve_seconds


def _all_lp_iterations(row: RunRow) -> float | None:
    if row.lp_iterations is None or row.strong_branching_lp_iterations is None:
        return None
    return row.lp_iterations + row.strong_branching_lp_iterations


@dataclass(frozen=True, slots=True)
class Metric:
    """A cost of a run, and the shift of its geometric mean."""

    name: str
    label: str
    shift: float
    value: Callable[[RunRow], float | None]
    of_tree: bool = False
    """Whether instances without a tree are left out."""
    resolution: float = 0.0
    """Means below it are nothing, as far as can be measured: of two such neither is the smaller one."""


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("nodes", "nodes", 10.0, lambda row: row.nodes, of_tree=True),
        Metric("fair_nodes", "fair nodes", 10.0, lambda row: row.fair_nodes, of_tree=True),
        Metric("lp_iterations", "LP iterations", 100.0, lambda row: row.lp_iterations),
        Metric("all_lp_iterations", "all LP iterations", 100.0, _all_lp_iterations),
        Metric("seconds", "seconds", 1.0, _seconds, resolution=CLOCK_TICK / 2),
    )
}
"""The costs that are reported, with the field's usual shifts (Achterberg 2007, section A.3)."""


def cost(row: RunRow, metric: Metric) -> float | None:
    """Value of a run in a metric, by the rules at the head of this module; None where there is none."""
    return None if row.status == "error" else metric.value(row)


def failed_nodes(rows: Iterable[RunRow]) -> int:
    """Nodes at which policies failed, so that SCIP's next rule branched in their place."""
    return sum(row.fallbacks or 0 for row in rows)


def unbranched(rows: Iterable[RunRow]) -> frozenset[str]:
    """Instances that every run solved with at most one node, and without reductions by probing; failed runs have no say."""
    trivial: dict[str, bool] = {}
    for row in rows:
        if row.status != "error":
            flat = solved(row) and row.nodes is not None and max(row.nodes, row.fair_nodes or 0) <= 1
            trivial[row.instance] = trivial.get(row.instance, True) and flat
    return frozenset(instance for instance, flat in trivial.items() if flat)


# --- one policy ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Estimate:
    """Shifted geometric mean of a policy's runs, and how it moves with the seed."""

    mean: float
    """Over all runs; NaN without any."""
    runs: int
    seed_mean: float
    """Mean over seeds of the shifted geometric mean of each seed's runs."""
    seed_deviation: float | None
    """Standard deviation of the same (n - 1), in per cent of ``seed_mean``; None with a single seed."""


@dataclass(frozen=True, slots=True)
class PolicySummary:
    """What one policy did on a group of rows."""

    policy: str
    runs: int
    """Rows, failed ones included."""
    missing: int
    """(Instance, seed) pairs of the group without a row of this policy."""
    solved: int
    limits: int
    """Runs that ended at a limit."""
    errors: int
    decisions: int
    """Branchings of the policy."""
    fallbacks: int
    """Nodes at which it failed (``failed_nodes``): its runs' numbers are then not the policy's alone."""
    wins: float
    estimates: dict[str, Estimate]


def summarize(rows: Sequence[RunRow]) -> list[PolicySummary]:
    """Summaries of all policies of a group of rows (one setting, one time limit), sorted by name."""
    trivial = unbranched(rows)
    shares = wins(rows)
    pairs = len({(row.instance, row.seed) for row in rows})
    summaries = []
    for policy in sorted({row.policy for row in rows}):
        own = [row for row in rows if row.policy == policy]
        errors = sum(row.status == "error" for row in own)
        finished = sum(solved(row) for row in own)
        summaries.append(
            PolicySummary(
                policy=policy,
                runs=len(own),
                missing=pairs - len({(row.instance, row.seed) for row in own}),
                solved=finished,
                limits=len(own) - finished - errors,
                errors=errors,
                decisions=sum(row.decisions or 0 for row in own),
                fallbacks=failed_nodes(own),
                wins=shares.get(policy, 0.0),
                estimates={name: _estimate(own, metric, trivial) for name, metric in METRICS.items()},
            )
        )
    return summaries


def _estimate(rows: Iterable[RunRow], metric: Metric, trivial: Collection[str]) -> Estimate:
    by_seed: dict[int, list[float]] = {}
    for row in rows:
        value = cost(row, metric)
        if value is not None and not (metric.of_tree and row.instance in trivial):
            by_seed.setdefault(row.seed, []).append(value)
    values = [value for seed in by_seed.values() for value in seed]
    means = np.array([shifted_geometric_mean(seed, metric.shift) for seed in by_seed.values()])
    seed_mean = float(means.mean()) if means.size else math.nan
    deviation = None
    if means.size > 1:
        spread = float(means.std(ddof=1))
        deviation = 0.0 if spread == 0.0 else 100.0 * spread / seed_mean
    return Estimate(shifted_geometric_mean(values, metric.shift), len(values), seed_mean, deviation)


def wins(rows: Sequence[RunRow]) -> dict[str, float]:
    """Wins in solving time: each (instance, seed) that somebody solved is worth one.

    It goes to the fastest policy among those that solved it. All that are within 1 %, or within one tick of SCIP's clock
    (0.01 s), of the fastest share it equally. Instances without a tree are nobody's win.
    """
    trivial = unbranched(rows)
    times: dict[Pair, dict[str, float]] = {}
    for row in rows:
        if solved(row) and row.solve_seconds is not None and row.instance not in trivial:
            times.setdefault((row.instance, row.seed), {})[row.policy] = row.solve_seconds
    result = {row.policy: 0.0 for row in rows}
    for contest in times.values():
        best = min(contest.values())
        bound = max(best * (1.0 + WIN_MARGIN), best + CLOCK_TICK) + 1e-9
        winners = [policy for policy, seconds in contest.items() if seconds <= bound]
        for policy in winners:
            result[policy] += 1.0 / len(winners)
    return result


# --- all policies --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Profile:
    """Performance profile of one policy (Dolan & More 2002): a step function."""

    policy: str
    factors: FloatArray
    """(s,) factors of the best time at which the profile rises, ascending, from 1."""
    shares: FloatArray
    """(s,) share of the pairs that the policy solved within that factor."""


def performance_profile(rows: Sequence[RunRow]) -> tuple[list[Profile], int]:
    """Profiles in solving time on the (instance, seed) pairs that all policies have a row of, failed ones included.

    A run that did not solve its instance has no finite factor, so a profile ends at the policy's share of solved pairs.
    Times below SCIP's clock tick count as one tick.

    Returns:
        Profiles sorted by policy, and the number of pairs.
    """
    policies = sorted({row.policy for row in rows})
    times: dict[Pair, dict[str, float]] = {}
    for row in rows:
        seconds = max(row.solve_seconds, CLOCK_TICK) if solved(row) and row.solve_seconds is not None else math.inf
        times.setdefault((row.instance, row.seed), {})[row.policy] = seconds
    complete = [contest for contest in times.values() if len(contest) == len(policies)]
    profiles = []
    for policy in policies:
        factors = np.array([contest[policy] / min(contest.values()) for contest in complete if math.isfinite(contest[policy])])
        steps, counts = np.unique(factors, return_counts=True)
        if not steps.size or steps[0] > 1.0:
            steps, counts = np.insert(steps, 0, 1.0), np.insert(counts, 0, 0)
        profiles.append(Profile(policy, steps, np.cumsum(counts) / max(1, len(complete))))
    return profiles, len(complete)
