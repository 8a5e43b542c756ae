"""Tasks that share something, such as a network's weights, and where they run; here in this process, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from ...branching.complaints import one_line

__all__ = ["Outcome", "SerialTasks", "Tasks", "attempt", "described"]

T = TypeVar("T")
S = TypeVar("S")
R = TypeVar("R")
T_in = TypeVar("T_in")
S_in = TypeVar("S_in", contravariant=True)
R_out = TypeVar("R_out")


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T, R]):
    """What became of a task: a result, or an error in one line."""

    task: T
    result: R | None
    error: str | None


class Tasks(Protocol[T_in, S_in, R_out]):
    """Somewhere to run a function on tasks: this process, others, or a cluster."""

    def run(self, tasks: Iterable[T_in], shared: S_in) -> Iterator[Outcome[T_in, R_out]]:
        """Run the function on every task and on what they share; outcomes in the order in which they come.

        Tasks are taken from the iterable when a worker is free. Closing the iterator ends the tasks that run.
        """

    def close(self) -> None:
        """Let go of the workers."""


class SerialTasks(Generic[T, S, R]):
    """Tasks in this process, one after the other."""

    def __init__(self, function: Callable[[T, S], R]) -> None:
        self._function = function

    def run(self, tasks: Iterable[T], shared: S) -> Iterator[Outcome[T, R]]:
        """See ``Tasks.run``."""
        for task in tasks:
            yield attempt(self._function, task, shared)

    def close(self) -> None:
        """Nothing to let go of."""


def attempt(function: Callable[[T, S], R], task: T, shared: S) -> Outcome[T, R]:
    """Run a function on a task; an exception is an outcome too."""
    try:
        return Outcome(task, function(task, shared), None)
    except Exception as error:
        return Outcome(task, None, described(error))


def described(error: BaseException) -> str:
    """An exception's type and message, in one line."""
    return one_line(f"{type(error).__name__}: {error}")
