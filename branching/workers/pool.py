"""What a pool of workers promises: every task has an outcome, whatever becomes of its worker."""

from __future__ import annotations

import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from ..complaints import one_line

__all__ = ["ERROR_LENGTH", "Outcome", "Pool", "attempt", "described", "gave_no_answer"]

T = TypeVar("T")
R = TypeVar("R")

ERROR_LENGTH = 1000
"""Characters of an error that are kept."""
_TICK = 0.2
"""Seconds after which a caller may look around, at the latest."""


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T, R]):
    """What became of a task: its result, or in one line the error for which there is none."""

    task: T
    result: R | None
    error: str | None


class Pool(ABC):
    """Workers, wherever they are. What a kind of them must know is how to hand out a task and how to collect outcomes."""

    def __init__(self) -> None:
        self._cancelled = False

    @property
    @abstractmethod
    def running(self) -> int:
        """Tasks being worked on at this moment."""

    def run(
        self, function: Callable[..., R], tasks: Iterable[T], patience: Callable[[T], float], shared: tuple[Any, ...] = ()
    ) -> Generator[Outcome[T, R] | None]:
        """Work off the tasks, in order of their start. Closing the generator ends what runs.

        Args:
            function: module-level function of a task and of what the tasks share, pickled by name. Its module is imported before a task's
                time begins.
            tasks: the next one is taken when a worker is free. One that cannot be pickled has an error for its outcome.
            patience: wall seconds after which a task is given up; ``inf`` for none.
            shared: further arguments, the same for all tasks, such as a network's weights; a worker gets them once.

        Yields:
            An outcome as each task ends, in any order, and None several times a second for the caller to look around.
        """
        capacity = self._capacity()
        queue = iter(tasks)
        try:
            while True:
                while not self._cancelled and self.running < capacity:
                    try:
                        task = next(queue)
                    except StopIteration:
                        break
                    error = self._hand_out(function, shared, task, patience(task))
                    if error is not None:
                        yield Outcome(task, None, error)
                if not self.running:
                    return
                # All that there are, before the first is told: whoever gets them may take his time, which is not the workers'.
                yield from self._collect(0.0 if self._cancelled else _TICK)
                if self._cancelled:
                    return
                yield None
        finally:
            self._give_up()
            self._cancelled = False

    def cancel(self) -> None:
        """Have the run that goes on, or the next one if none does, start nothing more: it hands out what has finished and ends."""
        self._cancelled = True

    def close(self) -> None:
        """End what runs and let go of the workers."""
        self._give_up()

    @abstractmethod
    def _capacity(self) -> int:
        """Most tasks at a time."""

    @abstractmethod
    def _hand_out(self, function: Callable[..., Any], shared: tuple[Any, ...], task: Any, patience: float) -> str | None:
        """Have a worker begin with a task; the error of one that cannot be pickled."""

    @abstractmethod
    def _collect(self, timeout: float) -> list[Outcome[Any, Any]]:
        """What has ended or is late, waited for so many seconds if nothing has."""

    @abstractmethod
    def _give_up(self) -> None:
        """End what runs."""


def attempt(function: Callable[..., R], task: T, shared: tuple[Any, ...] = ()) -> Outcome[T, R]:
    """Run a function on a task in this process; an exception is an outcome too."""
    try:
        return Outcome(task, function(task, *shared), None)
    except Exception as error:
        return Outcome(task, None, described(error))


def described(error: BaseException) -> str:
    """An exception's type and message, and where it was raised if that is known, in one line."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return one_line(f"{type(error).__name__}: {error}")[: ERROR_LENGTH - len(place)] + place


def gave_no_answer(patience: float) -> str:
    """The error of a task that was given up."""
    return f"gave no answer within {patience:g} s of wall time and was killed"
