"""Figures of a report: performance profiles, paired scatter plots, nodes against time. Drawn with matplotlib, no display."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from .rows import RunRow
from .statistics import METRICS, Metric, cost, performance_profile, solved

__all__ = ["COLOURS", "nodes_against_time", "profiles", "render_figure", "require_matplotlib", "scatter"]

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#666666", "#8c564b")
"""Okabe & Ito's palette, which the colour-blind can tell apart, in an order of good contrast on white."""
_DASHES = ("-", "--", "-.", ":")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_INK, _GRID = "#333333", "#dddddd"
_VECTOR_LIMIT = 3000
"""Points above which a scatter plot is drawn as pixels: a page of tens of megabytes helps nobody."""

_STYLE = {
    "font.size": 9,
    "axes.edgecolor": _INK,
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "grid.color": _GRID,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "revibranch",
}


def require_matplotlib() -> Any:
    """The module ``matplotlib``.

    Raises:
        ValueError: it is not installed; the message names the extra.
    """
    try:
        import matplotlib
    except ImportError:
        raise ValueError("figures need matplotlib: pip install 'revibranch[bench]'") from None
    return matplotlib


def _new_figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure  # without pyplot: no global state, no display

    return Figure(figsize=(width, height), layout="constrained")


def _look(index: int) -> tuple[str, str, str]:
    """Colour, dashes and marker: no policy is told from another by colour alone."""
    return COLOURS[index % len(COLOURS)], _DASHES[index % len(_DASHES)], _MARKERS[index % len(_MARKERS)]


def profiles(rows: Sequence[RunRow], policies: Sequence[str]) -> Any:
    """Performance profile in solving time, all policies in one figure; returns a matplotlib Figure."""
    with require_matplotlib().rc_context(_STYLE):
        figure = _new_figure(7.2, 3.8)
        axes = figure.add_subplot()
        curves, pairs = performance_profile(rows)
        ends = [curve.factors[-1] for curve in curves if curve.factors.size]
        right = max(2.0, *(1.1 * end for end in ends)) if ends else 2.0
        for curve in sorted(curves, key=lambda curve: policies.index(curve.policy)):
            colour, dashes, _ = _look(policies.index(curve.policy))
            steps = np.append(curve.factors, right), np.append(curve.shares, curve.shares[-1])
            axes.step(*steps, where="post", color=colour, linestyle=dashes, linewidth=1.6, label=_plain(curve.policy))
        axes.set_xscale("log", base=2 if right <= 64 else 10)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_xlim(1.0, right)
        axes.set_ylim(0.0, 1.02)
        axes.set_xlabel("time, as a factor of the best")
        axes.set_ylabel(f"share of {pairs} pairs solved")
        figure.legend(loc="outside right center")
        return figure


def scatter(rows: Sequence[RunRow], policy: str, baseline: str, index: int) -> Any:
    """One policy against the baseline, a point a pair (log-log), in nodes and in seconds; returns a matplotlib Figure."""
    with require_matplotlib().rc_context(_STYLE):
        figure = _new_figure(7.2, 3.5)
        for axes, metric in zip(figure.subplots(1, 2), (METRICS["nodes"], METRICS["seconds"]), strict=True):
            _scatter(axes, rows, (baseline, policy), metric, _look(index)[0])
        return figure


def _scatter(axes: Any, rows: Sequence[RunRow], policies: tuple[str, str], metric: Metric, colour: str) -> None:
    sides: dict[tuple[str, int], dict[str, RunRow]] = {}
    for row in rows:
        if row.policy in policies and cost(row, metric) is not None:
            sides.setdefault((row.instance, row.seed), {})[row.policy] = row
    pairs = [(side[policies[0]], side[policies[1]]) for side in sides.values() if len(side) == 2]
    # Zero has no logarithm; a node count or a clock of zero is drawn at its smallest step.
    floor = 0.01 if metric.name == "seconds" else 1.0
    points = np.array([[max(cost(row, metric) or 0.0, floor) for row in pair] for pair in pairs]).reshape(-1, 2)
    done = np.array([all(map(solved, pair)) for pair in pairs], dtype=bool)
    raster = len(points) > _VECTOR_LIMIT
    low, high = (points.min() / 1.5, points.max() * 1.5) if len(points) else (floor, 10 * floor)
    axes.plot([low, high], [low, high], color=_INK, linewidth=0.8)
    axes.fill_between([low, high], [low, low], [low, high], color=colour, alpha=0.06, linewidth=0)
    axes.scatter(*points[done].T, s=16, color=colour, alpha=0.6, linewidths=0, rasterized=raster, label="both solved")
    if not done.all():
        axes.scatter(*points[~done].T, s=22, marker="x", color=_INK, linewidths=0.9, rasterized=raster, label="limit hit")
        axes.legend(loc="upper left")
    axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high), aspect="equal", title=metric.label)
    axes.set_xlabel(_short(policies[0]))
    axes.set_ylabel(_short(policies[1]))


def nodes_against_time(rows: Sequence[RunRow], policies: Sequence[str]) -> Any:
    """Nodes and seconds of every run (log-log): how dear a node is; returns a matplotlib Figure."""
    with require_matplotlib().rc_context(_STYLE):
        figure = _new_figure(7.2, 3.8)
        axes = figure.add_subplot()
        for index, policy in enumerate(policies):
            own = [row for row in rows if row.policy == policy and row.nodes is not None and row.solve_seconds is not None]
            points = np.array([[max(row.nodes or 0, 1), max(row.solve_seconds or 0.0, 0.01)] for row in own]).reshape(-1, 2)
            colour, _, marker = _look(index)
            raster = len(rows) > _VECTOR_LIMIT
            axes.scatter(*points.T, s=18, color=colour, marker=marker, alpha=0.55, linewidths=0, rasterized=raster, label=_plain(policy))
        axes.set(xscale="log", yscale="log", xlabel="nodes", ylabel="seconds")
        figure.legend(loc="outside right center")
        return figure


def _short(policy: str, length: int = 40) -> str:
    """The end of a long path says more than its beginning."""
    return _plain(policy if len(policy) <= length else "…" + policy[1 - length :])


def _plain(text: str) -> str:
    """The text as matplotlib shows it: what stands between dollar signs it reads as mathematics, and it hides names that begin with _."""
    plain = text.replace("$", r"\$")
    return f" {plain}" if plain.startswith("_") else plain


def render_figure(figure: Any, format: Literal["svg", "pdf"]) -> bytes:  # noqa: A002 - matplotlib's word
    """The figure as a file's content; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    metadata = {"Date": None} if format == "svg" else {"CreationDate": None}
    with require_matplotlib().rc_context(_STYLE):
        figure.savefig(buffer, format=format, metadata=metadata, dpi=150)
    return buffer.getvalue()
