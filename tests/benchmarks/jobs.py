"""Jobs that workers of the tests execute; workers import this module by its name."""

from __future__ import annotations

import time
from dataclasses import dataclass

from revibranch.benchmarks.evaluate import Job
from revibranch.benchmarks.rows import RunRow

from ..branching.workers.work import act
from .rows import run_row


@dataclass(frozen=True)
class FakeSource:
    name: str
    family: str | None = "fake"

    def load(self) -> object:
        raise NotImplementedError


@dataclass(frozen=True)
class FakeFile(FakeSource):
    path: str | None = None


def fake_run(job: Job) -> RunRow:
    """A row, or what the policy's name says."""
    act(job.policy)
    return run_row(job.source.name, job.seed, job.policy, settings=job.settings, time_limit=job.time_limit, nodes=10 + job.seed)


def slow_run(job: Job) -> RunRow:
    time.sleep(0.05)
    return fake_run(job)


def healthy_run(job: Job) -> RunRow:
    return run_row(job.source.name, job.seed, job.policy, settings=job.settings, time_limit=job.time_limit, nodes=77)
