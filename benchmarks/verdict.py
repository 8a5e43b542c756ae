"""Whether a trained policy is worth its use: what its runs and SCIP's say, beyond doubt or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .comparison import Comparison, compare
from .evaluate import wrong_results
from .rows import RunRow
from .statistics import METRICS, cost, failed_nodes, solved

__all__ = ["BASELINE", "FEWEST", "OWN", "Verdict", "better_of", "judge"]

BASELINE = "scip:default"
OWN = "own+guard"
"""What the trained policy is called in a verdict's rows."""
FEWEST = 6
"""Instances from which on a signed-rank test can be sure at the level of 5 %."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the policy is worth its use, and the runs that say so."""

    checkpoint: Path
    use: bool
    reason: str
    rows: tuple[RunRow, ...]
    """Those of the policy under the name ``OWN``."""


def judge(rows: Sequence[RunRow], policy: str, baseline: str = BASELINE) -> tuple[bool, str]:
    """Whether the policy is faster beyond doubt, and one sentence why.

    It is to be used where no answer is wrong, no run of either failed, the policy failed at no node, it solves all instances that the
    baseline solves, the whole 95 % interval of the ratio of times lies below 1, and the signed-rank test says the same: an interval of few
    instances promises too much. Fewer than ``FEWEST`` whose times differ can never pass that test.
    """
    wrong = wrong_results(rows)
    if wrong:
        return False, f"the answers on {', '.join(wrong)} contradict each other: please report this"
    for name, whose in ((policy, "its runs"), (baseline, "the runs of SCIP's default")):
        failed = [row for row in rows if row.policy == name and row.status == "error"]
        if failed:
            return False, f"{len(failed)} of {whose} failed, the first with: {failed[0].error}"
    if failures := failed_nodes(row for row in rows if row.policy == policy):
        return False, f"the policy failed at {failures} nodes, where SCIP's own rule branched in its place"
    done = {name: {row.instance for row in rows if row.policy == name and solved(row)} for name in (policy, baseline)}
    comparison = _seconds(rows, policy, baseline)
    if comparison.ratio is None:
        return False, "there is nothing to compare"
    ratio = f"{comparison.ratio:.2f} times the seconds of SCIP's default"
    if comparison.low is None or comparison.high is None:
        return False, f"{ratio} on one instance, which proves nothing"
    ratio += f" (95 % interval {comparison.low:.2f} to {comparison.high:.2f}, {comparison.instances} instances)"
    if lost := sorted(done[baseline] - done[policy]):
        return False, f"it does not solve {', '.join(lost)} in the time, and SCIP's default does; {ratio}"
    if _differing(rows, policy, baseline) < FEWEST:
        return False, f"{ratio}: fewer than {FEWEST} whose times differ prove nothing"
    if comparison.high < 1.0 and comparison.certain:
        return True, ratio
    return False, f"{ratio}: no gain that is beyond doubt"


def _differing(rows: Sequence[RunRow], policy: str, baseline: str) -> int:
    """Instances on which the two took different times: the others say nothing in a signed-rank test."""
    seconds: dict[str, dict[str, list[float | None]]] = {policy: {}, baseline: {}}
    for row in rows:
        if row.policy in seconds:
            seconds[row.policy].setdefault(row.instance, []).append(cost(row, METRICS["seconds"]))
    return sum(seconds[policy].get(instance, times) != times for instance, times in seconds[baseline].items())


def _seconds(rows: Sequence[RunRow], policy: str, baseline: str) -> Comparison:
    return compare(rows, policy, baseline, METRICS["seconds"])


def better_of(rows: Sequence[RunRow], candidates: Sequence[str]) -> str:
    """The candidate that solves more and, of equals, is faster."""
    first, second = candidates
    done = [sum(row.policy == name and solved(row) for row in rows) for name in candidates]
    if done[0] != done[1]:
        return first if done[0] > done[1] else second
    ratio = _seconds(rows, second, first).ratio
    return second if ratio is not None and ratio < 1.0 else first
