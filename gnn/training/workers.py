"""Tasks on worker processes, each result as it comes. A worker that dies or hangs costs its task and is replaced.

What all tasks of a while share, such as a network's weights, is sent to each worker once and not with every task.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.util import Finalize
from time import monotonic
from typing import Any, Generic, TypeVar, cast

from ...branching.processes import deaf_to, one_thread
from .tasks import Outcome, attempt

__all__ = ["ProcessTasks"]

T = TypeVar("T")
S = TypeVar("S")
R = TypeVar("R")

_NONE = object()
_STARTUP_SECONDS = 900.0
_READY, _SHARE, _TASK = "ready", "share", "task"


class ProcessTasks(Generic[T, S, R]):
    """Processes of this machine that stay for many tasks.

    Args:
        function: importable by name.
        workers: how many processes, at least one; each starts with its first task.
        timeout: wall seconds of one task.
    """

    def __init__(self, function: Callable[[T, S], R], workers: int, timeout: float) -> None:
        self._function, self._count, self._timeout = function, workers, timeout
        self._idle: list[_Worker[T, S, R]] = []

    def run(self, tasks: Iterable[T], shared: S) -> Generator[Outcome[T, R]]:
        """See ``Tasks.run``."""
        queue = iter(tasks)
        team: list[_Worker[T, S, R]] = []
        try:
            while len(team) < self._count and (task := next(queue, _NONE)) is not _NONE:
                team.append(self._idle.pop() if self._idle else _Worker(self._function))
                team[-1].give(cast(T, task), shared, self._timeout)
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
                        team.remove(worker)
                        self._part_with(worker)
                    if following is _NONE:
                        continue
                    if worker.lost:
                        worker = _Worker(self._function)
                        team.append(worker)
                    worker.give(cast(T, following), shared, self._timeout)
        finally:
            for worker in team:
                worker.end()

    def close(self) -> None:
        """End the processes."""
        for worker in self._idle:
            worker.end()
        self._idle = []

    def _part_with(self, worker: _Worker[T, S, R]) -> None:
        if worker.lost:
            worker.end()
        else:
            self._idle.append(worker)


class _Worker(Generic[T, S, R]):
    """A process and the task it is at."""

    def __init__(self, function: Callable[[T, S], R]) -> None:
        # A fork would copy torch's and SCIP's locks in whatever state they are.
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, function), daemon=True)
        with one_thread(), deaf_to(signal.SIGINT, signal.SIGTERM):
            self.process.start()
        theirs.close()
        # A program that ends waits for its processes after a SIGTERM, to which these are deaf.
        Finalize(self, self.process.kill, exitpriority=0)
        self.deadline = 0.0
        self.lost = False
        self._ready = False
        self._task: T
        self._shared: object = _NONE
        self._timeout = 0.0

    def give(self, task: T, shared: S, timeout: float) -> None:
        self._task, self._timeout = task, timeout
        self.deadline = monotonic() + (timeout if self._ready else _STARTUP_SECONDS)
        with suppress(OSError):  # it died just now: ``outcome`` will find the connection at its end
            if self._shared is not shared:
                self.connection.send((_SHARE, shared))
                self._shared = shared
            self.connection.send((_TASK, task))

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


def _end_with_parent() -> None:
    """Nobody waits for the task of a process whose parent is gone."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _serve(connection: Connection[Any, Any], function: Callable[[Any, Any], Any]) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    shared: object = None
    with suppress(EOFError, OSError):  # the parent is gone, or waits no longer
        connection.send(_READY)
        while True:
            kind, content = connection.recv()
            if kind == _SHARE:
                shared = content
                continue
            outcome = attempt(function, content, shared)
            connection.send((outcome.result, outcome.error))
