"""Do several runs of one problem agree? Rules change the tree, never the optimum."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

from .rows import RunRow

__all__ = ["TOLERANCE", "disagreements"]

TOLERANCE = 1e-5
"""Allowed difference, relative to the larger of the values and 1: ten times SCIP's feasibility tolerance."""

_NO_CLAIM = ("error", "unknown", "inforunbd")


def disagreements(rows: Sequence[RunRow], tolerance: float = TOLERANCE) -> list[str]:
    """Return one sentence for each pair of runs that cannot both be right; none if all agree.

    Each run claims that the optimum lies between its primal and its dual bound: a point where it was solved, an interval
    where it hit a limit, an infinite point where the problem is infeasible or unbounded. Two claims that do not meet
    contradict each other.

    Args:
        rows: runs of the same problem, by any policies, seeds and settings.
        tolerance: relative to the larger of the values and 1.
    """
    claims = [(row, claim) for row in rows if (claim := _claim(row)) is not None]
    return [
        f"{first.policy} (seed {first.seed}) says {_verdict(first)}, {second.policy} (seed {second.seed}) says {_verdict(second)}"
        for (first, a), (second, b) in combinations(claims, 2)
        if not _meet(a, b, tolerance)
    ]


def _claim(row: RunRow) -> tuple[float, float] | None:
    if row.status in _NO_CLAIM or row.primal_bound is None or row.dual_bound is None:
        return None
    return min(row.primal_bound, row.dual_bound), max(row.primal_bound, row.dual_bound)


def _meet(a: tuple[float, float], b: tuple[float, float], tolerance: float) -> bool:
    low, high = max(a[0], b[0]), min(a[1], b[1])
    if low <= high:
        return True
    if math.isinf(low) or math.isinf(high):
        return False
    return low - high <= tolerance * max(1.0, abs(low), abs(high))


def _verdict(row: RunRow) -> str:
    if row.status == "optimal":
        return f"optimum {row.objective:.12g}"
    if row.status in ("infeasible", "unbounded"):
        return row.status
    return f"{row.status} with bounds {row.dual_bound:.12g} and {row.primal_bound:.12g}"
