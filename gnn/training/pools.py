"""Somewhere to run tasks, by number of processes or by address."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from .tasks import Outcome, SerialTasks, Tasks
from .workers import ProcessTasks

__all__ = ["open_tasks", "run_tasks"]

T = TypeVar("T")
S = TypeVar("S")
R = TypeVar("R")


def open_tasks(function: Callable[[T, S], R], workers: int | str, timeout: float) -> Tasks[T, S, R]:
    """Workers by number or address.

    Args:
        function: importable by name; tasks, what they share, and results can be pickled.
        workers: 0 for this process, without protection; a number of processes; ``ray`` for a Ray of this machine, or
            ``ray://HOST:PORT`` for a cluster.
        timeout: wall seconds of one task after which its worker counts as hanging; starting up does not count.

    Raises:
        ModuleNotFoundError: Ray is asked for and not installed.
        ConnectionError: no cluster answers.
    """
    if isinstance(workers, str):
        from .ray_workers import RayTasks

        return RayTasks(function, None if workers == "ray" else workers, timeout)
    return ProcessTasks(function, workers, timeout) if workers else SerialTasks(function)


def run_tasks(function: Callable[[T], R], tasks: Iterable[T], *, workers: int, timeout: float) -> Generator[Outcome[T, R]]:
    """Run a function on every task; see ``open_tasks``. Closing the iterator ends the workers and their tasks."""
    pool: Tasks[T, None, R] = open_tasks(_Alone(function), workers, timeout)
    try:
        yield from pool.run(tasks, None)
    finally:
        pool.close()


@dataclass(frozen=True, slots=True)
class _Alone(Generic[T, R]):
    """A function whose tasks share nothing."""

    function: Callable[[T], R]

    def __call__(self, task: T, shared: None) -> R:  # noqa: ARG002
        return self.function(task)
