"""Instances in turn, from whatever can make a model: the room of instances stands beside this one and is not known here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import index
from typing import Any, Protocol, runtime_checkable

from pyscipopt import SCIP_STAGE, Model

__all__ = ["Instance", "InstancesExhaustedError", "Source", "Turns", "place_among"]


@runtime_checkable
class Source(Protocol):
    """What ``instances.files.resolve_all`` gives: something with a name that can be loaded any number of times."""

    @property
    def name(self) -> str:
        """Name of the instance."""

    def load(self) -> Model:
        """A new model."""


Instance = Source | Callable[[], Model]
"""A source, or a function that makes a new model at every call."""


class InstancesExhaustedError(RuntimeError):
    """An iterator of instances has come to its end."""


class Turns:
    """Gives models of instances in turn, again and again.

    Args:
        instances: sources or functions that make a model. An iterator is taken as it comes, may be endless, may give models
            too, and cannot go back.

    Raises:
        ValueError: there are no instances, or one is neither a source nor a function.
        TypeError: it is no iterable.
    """

    def __init__(self, instances: Iterable[Instance | Model]) -> None:
        self._stream: Iterator[Instance | Model] | None = instances if isinstance(instances, Iterator) else None
        self._instances: Sequence[Instance | Model] = () if self._stream is not None else tuple(instances)
        if self._stream is None and not self._instances:
            raise ValueError("there are no instances")
        for place, instance in enumerate(self._instances):
            _check_kind(instance, place)
        self._next = 0

    def rewind(self) -> None:
        """Go on with the first instance, where that is possible."""
        if self._stream is None:
            self._next = 0

    def choose(self, place: object) -> None:
        """Go on with the instance at this place, 0 being the first.

        Raises:
            ValueError: there is no such place, or the instances come from an iterator.
        """
        if self._stream is not None:
            raise ValueError("an iterator of instances has no places to choose from")
        self._next = place_among(place, len(self._instances), "an instance")

    def next_model(self) -> tuple[Model, str]:
        """A new model of the next instance, and its name.

        Raises:
            InstancesExhaustedError: the iterator has come to its end.
            ValueError: an instance that gives no model, or one whose solve has begun.
            Exception: what loading raised.
        """
        place = self._next
        if self._stream is None:
            self._next = (place + 1) % len(self._instances)
            return _load(self._instances[place], place)
        try:
            instance = next(self._stream)
        except StopIteration:
            raise InstancesExhaustedError(f"the iterator of instances ended after {place}") from None
        self._next = place + 1
        return _load(instance, place)


def place_among(value: object, n: int, what: str) -> int:
    """The value as a place 0 .. n-1.

    Raises:
        ValueError: it is no such place.
    """
    given: Any = value
    try:
        place = index(given)
    except TypeError:
        place = -1
    if not 0 <= place < n:
        raise ValueError(f"{what} is a place 0 .. {n - 1}, not {value!r}")
    return place


def _check_kind(instance: object, place: int) -> None:
    if not (isinstance(instance, (Model, Source)) or callable(instance)):
        raise ValueError(
            f"instance {place} is neither a source nor a function: {instance!r}; revibranch.instances.files.resolve makes sources of files"
        )


def _load(instance: Instance | Model, place: int) -> tuple[Model, str]:
    _check_kind(instance, place)
    if isinstance(instance, Model):
        model, name = instance, instance.getProbName() or f"instance {place}"
    elif isinstance(instance, Source):
        model, name = instance.load(), instance.name
    else:
        model, name = instance(), f"instance {place}"
    if not isinstance(model, Model):
        raise ValueError(f"{name} gave {type(model).__name__}, no PySCIPOpt model")
    if model.getStage() != SCIP_STAGE.PROBLEM:
        raise ValueError(f"{name} gave a model whose solve has begun; each episode needs a new one")
    return model, name
