"""Jobs that workers of the tests execute; workers import this module by its name."""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import dataclass

from revibranch.benchmarks.evaluate import Job
from revibranch.benchmarks.rows import RunRow

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


def act(word: str) -> str:
    """Do what the word says; by default say it back."""
    match word:
        case "exit":
            os._exit(3)
        case "exit loudly":
            print("out of licences", file=sys.stderr, flush=True)
            os._exit(4)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "segfault":
            import faulthandler

            faulthandler._sigsegv()  # type: ignore[attr-defined]
        case "raise":
            raise ValueError("no such column")
        case "hang":
            time.sleep(1000)
        case "unpicklable":
            return lambda: None  # type: ignore[return-value]
        case "threads":
            return os.environ["OMP_NUM_THREADS"] + ("late" if "numpy" in sys.modules and "OMP_NUM_THREADS" not in os.environ else "")
        case "mute":
            print("a solver that talks on standard output")
            os.write(1, b"and from C\n")
    return word


def pid(_: object) -> int:
    return os.getpid()


def fake_run(job: Job) -> RunRow:
    """A row, or what the policy's name says."""
    act(job.policy)
    return run_row(job.source.name, job.seed, job.policy, settings=job.settings, time_limit=job.time_limit, nodes=10 + job.seed)


def slow_run(job: Job) -> RunRow:
    time.sleep(0.05)
    return fake_run(job)


def healthy_run(job: Job) -> RunRow:
    return run_row(job.source.name, job.seed, job.policy, settings=job.settings, time_limit=job.time_limit, nodes=77)
