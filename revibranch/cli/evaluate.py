"""``revibranch evaluate``: policies and SCIP's rules on instances and seeds, a row a run."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType

import click
from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as ProgressBar

from ..benchmarks.evaluate import EvaluationProgress, list_jobs, wrong_results
from ..benchmarks.evaluate import evaluate as run_evaluation
from ..benchmarks.run import load
from ..benchmarks.statistics import failed_nodes
from ..benchmarks.store import RunStore, StoreError
from ..branching.settings import LARGEST_SEED, SETTINGS
from ..branching.workers.opening import open_pool
from ..branching.workers.pool import Pool
from ..instances.files import parse_seeds, resolve_all
from . import EXIT_FAILURE, EXIT_INTERRUPTED, wrong_input
from .options import POLICY_HELP, SETTINGS_HELP, positive_seconds, workers_option

__all__ = ["evaluate"]


def _seeds(_context: click.Context, parameter: click.Parameter, value: str) -> list[int]:
    try:
        seeds = parse_seeds(value)
    except ValueError as error:
        raise click.BadParameter(str(error), param=parameter) from None
    if max(seeds) > LARGEST_SEED:
        raise click.BadParameter(f"seeds end at {LARGEST_SEED}, not {max(seeds)}", param=parameter)
    return seeds


@click.command()
@click.option(
    "--instances",
    "specs",
    multiple=True,
    required=True,
    metavar="SPEC",
    help="Folder, file, glob, manifest or family:size:seeds[:name=value,...]; repeatable.",
)
@click.option(
    "--policy",
    "policies",
    multiple=True,
    required=True,
    help=f"{POLICY_HELP} Repeatable.",
)
@click.option("--seeds", default="0", show_default=True, callback=_seeds, help="Shifts of SCIP's random seeds, such as 0-4.")
@click.option("--settings", type=click.Choice(tuple(SETTINGS)), default="clean", show_default=True, help=SETTINGS_HELP)
@click.option(
    "--time-limit", type=float, default=3600.0, show_default=True, metavar="SECONDS", callback=positive_seconds, help="CPU seconds a run."
)
@workers_option("Processes of one thread each, a Ray of this machine, or a Ray cluster.", least=1)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="Parquet file; what it has is not run again.")
@click.option("--retry-errors", is_flag=True, help="Run again what failed in an earlier session.")
@click.option("--json", "as_json", is_flag=True, help="Print a summary as one JSON object.")
@click.pass_context
def evaluate(
    context: click.Context,
    specs: tuple[str, ...],
    policies: tuple[str, ...],
    seeds: list[int],
    settings: str,
    time_limit: float,
    workers: int | str,
    out: Path,
    retry_errors: bool,
    as_json: bool,
) -> None:
    """Run policies and SCIP's rules on instances x seeds; one row a run goes to the Parquet file --out.

    Every finished run is on the disk at once: after Ctrl-C or a crash the same command goes on where it stopped. A run that
    fails is a row with status `error` and its cause. The exit code is 1 if runs failed, or if runs of one instance
    contradict each other.

    Rows know the checksums of the instance's file and of the policy's file. If --out has runs of other files under the
    same names, nothing is run.
    """
    with wrong_input():
        for policy in policies:
            load(policy)  # a misspelt rule or a broken checkpoint is to be noticed now, not in every run
        jobs = list_jobs(resolve_all(specs), policies, seeds, settings, time_limit)
        store = RunStore(out)
    with store, closing(_pool(workers)) as pool:
        with _ended_by_signals(pool) as received, _shown(len(jobs)) as show, wrong_input(StoreError):
            progress = run_evaluation(jobs, store, pool, retry_errors=retry_errors, on_progress=show)
        rows = store.rows
        store.finish()
    wrong = wrong_results(rows.values())
    if as_json:
        click.echo(json.dumps(_summary(out, progress, wrong), indent=2))
    else:
        click.echo(f"{out}: {progress.done} of {progress.total} runs done, {progress.done - progress.before} of them now", err=True)
    for instance, sentences in wrong.items():
        for sentence in sentences[:3]:
            click.echo(f"revibranch: WRONG RESULT: {instance}: {sentence}", err=True)
        if len(sentences) > 3:
            click.echo(f"revibranch: WRONG RESULT: {instance}: {len(sentences) - 3} more contradictions", err=True)
    for name in policies:
        own = [rows[job.key] for job in jobs if job.policy == name and job.key in rows]
        if failures := failed_nodes(own):
            click.echo(f"revibranch: warning: {name} failed at {failures} nodes, where SCIP's own rule branched in its place", err=True)
    if progress.errors:
        first = next(rows[job.key] for job in jobs if job.key in rows and rows[job.key].status == "error")
        cause = f"{first.instance}, seed {first.seed}, {first.policy}: {first.error}"
        runs = f"{progress.errors} of {progress.total} runs failed (--retry-errors runs them again)"
        click.echo(f"revibranch: {runs}; the first: {cause}", err=True)
    if received:
        context.exit(EXIT_INTERRUPTED if received[0] == signal.SIGINT else 128 + received[0])
    if wrong or progress.errors:
        context.exit(EXIT_FAILURE)


def _pool(workers: int | str) -> Pool:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if isinstance(workers, int) and workers > cores:
        click.echo(f"revibranch: warning: {workers} workers on {cores} cores: times will mean nothing, node counts still do", err=True)
    try:
        return open_pool(workers)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise click.UsageError(f"no Ray cluster at {workers}: {' '.join(str(error).split())[:200]}") from error


def _summary(out: Path, progress: EvaluationProgress, wrong: dict[str, list[str]]) -> dict[str, object]:
    return {
        "out": str(out),
        "total": progress.total,
        "done": progress.done,
        "done_before": progress.before,
        "errors": progress.errors,
        "wrong_results": wrong,
    }


@contextmanager
def _ended_by_signals(pool: Pool) -> Iterator[list[int]]:
    """SIGINT and SIGTERM end the evaluation in order; a second one ends it at once (finished rows are kept all the same)."""
    received: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)
        pool.cancel()

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _shown(total: int) -> Iterator[Callable[[EvaluationProgress], None] | None]:
    """A bar on standard error, on a terminal only."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    columns = (BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with ProgressBar(*columns, console=console) as bar:
        task: TaskID = bar.add_task("starting", total=total)
        began = time.monotonic()

        def show(progress: EvaluationProgress) -> None:
            errors = f", [red]{progress.errors} failed[/red]" if progress.errors else ""
            text = f"{progress.done}/{progress.total} done, {progress.running} running{errors}{_end(progress, time.monotonic() - began)}"
            bar.update(task, completed=progress.done, description=text)

        yield show


def _end(progress: EvaluationProgress, elapsed: float) -> str:
    """When it will end if the rest takes as long as what was done in this session."""
    fresh = progress.done - progress.before
    if not fresh or progress.done == progress.total:
        return ""
    end = time.time() + elapsed / fresh * (progress.total - progress.done)
    days = int((end - time.time()) // 86400)
    return f", ends about {time.strftime('%H:%M', time.localtime(end))}{f' in {days} days' if days else ''}"
