"""From rows to a report: what is said, in which order.

``report_tables`` makes its tables. How it looks is the business of ``tables``, ``figures`` and ``page``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from ..branching.files import json_value
from . import figures
from .comparison import compare
from .evaluate import wrong_results
from .report_tables import error_table, paired_table, summary_table
from .rows import RunRow
from .statistics import METRICS, solved, summarize, unbranched
from .tables import Table

__all__ = ["Illustration", "Report", "Section", "as_json", "build_report", "choose_baseline"]

_PREFERRED_BASELINES = ("scip:relpscost", "scip:default")


@dataclass(frozen=True, slots=True)
class Illustration:
    """A figure with what it shows in words."""

    name: str
    """Stem of a file's name."""
    caption: str
    figure: Any
    """A matplotlib Figure."""


@dataclass(frozen=True, slots=True)
class Section:
    """One group of instances under one setting and time limit."""

    title: str
    tables: Sequence[Table]
    illustrations: Sequence[Illustration]


@dataclass(frozen=True, slots=True)
class Report:
    """All that a report says."""

    title: str
    facts: Sequence[tuple[str, str]]
    """Label and value, one line each."""
    warnings: Sequence[str]
    sections: Sequence[Section]
    method: Sequence[str]
    """How the numbers came about."""


def choose_baseline(rows: Sequence[RunRow], asked: str | None) -> str:
    """The policy that the others are compared with.

    Raises:
        ValueError: the one asked for has no rows.
    """
    policies = sorted({row.policy for row in rows})
    if asked is not None:
        if asked not in policies:
            raise ValueError(f"no runs of the baseline {asked!r}; there are {', '.join(policies)}")
        return asked
    return next((name for name in _PREFERRED_BASELINES if name in policies), policies[0])


def build_report(rows: Sequence[RunRow], *, baseline: str | None = None, illustrated: bool = True, trainings: bool = False) -> Report:
    """The report of a file of runs.

    Args:
        rows: all of its rows.
        baseline: policy that the others are compared with; reliability pseudocosts if None and there.
        illustrated: whether to draw figures, which needs matplotlib.
        trainings: whether seeds are those of trainings.

    Raises:
        ValueError: there are no rows, or none of the baseline.
    """
    if not rows:
        raise ValueError("there are no runs to report on")
    chosen = choose_baseline(rows, baseline)
    policies = [chosen, *sorted({row.policy for row in rows} - {chosen})]
    sections: list[Section] = []
    for title, group, illustrate in _groups(rows):
        present = [policy for policy in policies if any(row.policy == policy for row in group)]
        tables = [summary_table(group, present)]
        if chosen not in present:
            tables[0] = replace(tables[0], notes=[*tables[0].notes, f"No runs of the baseline {chosen} here: nothing is compared with it."])
        elif len(present) > 1:
            tables.append(paired_table(group, present, chosen, trainings=trainings))
        drawn = list(_illustrations(group, policies, present, chosen, len(sections))) if illustrated and illustrate else []
        sections.append(Section(title, tables, drawn))
    failed = error_table(rows)
    if failed is not None:
        sections.append(Section("Failed runs", [failed], []))
    return Report("Branching benchmark", _facts(rows, chosen), _warnings(rows), sections, _METHOD)


def _groups(rows: Sequence[RunRow]) -> Iterator[tuple[str, list[RunRow], bool]]:
    """Title, rows and whether to draw: per setting and time limit all instances first, then each family."""
    for settings, limit in sorted({(row.settings, row.time_limit) for row in rows}):
        group = [row for row in rows if (row.settings, row.time_limit) == (settings, limit)]
        families = sorted({row.family or "" for row in group})
        under = f"{settings} settings, {f'limit {limit:g} s' if math.isfinite(limit) else 'no time limit'}"
        overall = "All instances" if len(families) > 1 else _title(families[0])
        yield f"{overall}: {under}", group, True
        if len(families) > 1:
            for family in families:
                yield f"{_title(family)}: {under}", [row for row in group if (row.family or "") == family], False


def _title(family: str) -> str:
    return family[0].upper() + family[1:] if family else "Files"


# --- figures -------------------------------------------------------------------------------------------------------


def _illustrations(
    rows: Sequence[RunRow], policies: Sequence[str], present: Sequence[str], baseline: str, section: int
) -> Iterator[Illustration]:
    measured = [row for row in rows if row.status != "error"]
    if not measured:
        return
    prefix = f"{section + 1:02d}"
    yield Illustration(
        f"{prefix}-profile",
        "Performance profile (Dolan & Moré): share of the pairs that a policy solved within a factor of the fastest policy's time. "
        "Higher is better; the left end is the share on which it was the fastest, the right end the share solved.",
        figures.profiles(rows, present),
    )
    if baseline in present:
        for policy in present:
            if policy != baseline:
                yield Illustration(
                    f"{prefix}-scatter-{policies.index(policy)}",
                    f"{policy} against {baseline}, one point a pair. Below the diagonal {policy} is cheaper.",
                    figures.scatter(rows, policy, baseline, present.index(policy)),
                )
    yield Illustration(
        f"{prefix}-nodes-time", "Nodes against solving time, one point a run.", figures.nodes_against_time(measured, present)
    )


# --- around them ---------------------------------------------------------------------------------------------------


def _facts(rows: Sequence[RunRow], baseline: str) -> list[tuple[str, str]]:
    finished = sum(solved(row) for row in rows)
    errors = sum(row.status == "error" for row in rows)
    runs = f"{len(rows)}: {finished} solved, {len(rows) - finished - errors} ended at a limit, {errors} failed"
    return [
        ("runs", runs),
        ("instances", str(len({row.instance for row in rows}))),
        ("families", ", ".join(sorted({row.family or "files" for row in rows}))),
        ("policies", ", ".join(sorted({row.policy for row in rows}))),
        ("seeds", ", ".join(map(str, sorted({row.seed for row in rows})))),
        ("baseline", baseline),
        ("versions", "; ".join(_versions(rows))),
    ]


def _versions(rows: Sequence[RunRow]) -> list[str]:
    found = {(row.scip_version, row.pyscipopt_version, row.revibranch_version) for row in rows}
    return [f"SCIP {scip}, PySCIPOpt {pyscipopt}, ReviBranch {own}" for scip, pyscipopt, own in sorted(found)]


def _warnings(rows: Sequence[RunRow]) -> list[str]:
    wrong = wrong_results(rows)
    warnings = [
        f"Wrong result on {instance}: {sentences[0]}{f' ({len(sentences) - 1} more)' if len(sentences) > 1 else ''}"
        for instance, sentences in wrong.items()
    ]
    if len(_versions(rows)) > 1:
        warnings.append("These runs were made with different versions of the software.")
    return warnings


_METHOD = (
    f"Shifts of the geometric means: {', '.join(f'{metric.label} {metric.shift:g}' for metric in METRICS.values())}.",
    "Seconds are SCIP's solving time on the CPU clock. Fair nodes (Gamrath & Schubert 2018) charge a branching rule for the domain "
    'reductions and cutoffs that it finds while probing. SCIP counts strong branching\'s LP iterations apart: "all" adds them.',
    "The spread is that of the seeds' shifted geometric means. A pair is an instance with a seed.",
    "A win is a pair solved fastest; policies within 1 % or 0.01 s of the fastest share it. Instances without branching are nobody's win.",
    "Confidence intervals: 10,000 bootstrap resamples of instances (not of runs), percentiles, fixed seed. p: two-sided Wilcoxon "
    "signed-rank test on each instance's mean log ratio, not corrected for the number of comparisons.",
)


def as_json(rows: Sequence[RunRow], *, baseline: str | None = None, trainings: bool = False) -> dict[str, Any]:
    """The report's numbers for machines: by group the summaries, and the comparisons with the baseline (see ``build_report``)."""
    if not rows:
        raise ValueError("there are no runs to report on")
    chosen = choose_baseline(rows, baseline)
    groups = []
    for title, group, _ in _groups(rows):
        policies = sorted({row.policy for row in group})
        others = [policy for policy in policies if policy != chosen]
        pairs = [compare(group, policy, chosen, metric, trainings=trainings) for policy in others for metric in METRICS.values()]
        groups.append(
            {
                "group": title,
                "unbranched": len(unbranched(group)),
                "policies": [json_value(asdict(summary)) for summary in summarize(group)],
                "comparisons": [asdict(pair) for pair in pairs] if chosen in policies else [],
            }
        )
    return {"baseline": chosen, "wrong_results": wrong_results(rows), "groups": groups}
