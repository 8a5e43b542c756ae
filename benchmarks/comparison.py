"""Two policies on the same runs: the ratio of their costs, how sure it is, and whether chance explains it.

Runs are counted as ``statistics`` says.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .rows import RunRow
from .statistics import FloatArray, Metric, Pair, cost, solved, unbranched

__all__ = ["CONFIDENCE", "RESAMPLES", "Comparison", "compare"]

RESAMPLES = 10_000
CONFIDENCE = 0.95
_LEVEL = 0.05


@dataclass(frozen=True, slots=True)
class Comparison:
    """A policy against a baseline, on the (instance, seed) pairs that both have."""

    policy: str
    baseline: str
    metric: str
    ratio: float | None
    """Shifted geometric mean of the policy / of the baseline; below 1 the policy is cheaper. None without pairs, and where it would say
    nothing: both means are below the metric's resolution, or the baseline's is 0. Then there is no interval and no test either."""
    low: float | None
    high: float | None
    """Bootstrap confidence interval of the ratio (95 %, percentiles); None with fewer than two instances (or
    of the trainings that are drawn)."""
    p_value: float | None
    """Wilcoxon signed-rank test, two-sided, on the instances' mean log ratios; None with fewer than two instances, and of trainings."""
    instances: int
    pairs: int
    left_out: int
    """Pairs that lack one side or both: not run, or failed."""
    policy_limits: int
    """Pairs in which the policy's run ended at a limit: the ratio is then too low, if anything."""
    baseline_limits: int
    """Pairs in which the baseline's run did: too high, if anything."""

    @property
    def certain(self) -> bool:
        """Whether the test says that chance does not explain it."""
        return self.p_value is not None and self.p_value < _LEVEL


def compare(
    rows: Sequence[RunRow],
    policy: str,
    baseline: str,
    metric: Metric,
    *,
    trainings: bool = False,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Compare two policies on a group of rows (one setting, one time limit).

    Runs of one instance under several seeds are no independent samples. So the bootstrap draws instances with all their
    pairs, and the test sees one number an instance: the mean over seeds of log((x + shift) / (y + shift)).

    Where seeds are those of trainings, a seed stands for weights that all instances share, and the same seed of two learners for nothing
    in common. Then each draw takes instances, and of either side, on its own, as many trainings as there are; there is no test.

    Args:
        rows: the group; rows of other policies serve to tell which instances have no tree.
        policy: numerator.
        baseline: denominator.
        metric: the cost.
        trainings: whether seeds are those of trainings.
        resamples: of the bootstrap.
        seed: of the bootstrap.
    """
    trivial = unbranched(rows) if metric.of_tree else frozenset()
    sides: dict[Pair, dict[str, RunRow]] = {}
    for row in rows:
        if row.policy in (policy, baseline) and row.instance not in trivial:
            sides.setdefault((row.instance, row.seed), {})[row.policy] = row
    logs: dict[str, dict[int, tuple[float, float]]] = {}
    limits = [0, 0]
    for (instance, number), side in sides.items():
        values = [None if name not in side else cost(side[name], metric) for name in (policy, baseline)]
        if values[0] is not None and values[1] is not None:
            logs.setdefault(instance, {})[number] = (math.log(values[0] + metric.shift), math.log(values[1] + metric.shift))
            limits = [limits[0] + (not solved(side[policy])), limits[1] + (not solved(side[baseline]))]
    pairs = sum(map(len, logs.values()))
    ratio = low = high = p_value = None
    if logs:
        # (instances, 3): sum of logs of either side, and the number of pairs; all that a resample needs
        sums = np.array([[*np.sum(list(both.values()), axis=0), len(both)] for both in logs.values()])
        total = sums.sum(axis=0)
        if _means(total, metric.shift).max() >= metric.resolution:
            ratio = _finite(float(_ratios(total, metric.shift)))
        if ratio is not None and trainings:
            low, high = _crossed_interval(list(logs.values()), metric.shift, resamples, seed)
        elif ratio is not None and len(sums) > 1:
            low, high = _interval(sums, metric.shift, resamples, seed)
            p_value = _wilcoxon((sums[:, 0] - sums[:, 1]) / sums[:, 2])
    return Comparison(policy, baseline, metric.name, ratio, low, high, p_value, len(logs), pairs, len(sides) - pairs, *limits)


def _means(sums: FloatArray, shift: float) -> FloatArray:
    """Shifted geometric means of both sides, (..., 2), from (..., 3) sums."""
    means: FloatArray = np.exp(sums[..., :2] / sums[..., 2:]) - shift
    return means


def _ratios(sums: FloatArray, shift: float) -> FloatArray:
    """Ratios of shifted geometric means from (..., 3) sums; NaN where the baseline's mean is 0."""
    means = _means(sums, shift)
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
    return _percentiles(np.concatenate(ratios))


def _crossed_interval(
    logs: Sequence[Mapping[int, tuple[float, float]]], shift: float, resamples: int, seed: int
) -> tuple[float | None, float | None]:
    """Interval with draws of instances and, for either side on its own, of trainings; None with fewer than two of either."""
    numbers = sorted({number for both in logs for number in both})
    if len(numbers) < 2 or len(logs) < 2:
        return None, None
    random = np.random.default_rng(seed)
    there = np.array([[number in both for number in numbers] for both in logs], dtype=np.float64)
    values = np.array([[both.get(number, (0.0, 0.0)) for number in numbers] for both in logs])
    instances = random.multinomial(len(logs), np.full(len(logs), 1.0 / len(logs)), size=resamples)
    means = []
    for side in range(2):
        drawn = random.multinomial(len(numbers), np.full(len(numbers), 1.0 / len(numbers)), size=resamples)
        total = ((instances @ values[..., side]) * drawn).sum(axis=1)
        count = ((instances @ there) * drawn).sum(axis=1)
        means.append(total / np.where(count > 0, count, np.nan))
    return _percentiles(_ratios(np.stack([*means, np.ones(resamples)], axis=1), shift))


def _percentiles(ratios: FloatArray) -> tuple[float | None, float | None]:
    ratios = ratios[np.isfinite(ratios)]
    if not ratios.size:
        return None, None
    tail = (1.0 - CONFIDENCE) / 2.0
    low, high = np.quantile(ratios, [tail, 1.0 - tail])
    return float(low), float(high)


def _wilcoxon(log_ratios: FloatArray) -> float | None:
    # Without those that do not differ, which the test leaves out: versions of SciPy differ in whether they are exact beside them.
    differences = log_ratios[np.abs(log_ratios) >= 1e-12]
    if not differences.size:
        return 1.0  # SciPy has no answer where nothing differs; the hypothesis of no difference stands
    from scipy import stats  # of the extra bench; whoever reads rows has it, and is told where not

    return _finite(float(stats.wilcoxon(differences).pvalue))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
