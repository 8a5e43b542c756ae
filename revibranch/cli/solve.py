"""``revibranch solve``: one problem file, a policy, and whatever it is to be compared with."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ..benchmarks.agreement import disagreements
from ..benchmarks.checksums import file_checksum, policy_checksum
from ..benchmarks.policies import split_policy
from ..benchmarks.rows import RunRow
from ..benchmarks.run import SolveProgress, load, run
from ..branching.files import json_value
from ..branching.measures import SETTLED
from ..branching.settings import LARGEST_SEED, SETTINGS
from ..gnn.devices import DEVICES, Device
from ..gnn.plugin import MODES, Mode
from ..instances.native_output import stdout_to_stderr
from ..instances.reading import read_model
from . import EXIT_FAILURE, EXIT_INTERRUPTED, wrong_input
from .options import POLICY_HELP, SETTINGS_HELP, positive_seconds
from .solution import SolutionFile

__all__ = ["solve"]

_TABLE_WIDTH, _TABLE_HEIGHT = 400, 25
_STATUS = {
    "optimal": "optimal",
    "infeasible": "infeasible: no solution exists",
    "unbounded": "unbounded: the objective improves without end",
    "inforunbd": "infeasible or unbounded: SCIP cannot tell which",
    "timelimit": "stopped at the time limit",
    "userinterrupt": "interrupted",
}


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--policy", default="auto", show_default=True, help=POLICY_HELP)
@click.option("--against", multiple=True, metavar="POLICY", help="Also solve with this one; repeatable.")
@click.option(
    "--mode", type=click.Choice(MODES), default="time", show_default=True, help="What policies are to save; no effect on scip:<rule>."
)
@click.option(
    "--guard/--no-guard",
    default=True,
    show_default=True,
    help="Leave nodes to SCIP where a policy falls behind, or in turns where it does not chase the bound; no effect on scip:<rule>.",
)
@click.option("--settings", type=click.Choice(tuple(SETTINGS)), default="default", show_default=True, help=SETTINGS_HELP)
@click.option(
    "--device",
    type=click.Choice(DEVICES),
    default="auto",
    show_default=True,
    help="Where policies run; auto takes a GPU for large problems, if there is one.",
)
@click.option("--seed", type=click.IntRange(0, LARGEST_SEED), default=0, show_default=True, help="Shift of SCIP's random seeds.")
@click.option(
    "--time-limit",
    type=float,
    default=math.inf,
    metavar="SECONDS",
    callback=positive_seconds,
    help="CPU seconds for each solve.  [default: none]",
)
@click.option(
    "--solution",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the best solution of --policy into this file; without one it stays as it is, and the exit code is 1.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def solve(
    context: click.Context,
    file: Path,
    policy: str,
    against: tuple[str, ...],
    mode: Mode,
    guard: bool,
    settings: str,
    device: Device,
    seed: int,
    time_limit: float,
    solution: Path | None,
    as_json: bool,
) -> None:
    """Solve FILE (.mps, .lp or .cip, also gzipped) with a policy as SCIP's branching rule.

    With --mode nodes, strong branching decides among the policy's best candidates: fewer nodes, more LPs. The guard, on unless
    switched off, hands nodes over to SCIP's next rule while the policy gains less than SCIP's pseudocosts promise.

    +guard, +nodes or both behind a policy's name take the place of these two options for that policy: auction+nodes has the
    shortlist of --mode nodes and no guard, auction+guard has the guard and no shortlist.

    With --against, the same file is solved with the same seed and settings by the other rules too, and one table shows
    what each of them needed. If they disagree on the optimum, that is said, and the exit code is 1.
    """
    names = list(dict.fromkeys((policy, *against)))
    rows: list[RunRow] = []
    with wrong_input():  # while standard output still is what it was
        goal = None if solution is None else SolutionFile(solution, file, *(split_policy(name)[0] for name in names))
    with stdout_to_stderr():  # SCIP prints on its own account, on Ctrl-C for one
        with wrong_input():
            read_model(file)  # a damaged file is to be noticed first
            problem, weights = file_checksum(file), [policy_checksum(name) for name in names]
            policies = [load(name, mode=mode, guard=guard, device=device) for name in names]
        for name, loaded, checksum in zip(names, policies, weights, strict=True):
            keep = goal.keep if goal is not None and name == policy else None
            with _progress(f"{file.name}  {name}") as show:
                row = run(file, loaded, settings=settings, seed=seed, time_limit=time_limit, on_progress=show, on_end=keep, label=name)
            rows.append(replace(row, instance_sha256=problem, policy_sha256=checksum))
            if rows[-1].status == "userinterrupt":
                break

    contradictions = disagreements(rows)
    if as_json:
        click.echo(_as_json(file, rows, contradictions))
    else:
        _print_result(file, rows)
    for sentence in contradictions:
        click.echo(f"revibranch: WRONG RESULT: {sentence}", err=True)
    if goal is not None and goal.complaint:
        click.echo(f"revibranch: {goal.complaint}", err=True)
    if rows[-1].status == "userinterrupt":
        context.exit(EXIT_INTERRUPTED)
    if contradictions or (goal is not None and goal.complaint):
        context.exit(EXIT_FAILURE)


@contextmanager
def _progress(title: str) -> Iterator[Callable[[SolveProgress], None] | None]:
    """One line on standard error that tells how the solve goes, on a terminal only."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    # SCIP holds the interpreter while it solves: a refreshing thread would stand still, so each event draws the line.
    with Live(Text(title), console=console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False) as live:

        def show(progress: SolveProgress) -> None:
            gap = f"{100 * progress.gap:.2f} %" if math.isfinite(progress.gap) else "none"
            facts = f"{progress.seconds:.1f} s  {progress.nodes} nodes  {progress.open_nodes} open  best {progress.primal_bound:.8g}"
            text = Text(f"{title}  {facts}  gap {gap}", no_wrap=True, overflow="ellipsis")
            live.update(text, refresh=True)

        yield show


def _print_result(file: Path, rows: Sequence[RunRow]) -> None:
    first = rows[0]
    if len(rows) == 1:
        click.echo(f"{file}: {_outcome(first)}")
        for label, value in (*_facts(first), *_policy_facts(first)):
            click.echo(f"  {label:<16}{value}")
        return
    click.echo(f"{file}, {first.settings} settings, seed {first.seed}")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("rule", no_wrap=True)
    table.add_column("result", no_wrap=True)
    for heading in ("objective", "nodes", "LP iterations", "in strong branching", "seconds", "in policy"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            Text(row.policy),
            row.status,
            _objective(row),
            _count(row.nodes),
            _count(row.lp_iterations),
            _count(row.strong_branching_lp_iterations),
            _seconds(row.solve_seconds),
            _share(row),
        )
    # Wider than most terminals, so that no number is ever cut short, in a file or a pipe either. (Of a dumb terminal rich takes the
    # width only together with a height.)
    Console(highlight=False, width=_TABLE_WIDTH, height=_TABLE_HEIGHT).print(table)
    for row in rows:
        remarks = [_remark(row), *(f"{label}: {value}" for label, value in _policy_facts(row))]
        if remark := "; ".join(filter(None, remarks)):
            click.echo(f"{row.policy}: {remark}")


def _outcome(row: RunRow) -> str:
    text = _STATUS.get(row.status, row.status)
    return f"{text}; {remark}" if (remark := _remark(row)) else text


def _remark(row: RunRow) -> str:
    """What the counts alone do not say."""
    remarks = []
    if row.status in SETTLED:
        if row.nodes == 0:
            remarks.append("solved in presolving, no tree was searched")
        elif row.nodes == 1 and not row.decisions:
            remarks.append("solved at the root, nothing was branched on")
    elif row.objective is None:
        remarks.append("no solution found")
    if row.fallbacks:
        remarks.append(f"the policy failed at {row.fallbacks} nodes, which SCIP's next rule took")
    return "; ".join(remarks)


def _facts(row: RunRow) -> Iterator[tuple[str, str]]:
    yield "rule", row.policy
    yield "objective", _objective(row)
    if row.status not in SETTLED:
        yield "bound", _bound(row.dual_bound)
        yield "gap", f"{100 * row.gap:.2f} %" if row.gap is not None and math.isfinite(row.gap) else "none"
    yield "nodes", _count(row.nodes)
    yield "LP iterations", f"{_count(row.lp_iterations)}, and {_count(row.strong_branching_lp_iterations)} in strong branching"
    yield "seconds", _seconds(row.solve_seconds)
    if row.decisions is not None:
        yield "decisions", _count(row.decisions)
        yield "time in policy", _share(row)


def _report(row: RunRow) -> dict[str, Any]:
    """What the policy says of the solve; nothing for SCIP's own rules."""
    return dict(json.loads(row.report)) if row.report is not None else {}


def _policy_facts(row: RunRow) -> Iterator[tuple[str, str]]:
    """What the policy has to say of itself, where it is worth a line."""
    report = _report(row)
    if "auto_policy" in report:
        yield "chosen policy", f"{report['auto_policy']}: {report['auto_reason']} ({report['auto_facts']})"
    if "device" in report:
        yield "device", str(report["device"])
    if report.get("pseudocosts_overruled"):
        yield "pseudocosts", f"mixed into the scores, they changed the choice {_times(int(report['pseudocosts_overruled']))}"
    if report.get("shortlist_nodes"):
        nodes, overruled = int(report["shortlist_nodes"]), int(report["shortlist_overruled"])
        yield "shortlist", f"strong branching decided at {_count(nodes)} nodes and overruled the policy at {_count(overruled)}"
    if "guard_handovers" in report:
        times, nodes = int(report["guard_handovers"]), int(report["guard_nodes_left"])
        if times:
            why = "the policy fell behind SCIP's pseudocosts" if "guard_gain_to_promise" in report else "the policy's turn was over"
            yield "guard", f"{why} {_times(times)}, {_count(nodes)} nodes left to SCIP's rule"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"


def _objective(row: RunRow) -> str:
    return "-" if row.objective is None else f"{row.objective:.10g}"


def _bound(value: float | None) -> str:
    return "none" if value is None or math.isinf(value) else f"{value:.10g}"


def _count(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _share(row: RunRow) -> str:
    """Share of the run's wall time that went into states and scores; a dash for SCIP's own rules.

    Of the wall time, reading included, since the policy's own seconds are by that clock: on a busy machine they may
    exceed SCIP's CPU seconds.
    """
    if row.extraction_seconds is None or row.inference_seconds is None or not row.wall_seconds:
        return "-"
    return f"{100 * (row.extraction_seconds + row.inference_seconds) / row.wall_seconds:.1f} %"


def _as_json(file: Path, rows: Sequence[RunRow], contradictions: Sequence[str]) -> str:
    runs = [json_value(asdict(row)) | {"report": _report(row)} for row in rows]
    result = {"file": str(file), "agree": not contradictions, "disagreements": list(contradictions), "runs": runs}
    return json.dumps(result, indent=2, allow_nan=False)
