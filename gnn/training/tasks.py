"""Tasks of a training and where they are done: in this process, on others, or on Ray."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from typing import Generic, Protocol, TypeVar

from ...branching.workers.opening import open_pool
from ...branching.workers.pool import Outcome, Pool, attempt

__all__ = ["PoolTasks", "SerialTasks", "Tasks", "open_tasks", "run_tasks"]

T = TypeVar("T")
S = TypeVar("S")
R = TypeVar("R")
T_in = TypeVar("T_in")
S_in = TypeVar("S_in", contravariant=True)
R_out = TypeVar("R_out")


class Tasks(Protocol[T_in, S_in, R_out]):
    """Somewhere to run a function on tasks that share something, such as a network's weights."""

    def run(self, tasks: Iterable[T_in], shared: S_in) -> Generator[Outcome[T_in, R_out] | None]:
        """Run the function on every task and on what they share; outcomes in the order in which they come.

        Tasks are taken from the iterable when a worker is free. While others work None comes several times a second, for the caller to look
        around. Closing the generator ends the tasks that run.
        """

    def close(self) -> None:
        """Let go of the workers."""


class SerialTasks(Generic[T, S, R]):
    """Tasks in this process, one after the other, without protection."""

    def __init__(self, function: Callable[[T, S], R]) -> None:
        self._function = function

    def run(self, tasks: Iterable[T], shared: S) -> Generator[Outcome[T, R] | None]:
        """See ``Tasks.run``."""
        for task in tasks:
            yield attempt(self._function, task, (shared,))

    def close(self) -> None:
        """Nothing to let go of."""


class PoolTasks(Generic[T, S, R]):
    """Tasks on a pool's workers.

    Args:
        function: importable by name; tasks, what they share, and results can be pickled.
        pool: the workers.
        timeout: wall seconds of one task.
    """

    def __init__(self, function: Callable[[T, S], R], pool: Pool, timeout: float) -> None:
        self._function, self._pool, self._timeout = function, pool, timeout

    def run(self, tasks: Iterable[T], shared: S) -> Generator[Outcome[T, R] | None]:
        """See ``Tasks.run``."""
        return self._pool.run(self._function, tasks, lambda _: self._timeout, (shared,))

    def close(self) -> None:
        """Let go of the workers."""
        self._pool.close()


def open_tasks(function: Callable[[T, S], R], workers: int | str, timeout: float) -> Tasks[T, S, R]:
    """Workers by number or address.

    Args:
        function: importable by name; tasks, what they share, and results can be pickled.
        workers: 0 for this process, without protection; otherwise as for ``open_pool``.
        timeout: wall seconds of one task after which its worker counts as hanging; starting up does not count.

    Raises:
        ModuleNotFoundError: Ray is asked for and not installed.
        ConnectionError: no cluster answers.
    """
    return PoolTasks(function, open_pool(workers, stay=True), timeout) if workers else SerialTasks(function)


def run_tasks(function: Callable[[T], R], tasks: Iterable[T], *, workers: int, timeout: float) -> Generator[Outcome[T, R] | None]:
    """Run a function on every task, which share nothing; see ``open_tasks`` and ``Tasks.run``."""
    if not workers:
        for task in tasks:
            yield attempt(function, task)
        return
    with closing(open_pool(workers, stay=True)) as pool:
        yield from pool.run(function, tasks, lambda _: timeout)
