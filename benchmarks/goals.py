"""The policies that ship against the goals that were set for them, out of the rows that are committed: one Markdown table.

    python -m revibranch.benchmarks.goals benchmarks/results

Nothing is solved here. The goals were written down before the policies were trained.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import click

from .comparison import Comparison, compare
from .policies import scip_rule
from .report_tables import short_ratio
from .rows import RunRow
from .statistics import METRICS, summarize
from .store import StoreError, read_rows

__all__ = ["GOALS", "Goal", "main"]


@dataclass(frozen=True)
class Goal:
    """What a policy is to reach on one family at one size: ratios, each to be at most so large; None where none was set."""

    title: str
    file: str
    """Of the folder of results."""
    instances: str
    """What the names of its instances begin with, up to the seed."""
    policy: str
    standard: str
    """SCIP's default rule, reliability pseudocosts: under its name ``relpscost`` or as SCIP comes."""
    seconds: float | None
    """Of the standard's seconds."""
    best: float | None
    """Of the seconds of the fastest of SCIP's rules that were measured."""
    nodes: float | None
    """Of pscost's nodes."""


def _clean(title: str, file: str, instances: str, policy: str, *ratios: float | None) -> Goal:
    return Goal(title, file, instances, policy, "scip:relpscost", *ratios)


def _default(title: str, instances: str, policy: str) -> Goal:
    return Goal(f"{title}, default settings", "default-settings.parquet", instances, f"{policy}+guard", "scip:default", 0.9, 0.95, None)


_FIRST_ITEM = "auction-{}-compatibility=first-item"

GOALS: tuple[Goal, ...] = (
    _clean("auction 100x500", "auction.parquet", "auction-100x500", "auction", 0.55, 0.75, 0.25),
    _clean("auction 100x500, first-item", "auction-first-item.parquet", _FIRST_ITEM.format("100x500"), "auction", 0.55, 0.75, 0.25),
    _clean("auction 200x1000, first-item", "auction-first-item.parquet", _FIRST_ITEM.format("200x1000"), "auction", 0.45, 0.5, 0.15),
    _clean("set cover 500x1000", "setcover.parquet", "setcover-500x1000", "setcover", 0.55, 0.9, 0.5),
    _clean("set cover 1000x1000", "setcover-larger.parquet", "setcover-1000x1000", "setcover", 0.5, 0.75, 0.4),
    _clean("independent set 500", "independent-set.parquet", "independent-set-500", "independent-set", 0.65, 0.9, 0.5),
    _clean("independent set 650", "independent-set-larger.parquet", "independent-set-650", "independent-set", 0.6, 0.8, 0.4),
    _clean("knapsack 100x6", "knapsack.parquet", "knapsack-100x6", "knapsack+guard", 0.8, 0.9, 0.4),
    _clean("knapsack 100x12", "knapsack-larger.parquet", "knapsack-100x12", "knapsack+guard", None, None, None),
    _clean("facility location 60x60", "facility.parquet", "facility-60x60", "auto", 0.9, 0.95, 0.6),
    _clean("facility location 80x80", "facility-larger.parquet", "facility-80x80", "auto", None, None, None),
    _clean("random MIP 60x80", "general.parquet", "general-60x80", "general", None, None, None),
    _default("auction 100x500", "auction-100x500", "auction"),
    _default("set cover 500x1000", "setcover-500x1000", "setcover"),
    _default("independent set 500", "independent-set-500", "auto"),
    _default("facility location 60x60", "facility-60x60", "auto"),
    _default("knapsack 100x6", "knapsack-100x6", "auto"),
)
"""In the order of the table. Those of independent sets of 650 nodes were set for 1000, whose trees are too large to be measured."""


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
def main(folder: Path) -> None:
    """Print the table, from the Parquet files in FOLDER."""
    click.echo(
        "| instances | instances x seeds | seconds, of SCIP's default rule's | seconds, of the fastest of the rules that were run "
        "| nodes, of `pscost`'s | LP iterations, of the default rule's |"
    )
    click.echo("| --- | ---: | --- | --- | --- | --- |")
    read = cache(read_rows)
    for goal in GOALS:
        try:
            rows = [row for row in read(folder / goal.file) if row.instance.rpartition("-")[0] == goal.instances]
        except StoreError as error:
            raise click.ClickException(str(error)) from error
        if not any(row.policy == goal.policy for row in rows):
            raise click.ClickException(f"{folder / goal.file} holds no run of {goal.policy} on {goal.instances}")
        click.echo(f"| {goal.title} | {_runs(rows, goal.policy)} | {' | '.join(_cells(rows, goal))} |")


def _runs(rows: Sequence[RunRow], policy: str) -> str:
    own = [row for row in rows if row.policy == policy]
    instances, seeds = {row.instance for row in own}, {row.seed for row in own}
    return f"{len(instances)} x {len(seeds)}"


def _cells(rows: Sequence[RunRow], goal: Goal) -> Iterator[str]:
    best = _fastest(rows)
    yield _cell(compare(rows, goal.policy, goal.standard, METRICS["seconds"]), goal.seconds)
    yield _cell(compare(rows, goal.policy, best, METRICS["seconds"]), goal.best) + f", `{best}`"
    yield _cell(compare(rows, goal.policy, "scip:pscost", METRICS["nodes"]), goal.nodes)
    yield _cell(compare(rows, goal.policy, goal.standard, METRICS["all_lp_iterations"]), None)


def _fastest(rows: Sequence[RunRow]) -> str:
    """Of SCIP's rules, the one with the least mean of seconds; of those that did all the runs, for only their means compare."""
    means = {
        summary.policy: summary.estimates["seconds"].mean
        for summary in summarize(rows)
        if scip_rule(summary.policy) is not None and not summary.errors and not summary.missing
    }
    if not means:
        raise click.ClickException(f"none of SCIP's rules did all the runs on the likes of {rows[0].instance}")
    return min(means, key=lambda rule: means[rule])


def _cell(result: Comparison, goal: float | None) -> str:
    text = short_ratio(result)
    if goal is None or result.ratio is None:
        return text
    return f"{text}, goal {goal:g}: {_verdict(result.ratio, goal, cut_off=bool(result.policy_limits))}"


def _verdict(ratio: float, goal: float, *, cut_off: bool) -> str:
    """Runs of the policy that were cut off at the limit cost more than was measured: a ratio below the goal shows nothing then."""
    if ratio > goal:
        return "**missed**"
    return "open" if cut_off else "met"


if __name__ == "__main__":
    main()
