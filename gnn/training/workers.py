"""Tasks on worker processes, each result as it comes. A worker that dies or hangs costs its task and is replaced."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from time import monotonic
from typing import Any, Generic, TypeVar, cast

__all__ = ["Outcome", "run_tasks"]

T = TypeVar("T")
R = TypeVar("R")

_NONE = object()
_STARTUP_SECONDS = 900.0
_READY = "ready"


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T, R]):
    """What became of a task: a result, or an error in one line."""

    task: T
    result: R | None
    error: str | None


def run_tasks(function: Callable[[T], R], tasks: Iterable[T], *, workers: int, timeout: float) -> Generator[Outcome[T, R]]:
    """Run a function on every task.

    Tasks are taken from the iterable when a worker is free. Closing the iterator ends the workers and their tasks.

    Args:
        function: importable by name; tasks and results can be pickled.
        tasks: may be endless.
        workers: processes; 0 runs the tasks in this one, without protection.
        timeout: wall seconds of one task after which its worker counts as hanging; starting up does not count.

    Yields:
        Outcomes, in the order in which they come.
    """
    if workers == 0:
        for task in tasks:
            yield _attempt(function, task)
        return
    queue = iter(tasks)
    team: list[_Worker[T, R]] = []
    try:
        for task in queue:
            team.append(_Worker(function))
            team[-1].give(task, timeout)
            if len(team) == workers:
                break
        while team:
            patience = max(0.0, min(worker.deadline for worker in team) - monotonic())
            ready = wait([worker.connection for worker in team], timeout=min(patience, 1.0))
            for worker in tuple(team):
                outcome = worker.outcome(worker.connection in ready)
                if outcome is None:
                    continue
                yield outcome
                following = next(queue, _NONE)
                if worker.lost or following is _NONE:
                    worker.end()
                    team.remove(worker)
                if following is _NONE:
                    continue
                if worker.lost:
                    worker = _Worker(function)
                    team.append(worker)
                worker.give(cast(T, following), timeout)
    finally:
        for worker in team:
            worker.end()


def _attempt(function: Callable[[T], R], task: T) -> Outcome[T, R]:
    try:
        return Outcome(task, function(task), None)
    except Exception as error:
        return Outcome(task, None, " ".join(f"{type(error).__name__}: {error}".split()))


class _Worker(Generic[T, R]):
    """A process and the task it is at."""

    def __init__(self, function: Callable[[T], R]) -> None:
        # A fork would copy torch's and SCIP's locks in whatever state they are.
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, function), daemon=True)
        self.process.start()
        theirs.close()
        self.deadline = 0.0
        self.lost = False
        self._ready = False
        self._task: T
        self._timeout = 0.0

    def give(self, task: T, timeout: float) -> None:
        self._task, self._timeout = task, timeout
        self.deadline = monotonic() + (timeout if self._ready else _STARTUP_SECONDS)
        with suppress(OSError):  # it died just now: ``outcome`` will find the connection at its end
            self.connection.send(task)

    def outcome(self, ready: bool) -> Outcome[T, R] | None:
        """The outcome of the task, if there is one."""
        if ready:
            try:
                message = self.connection.recv()
            except (EOFError, OSError):
                self.lost = True
                self.process.join(5)
                return Outcome(self._task, None, f"the worker died with exit code {self.process.exitcode}")
            if message == _READY:
                self._ready, self.deadline = True, monotonic() + self._timeout
                return None
            result, error = message
            return Outcome(self._task, result, error)
        if monotonic() > self.deadline:
            self.lost = True
            return Outcome(self._task, None, "the worker hung and was ended")
        return None

    def end(self) -> None:
        self.connection.close()
        self.process.kill()
        self.process.join()


def _serve(connection: Connection[Any, Any], function: Callable[[Any], Any]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides what it means
    with suppress(EOFError, OSError):  # the parent is gone, or waits no longer
        connection.send(_READY)
        while True:
            outcome = _attempt(function, connection.recv())
            connection.send((outcome.result, outcome.error))
