"""Policies on instances: the list of runs, working it off, and whether the answers agree."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from ..branching.workers.pool import Outcome, Pool
from .agreement import disagreements
from .checksums import file_checksum, policy_checksum
from .rows import RunRow
from .store import RunKey, RunStore, StoreError

__all__ = ["EvaluationProgress", "FamilySource", "Job", "evaluate", "evaluated", "list_jobs", "run_job", "wall_limit", "wrong_results"]

WALL_FACTOR = 3.0
WALL_MARGIN = 300.0
"""A run is given up after ``WALL_FACTOR`` x its time limit + ``WALL_MARGIN`` wall seconds: the limit itself is on SCIP's
CPU clock, which stands still while others have the core, and reading and presolving may overrun it."""


class FamilySource(Protocol):
    """An instance that can be loaded; ``instances.files`` resolves texts to such sources. Must be picklable.

    One that is read from a file has the file's ``path`` too: by its checksum an evaluation knows the file again.
    """

    @property
    def name(self) -> str:
        """Name, unique within an evaluation."""

    @property
    def family(self) -> str | None:
        """Family where it is known."""

    def load(self) -> object:
        """A new ``pyscipopt.Model`` of it."""


@dataclass(frozen=True, slots=True)
class Job:
    """One run that is to be done."""

    source: FamilySource
    policy: str
    seed: int
    settings: str
    time_limit: float

    @property
    def key(self) -> RunKey:
        """Key of the row it will give."""
        return RunKey(self.source.name, self.seed, self.policy, self.settings, self.time_limit)


@dataclass(frozen=True, slots=True)
class EvaluationProgress:
    """Where an evaluation stands, in runs."""

    total: int
    done: int
    """Finished ones, those of earlier sessions included."""
    before: int
    """Finished ones of earlier sessions."""
    running: int
    errors: int


def list_jobs(
    sources: Sequence[FamilySource], policies: Sequence[str], seeds: Sequence[int], settings: str, time_limit: float
) -> list[Job]:
    """All combinations in a fixed order: by instance, then seed, then policy.

    Policies are innermost, so that runs which will be compared are measured close together in time.

    Raises:
        ValueError: there is nothing to run, or two instances have the same name.
    """
    named: dict[str, FamilySource] = {}
    for source in sources:
        if named.setdefault(source.name, source) != source:
            raise ValueError(f"two instances are named {source.name!r}; rename one, or evaluate them into different files")
    jobs = [
        Job(source, policy, seed, settings, time_limit)
        for source in named.values()
        for seed in dict.fromkeys(seeds)
        for policy in dict.fromkeys(policies)
    ]
    if not jobs:
        raise ValueError("nothing to run: no instances, no policies or no seeds")
    return jobs


def wall_limit(job: Job) -> float:
    """Wall seconds after which a run is given up; ``inf`` if it has no time limit."""
    return WALL_FACTOR * job.time_limit + WALL_MARGIN


def evaluated(jobs: Sequence[Job], path: Path, pool: Pool) -> list[RunRow]:
    """The rows of all jobs, sorted by key; those that the Parquet file has are not run again, but for failed ones, and the others added.

    Raises:
        StoreError: the file cannot be used, or has runs of other files or weights under the same names.
    """
    with RunStore(path) as store:
        evaluate(jobs, store, pool, retry_errors=True)
        rows = store.rows
        store.finish()
    wanted = {job.key for job in jobs}
    return [row for key, row in rows.items() if key in wanted]


def run_job(job: Job) -> RunRow:
    """Do one run; this is what workers execute."""
    from .run import run  # here, since reports import this module and need no SCIP

    # Before anything is read: of a file that is overwritten meanwhile, a later session will see that it is another one.
    file, weights = _file_of(job.source), policy_checksum(job.policy)
    row = run(
        job.source.load,
        job.policy,
        settings=job.settings,
        seed=job.seed,
        time_limit=job.time_limit,
        threads=1,
        instance=job.source.name,
        family=job.source.family,
    )
    return replace(row, instance_sha256=file, policy_sha256=weights)


def evaluate(
    jobs: Sequence[Job],
    store: RunStore,
    pool: Pool,
    *,
    retry_errors: bool = False,
    runner: Callable[[Job], RunRow] = run_job,
    limit: Callable[[Job], float] = wall_limit,
    on_progress: Callable[[EvaluationProgress], None] | None = None,
) -> EvaluationProgress:
    """Run what the store does not have yet; every row is on the disk before the next one is looked at.

    Args:
        jobs: what is wanted, from ``list_jobs``.
        store: an open store. It is neither finished nor closed here.
        pool: who does the work. ``pool.cancel()`` from a signal handler or ``on_progress`` ends the evaluation early.
        retry_errors: run again what is there with status ``error``.
        runner: what a worker does with a job.
        limit: wall seconds after which a job is given up.
        on_progress: called several times a second.

    Returns:
        The last progress; ``done < total`` if it was ended early.

    Raises:
        StoreError: the store has runs of other files or weights under the same names; nothing was run.
    """
    stored = store.rows
    waiting = [job for job in jobs if job.key not in stored or (retry_errors and stored[job.key].status == "error")]
    before = done = len(jobs) - len(waiting)
    wanted = {job.key for job in waiting}
    _refuse_others(jobs, [row for key, row in stored.items() if key not in wanted], store.path)
    errors = sum(job.key not in wanted and stored[job.key].status == "error" for job in jobs)
    progress = EvaluationProgress(len(jobs), done, before, 0, errors)
    for outcome in pool.run(runner, waiting, limit):
        if outcome is not None:
            row = _row(outcome)
            store.append(row)
            done += 1
            errors += row.status == "error"
        progress = EvaluationProgress(len(jobs), done, before, pool.running, errors)
        if on_progress is not None:
            on_progress(progress)
    return EvaluationProgress(len(jobs), done, before, 0, errors)


def _row(outcome: Outcome[Job, RunRow]) -> RunRow:
    if outcome.result is not None:
        return outcome.result
    from .run import error_row

    job = outcome.task
    row = error_row(
        outcome.error or "no cause given",
        instance=job.source.name,
        family=job.source.family,
        policy=job.policy,
        settings=job.settings,
        seed=job.seed,
        time_limit=job.time_limit,
    )
    return replace(row, instance_sha256=_file_of(job.source), policy_sha256=policy_checksum(job.policy))


def _file_of(source: FamilySource) -> str | None:
    """Checksum of the instance's file, as it is now; None for one that is generated."""
    return file_checksum(getattr(source, "path", None))


def _refuse_others(jobs: Sequence[Job], kept: Sequence[RunRow], path: Path) -> None:
    """See that runs that are kept and runs to come mean the same by the same names; what is not known is believed.

    Raises:
        StoreError: an instance's file is another than that of a kept run, or a policy's weights are.
    """
    # Files are read only for what there is to compare with.
    sources = {job.source.name: job.source for job in jobs}
    instances = {row.instance for row in kept if row.instance_sha256 is not None} & sources.keys()
    policies = {row.policy for row in kept if row.policy_sha256 is not None} & {job.policy for job in jobs}
    files = {name: _file_of(sources[name]) for name in instances}
    weights = {name: policy_checksum(name) for name in policies}
    for row in kept:
        if _differ(row.instance_sha256, files.get(row.instance)):
            raise StoreError(f"{path} has runs on another file by the name of {row.instance}: choose another --out")
        if _differ(row.policy_sha256, weights.get(row.policy)):
            raise StoreError(f"{path} has runs of {row.policy} with another file of weights than it has now: choose another --out")


def _differ(before: str | None, now: str | None) -> bool:
    return before is not None and now is not None and before != now


def wrong_results(rows: Iterable[RunRow]) -> dict[str, list[str]]:
    """Contradictions between runs of the same instance, whatever their seeds, policies and settings.

    Returns:
        By instance, the sentences of ``agreement.disagreements``; instances whose runs agree are left out.
    """
    by_instance: dict[str, list[RunRow]] = {}
    for row in rows:
        by_instance.setdefault(row.instance, []).append(row)
    return {instance: sentences for instance, runs in by_instance.items() if (sentences := disagreements(runs))}
