"""What rows say: shifted geometric means, wins, paired comparisons, performance profiles.

How runs are counted, everywhere:

- A run with status ``error`` has no numbers. It is counted as an error, never as a value.
- A run that hit a limit costs the time limit in seconds (a lower bound of its true cost), and what it had used by then in
  nodes and LP iterations. The number of such runs stands beside the means.
- An instance that all runs solved without branching (at most one node) has no tree to speak of. It is counted, and left
  out of node counts and wins, not of LP iterations and seconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ..branching.measures import SETTLED, shifted_geometric_mean
from .rows import RunRow

__all__ = [
    "METRICS",
    "Comparison",
    "Estimate",
    "Metric",
    "PolicySummary",
    "Profile",
    "compare",
    "cost",
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
RESAMPLES = 10_000
CONFIDENCE = 0.95


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


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("nodes", "nodes", 10.0, lambda row: row.nodes, of_tree=True),
        Metric("fair_nodes", "fair nodes", 10.0, lambda row: row.fair_nodes, of_tree=True),
        Metric("lp_iterations", "LP iterations", 100.0, lambda row: row.lp_iterations),
        Metric("all_lp_iterations", "all LP iterations", 100.0, _all_lp_iterations),
        Metric("seconds", "seconds", 1.0, _seconds),
    )
}
"""The costs that are reported, with the field's usual shifts (Achterberg 2007, section A.3)."""


def cost(row: RunRow, metric: Metric) -> float | None:
    """Value of a run in a metric, by the rules at the head of this module; None where there is none."""
    return None if row.status == "error" else metric.value(row)


def unbranched(rows: Iterable[RunRow]) -> frozenset[str]:
    """Instances that every run solved with at most one node; failed runs have no say."""
    trivial: dict[str, bool] = {}
    for row in rows:
        if row.status != "error":
            flat = solved(row) and row.nodes is not None and row.nodes <= 1
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


# --- two policies --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Comparison:
    """A policy against a baseline, on the (instance, seed) pairs that both have."""

    policy: str
    baseline: str
    metric: str
    ratio: float | None
    """Shifted geometric mean of the policy / of the baseline; below 1 the policy is cheaper. None without pairs."""
    low: float | None
    high: float | None
    """Bootstrap confidence interval of the ratio (95 %, percentiles); None with fewer than two instances."""
    p_value: float | None
    """Wilcoxon signed-rank test, two-sided, on the instances' mean log ratios; None with fewer than two instances."""
    instances: int
    pairs: int
    left_out: int
    """Pairs that lack one side or both: not run, or failed."""
    policy_limits: int
    """Pairs in which the policy's run ended at a limit: the ratio is then too low, if anything."""
    baseline_limits: int
    """Pairs in which the baseline's run did: too high, if anything."""


def compare(rows: Sequence[RunRow], policy: str, baseline: str, metric: Metric, *, resamples: int = RESAMPLES, seed: int = 0) -> Comparison:
    """Compare two policies on a group of rows (one setting, one time limit).

    Runs of one instance under several seeds are no independent samples. So the bootstrap draws instances with all their
    pairs, and the test sees one number an instance: the mean over seeds of log((x + shift) / (y + shift)).

    Args:
        rows: the group; rows of other policies serve to tell which instances have no tree.
        policy: numerator.
        baseline: denominator.
        metric: the cost.
        resamples: of the bootstrap.
        seed: of the bootstrap.
    """
    trivial = unbranched(rows) if metric.of_tree else frozenset()
    sides: dict[Pair, dict[str, RunRow]] = {}
    for row in rows:
        if row.policy in (policy, baseline) and row.instance not in trivial:
            sides.setdefault((row.instance, row.seed), {})[row.policy] = row
    logs: dict[str, list[tuple[float, float]]] = {}
    limits = [0, 0]
    for (instance, _), side in sides.items():
        values = [None if name not in side else cost(side[name], metric) for name in (policy, baseline)]
        if values[0] is not None and values[1] is not None:
            logs.setdefault(instance, []).append((math.log(values[0] + metric.shift), math.log(values[1] + metric.shift)))
            limits = [limits[0] + (not solved(side[policy])), limits[1] + (not solved(side[baseline]))]
    pairs = sum(map(len, logs.values()))
    ratio = low = high = p_value = None
    if logs:
        # (instances, 3): sum of logs of either side, and the number of pairs; all that a resample needs
        sums = np.array([[*np.sum(both, axis=0), len(both)] for both in logs.values()])
        ratio = _finite(float(_ratios(sums.sum(axis=0), metric.shift)))
        if len(sums) > 1:
            low, high = _interval(sums, metric.shift, resamples, seed)
            p_value = _wilcoxon((sums[:, 0] - sums[:, 1]) / sums[:, 2])
    return Comparison(policy, baseline, metric.name, ratio, low, high, p_value, len(logs), pairs, len(sides) - pairs, *limits)


def _ratios(sums: FloatArray, shift: float) -> FloatArray:
    """Ratios of shifted geometric means from (..., 3) sums; NaN where the baseline's mean is 0."""
    means = np.exp(sums[..., :2] / sums[..., 2:]) - shift
    numerator, denominator = means[..., 0], means[..., 1]
    usable = denominator > 1e-9
    return np.where(usable, numerator / np.where(usable, denominator, 1.0), np.nan)


def _interval(sums: FloatArray, shift: float, resamples: int, seed: int) -> tuple[float | None, float | None]:
    random = np.random.default_rng(seed)
    count = len(sums)
    shares = np.full(count, 1.0 / count)
    ratios = []
    chunk = max(1, 2_000_000 // count)  # keeps the table of draws at a few MB for thousands of instances
    for start in range(0, resamples, chunk):
        draws = random.multinomial(count, shares, size=min(chunk, resamples - start))
        ratios.append(_ratios(draws @ sums, shift))
    drawn = np.concatenate(ratios)
    drawn = drawn[np.isfinite(drawn)]
    if not drawn.size:
        return None, None
    tail = (1.0 - CONFIDENCE) / 2.0
    low, high = np.quantile(drawn, [tail, 1.0 - tail])
    return float(low), float(high)


def _wilcoxon(log_ratios: FloatArray) -> float | None:
    differences = np.where(np.abs(log_ratios) < 1e-12, 0.0, log_ratios)
    if not differences.any():
        return 1.0  # SciPy has no answer where nothing differs; the hypothesis of no difference stands
    return _finite(float(stats.wilcoxon(differences).pvalue))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


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
