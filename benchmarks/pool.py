"""Worker processes that may die: a pool that knows which job a lost worker had.

``concurrent.futures`` breaks the whole pool when one worker is killed and cannot say whose job it was. Here every job has a
process and a pipe of its own.

A process does one job and ends. SCIP's symmetry detection depends on the layout of the memory: repeated within one
process, the same solve of the Steiner triple problem stein27 takes now 85 nodes, now 111 (SCIP 10.0.2, plain PySCIPOpt,
without symmetry handling always the same). A new process, whose memory has no history, makes that rare, though not
impossible, and its peak memory is that of the one run. It costs the import of SCIP, some 0.3 s, and of torch, some 3 s.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from ..branching.complaints import one_line
from ..branching.processes import deaf_to, one_thread

__all__ = ["CAUSE_LENGTH", "Outcome", "Pool", "ProcessPool"]

J = TypeVar("J")
R = TypeVar("R")

CAUSE_LENGTH = 1000
"""Characters of a cause that are kept."""


@dataclass(frozen=True, slots=True)
class Outcome(Generic[J, R]):
    """What became of a job: its result, or the cause for which there is none."""

    job: J
    result: R | None
    cause: str | None


class Pool(Protocol):
    """What an evaluation asks of its workers, wherever they run."""

    @property
    def running(self) -> int:
        """Jobs being worked on at this moment."""

    def run(self, function: Callable[[J], R], jobs: Sequence[J], limit: Callable[[J], float]) -> Iterator[Outcome[J, R] | None]:
        """Work off the jobs, in order of their start.

        Args:
            function: module-level function, pickled by name.
            jobs: picklable arguments, one a call.
            limit: wall seconds after which a job is given up; ``inf`` for none.

        Yields:
            An outcome as each job ends, in any order, and None several times a second for the caller to look around.
        """

    def cancel(self) -> None:
        """Start nothing more and give up what runs; ``run`` then hands out what had finished and ends."""

    def close(self) -> None:
        """Let go of the workers."""


class ProcessPool:
    """Processes of this machine, started afresh (spawn) with one thread each.

    Args:
        workers: how many.
    """

    def __init__(self, workers: int) -> None:
        if workers < 1:
            raise ValueError(f"a pool needs at least one worker, not {workers}")
        self._count = workers
        self._workers: list[_Worker] = []
        self._cancelled = False

    @property
    def running(self) -> int:
        """Jobs being worked on at this moment."""
        return len(self._workers)

    def cancel(self) -> None:
        """Start nothing more and give up what runs."""
        self._cancelled = True

    def close(self) -> None:
        """Nothing to let go of: a worker ends with its job."""

    def run(self, function: Callable[[J], R], jobs: Sequence[J], limit: Callable[[J], float]) -> Iterator[Outcome[J, R] | None]:
        """See ``Pool.run``."""
        waiting = deque(jobs)
        with tempfile.TemporaryDirectory(prefix="revibranch-") as folder:
            try:
                while waiting or self.running:
                    if not self._cancelled:
                        self._hand_out(function, waiting, limit, Path(folder))
                    yield from self._collect(0.0 if self._cancelled else 0.2)
                    if self._cancelled:
                        return
                    yield None
            finally:
                for worker in self._workers:
                    worker.stop()
                self._workers = []
                self._cancelled = False

    def _hand_out(self, function: Callable[[J], R], waiting: deque[J], limit: Callable[[J], float], folder: Path) -> None:
        while waiting and len(self._workers) < self._count:
            job = waiting.popleft()
            self._workers.append(_Worker(folder, function, job, limit(job)))

    def _collect(self, timeout: float) -> Iterator[Outcome[Any, Any]]:
        handles = {handle for worker in self._workers for handle in (worker.pipe, worker.process.sentinel)}
        ready = set(connection.wait(handles, timeout))
        for worker in list(self._workers):
            if worker.pipe in ready or worker.process.sentinel in ready:
                outcome = worker.take()
            elif time.monotonic() > worker.deadline:
                outcome = Outcome(worker.job, None, f"gave no answer within {worker.patience:g} s of wall time and was killed")
            else:
                continue
            worker.stop()
            self._workers.remove(worker)
            yield outcome


class _Worker:
    """One process and its job, seen from the outside."""

    def __init__(self, folder: Path, function: Callable[[Any], Any], job: object, patience: float) -> None:
        descriptor, name = tempfile.mkstemp(dir=folder, suffix=".log")
        os.close(descriptor)
        self._log = Path(name)
        self.job = job
        self.patience = patience
        self.deadline = time.monotonic() + patience
        message = pickle.dumps((function, job))
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(target=_serve, args=(theirs, name), daemon=True)
        with one_thread(), deaf_to(signal.SIGINT, signal.SIGTERM):
            self.process.start()
        theirs.close()  # or the pipe would not end when the process does
        with contextlib.suppress(OSError):  # a worker that is dead already is noticed by ``take``
            self.pipe.send_bytes(message)

    def take(self) -> Outcome[Any, Any]:
        """Outcome of the job; called when the pipe or the process has something to say."""
        try:
            if self.pipe.poll():
                result, cause = self.pipe.recv()
                return Outcome(self.job, result, cause)
        except (EOFError, OSError):
            pass
        self.process.join(5.0)
        return Outcome(self.job, None, self._cause_of_death())

    def _cause_of_death(self) -> str:
        code = self.process.exitcode
        killed = code is not None and code < 0
        cause = f"worker killed by {signal.Signals(-(code or 0)).name}" if killed else f"worker ended with exit code {code}"
        words = self._log.read_text(errors="replace").strip()
        crash = words.find("Fatal Python error")
        words = words[crash:][:CAUSE_LENGTH] if crash >= 0 else words[-CAUSE_LENGTH:]
        lines = [line.strip() for line in words.splitlines() if line.strip()]
        return f"{cause}; last output: {' | '.join(lines)}" if lines else cause

    def stop(self) -> None:
        """End the process, whatever it does."""
        self.process.kill()
        self.process.join()
        self.pipe.close()
        self._log.unlink(missing_ok=True)


def _serve(pipe: Connection, log: str) -> None:
    """Life of a worker: a job comes in, its result or the cause of its failure goes out."""
    parent = multiprocessing.parent_process()
    _die_with_parent(None if parent is None else parent.pid)
    sys.stdout.flush()
    sys.stderr.flush()
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND)
    for stream in (1, 2):  # what a solver prints is for the cause of a crash, not for the terminal
        os.dup2(descriptor, stream)
    faulthandler.enable(descriptor)
    answer: tuple[Any, str | None]
    try:
        function, job = pickle.loads(pipe.recv_bytes())
        answer = (function(job), None)
        pickle.dumps(answer)
    except EOFError:
        return
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        answer = (None, one_line(f"{type(error).__name__}: {error} ({Path(frame.filename).name}:{frame.lineno})")[:CAUSE_LENGTH])
    with contextlib.suppress(OSError):
        pipe.send(answer)


def _die_with_parent(parent: int | None) -> None:
    """Have the kernel kill this process when its parent is killed: a solve may run for hours without looking up."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
        if parent is not None and os.getppid() != parent:
            os._exit(1)
