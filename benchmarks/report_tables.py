"""The tables of a report: what each policy needed, how it compares with the baseline, and what failed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Literal

from ..branching.complaints import one_line
from .comparison import Comparison, compare
from .policies import AUTO, split_policy
from .rows import RunRow
from .statistics import METRICS, PolicySummary, summarize, unbranched
from .tables import Cell, Table, number

__all__ = ["error_table", "limit_mark", "paired_table", "summary_table"]

_PAIRED = ("nodes", "fair_nodes", "all_lp_iterations", "seconds")


def summary_table(rows: Sequence[RunRow], policies: Sequence[str]) -> Table:
    """What each policy needed: means over its runs, in the order of the policies."""
    summaries = {summary.policy: summary for summary in summarize(rows)}
    ordered = [summaries[policy] for policy in policies]
    most = max(summary.wins for summary in ordered)
    lines = []
    for summary in ordered:
        line = [Cell(summary.policy), Cell(f"{summary.solved}/{summary.runs}")]
        line += [_estimate_cell(summary, ordered, name) for name in METRICS]
        line.append(Cell(f"{summary.wins:.1f}".removesuffix(".0"), best=len(ordered) > 1 and summary.wins == most > 0))
        lines.append(line)
    columns = ["policy", "solved", *(metric.label for metric in METRICS.values()), "wins"]
    return Table("Shifted geometric means (± standard deviation over seeds, in per cent)", columns, lines, _summary_notes(rows, ordered))


def _estimate_cell(summary: PolicySummary, contest: Sequence[PolicySummary], name: str) -> Cell:
    """A mean, in bold if it is certainly the lowest.

    One with runs at a limit is a lower bound of the true mean, one that lacks runs is the mean of others, and of two below the
    resolution neither is the lower one.
    """
    estimate, resolution = summary.estimates[name], METRICS[name].resolution
    detail = "" if estimate.seed_deviation is None else f"± {estimate.seed_deviation:.1f} %"
    others = [rival.estimates[name] for rival in contest if rival is not summary and not (rival.errors or rival.missing)]
    lowest = all(estimate.mean <= other.mean and other.mean >= resolution for other in others if other.runs)
    best = bool(others) and estimate.runs > 0 and not (summary.limits or summary.errors or summary.missing) and lowest
    return Cell(f"{'≥ ' if summary.limits and estimate.runs else ''}{number(estimate.mean)}", best=best, detail=detail)


def _summary_notes(rows: Sequence[RunRow], summaries: Sequence[PolicySummary]) -> list[str]:
    instances = {row.instance for row in rows}
    seeds = {row.seed for row in rows}
    notes = [f"{_count(len(instances), 'instance')}, {_count(len(seeds), 'seed')}."]
    trivial = len(unbranched(rows))
    if trivial:
        notes[0] += f" {trivial} of the instances needed no branching by any policy: left out of nodes, fair nodes and wins."
    limits = [f"{summary.policy} {summary.limits}" for summary in summaries if summary.limits]
    if limits:
        notes.append(
            f"Runs that ended at a limit: {', '.join(limits)}. They count at the time limit in seconds, and at what they had used by "
            "then in nodes and LP iterations: their true cost is higher, and means with such runs are lower bounds (≥)."
        )
    failures = [
        f"{summary.policy} at {summary.fallbacks} of {summary.decisions + summary.fallbacks} nodes"
        for summary in summaries
        if summary.fallbacks
    ]
    if failures:
        notes.append(f"Policies that failed, so that SCIP's own rule branched in their place: {', '.join(failures)}.")
    errors = [f"{summary.policy} {summary.errors}" for summary in summaries if summary.errors]
    if errors:
        notes.append(f"Failed runs, in no mean: {', '.join(errors)}.")
    missing = [f"{summary.policy} {summary.missing}" for summary in summaries if summary.missing]
    if missing:
        notes.append(f"Runs not done: {', '.join(missing)}.")
    if errors or missing:
        notes.append("So these means are not over the same runs for all policies; the paired comparison is.")
    return [*notes, *_choices(rows, [summary.policy for summary in summaries])]


def _choices(rows: Sequence[RunRow], policies: Sequence[str]) -> Iterator[str]:
    """Which policies ``auto`` chose, a sentence for each of its kinds; none where the rows do not say."""
    for policy in policies:
        if split_policy(policy)[0] != AUTO:
            continue
        reports = [json.loads(row.report) for row in rows if row.policy == policy and row.report is not None]
        chosen = Counter(report["auto_policy"] for report in reports if "auto_policy" in report)
        parts = [f"{name} for {_count(runs, 'run')}" for name, runs in sorted(chosen.items(), key=lambda item: (-item[1], item[0]))]
        if idle := len(reports) - chosen.total():  # nothing was branched on
            parts.append(f"none for {_count(idle, 'run')}")
        if parts:
            yield f"{policy} chose {', '.join(parts)}."


def paired_table(rows: Sequence[RunRow], policies: Sequence[str], baseline: str, *, trainings: bool = False) -> Table:
    """Each policy's costs as ratios to the baseline's, on the runs that both have.

    Args:
        rows: of one group.
        policies: in their order.
        baseline: the one that the others are compared with.
        trainings: whether seeds are those of trainings.
    """
    lines = []
    left_out: list[str] = []
    limits = unmeasurable = False
    for policy in policies:
        if policy == baseline:
            continue
        results = [compare(rows, policy, baseline, METRICS[name], trainings=trainings) for name in _PAIRED]
        everything = results[_PAIRED.index("seconds")]
        limits |= everything.policy_limits + everything.baseline_limits > 0
        unmeasurable |= everything.ratio is None and everything.pairs > 0
        lines.append([Cell(policy), Cell(str(everything.pairs)), *(cell for result in results for cell in _comparison_cells(result))])
        if everything.left_out:
            left_out.append(f"{policy} {everything.left_out}")
    columns = ["policy", "pairs", *(heading for name in _PAIRED for heading in (METRICS[name].label, "p"))]
    notes = [
        "Ratio of shifted geometric means on common (instance, seed) pairs, with 95 % bootstrap interval; below 1 the policy is cheaper."
    ]
    if trainings:
        notes.append("Seeds are trainings: intervals draw these anew too, of each policy on its own, and there is no test.")
    if unbranched(rows):
        notes.append("Instances that needed no branching are left out of the ratios of nodes and fair nodes.")
    if limits:
        notes.append("≥: the policy had runs at a limit, so the true ratio is higher. ≤: the baseline had. †: both had.")
    if unmeasurable:
        notes.append("No ratio of seconds where the means are too small for SCIP's clock.")
    if left_out:
        notes.append(f"Pairs left out because a run is missing or failed: {', '.join(left_out)}.")
    return Table(f"Compared with {baseline}", columns, lines, notes)


def _comparison_cells(result: Comparison) -> tuple[Cell, Cell]:
    if result.ratio is None:
        return Cell("-"), Cell("-")
    text, p_value = limit_mark(result) + _ratio(result.ratio), Cell(_p_value(result.p_value))
    if result.low is None or result.high is None:
        return Cell(text), p_value
    # A verdict needs both the interval and the test (with few instances the interval alone promises too much), and runs at
    # a limit must not be what it rests on: without the limit they could only have confirmed it.
    verdict: Literal["", "better", "worse"] = ""
    if result.certain and result.high < 1.0 and not result.policy_limits:
        verdict = "better"
    elif result.certain and result.low > 1.0 and not result.baseline_limits:
        verdict = "worse"
    return Cell(text, verdict=verdict, detail=f"[{_ratio(result.low)}, {_ratio(result.high)}]"), p_value


def limit_mark(result: Comparison) -> str:
    """What stands before a ratio that runs at a limit have a part in: "≥ " or "≤ " where it is a bound, "† " where both sides had some."""
    return {(True, False): "≥ ", (False, True): "≤ ", (True, True): "† "}.get((result.policy_limits > 0, result.baseline_limits > 0), "")


def short_ratio(result: Comparison) -> str:
    """A ratio and its interval in Markdown, with two digits; a dash where there is none."""
    if result.ratio is None:
        return "-"
    interval = "" if result.low is None or result.high is None else f" \\[{result.low:.2f}, {result.high:.2f}\\]"
    return f"{limit_mark(result)}{result.ratio:.2f}{interval}"


def _ratio(value: float) -> str:
    return f"{value:.3f}" if value < 10.0 else f"{value:.1f}"


def _p_value(value: float | None) -> str:
    if value is None:
        return "-"
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def error_table(rows: Sequence[RunRow]) -> Table | None:
    """Failed runs and their causes; None without any."""
    failed = [row for row in rows if row.status == "error"]
    if not failed:
        return None
    shown = failed[:50]
    lines = [
        [Cell(row.instance), Cell(str(row.seed)), Cell(row.policy), Cell(row.settings), Cell(one_line(row.error or "no cause given")[:300])]
        for row in shown
    ]
    notes = [f"{len(failed) - len(shown)} more."] if len(failed) > len(shown) else []
    return Table("Failed runs and their causes", ["instance", "seed", "policy", "settings", "cause"], lines, notes, words=True)


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
