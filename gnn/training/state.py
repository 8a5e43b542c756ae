"""The full state of a training in one file, written atomically: safetensors with JSON in its metadata, no pickle."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from ...branching.complaints import one_line
from ...branching.files import write_atomically
from .errors import TrainingError

__all__ = [
    "StateError",
    "adam_tensors",
    "load_facts",
    "load_state",
    "require_instances",
    "require_recipe",
    "require_scip",
    "restore_adam",
    "restoring",
    "save_state",
]

_KEY = "revibranch-training"
_FORMAT = 1
_ABSENT = object()
_CONTRADICTIONS = (LookupError, TypeError, ValueError, AttributeError, RuntimeError)
"""What reading a state raises whose file is whole and whose content is not; ``torch.cuda.OutOfMemoryError`` is one by type alone."""
_SHOWN = 40
"""Longest value that a message shows."""


class StateError(TrainingError):
    """A state file that cannot be used; the message is one line."""


def save_state(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write a state; a reader finds the old file or the whole new one, never a part.

    Raises:
        OSError: the file cannot be written; the old one is as it was.
    """
    data = safetensors.torch.save(
        {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()},
        metadata={_KEY: json.dumps({"format": _FORMAT, **facts})},
    )
    write_atomically(path, data)


def load_state(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a state.

    Raises:
        StateError: it is missing, damaged or of another format.
    """
    with _opened(path) as file:
        facts = _facts(path, file)
        return {name: file.get_tensor(name) for name in file.keys()}, facts  # noqa: SIM118  # it is no mapping


def load_facts(path: Path) -> dict[str, Any]:
    """Read all of a state but its tensors.

    Raises:
        StateError: see ``load_state``.
    """
    with _opened(path) as file:
        return _facts(path, file)


def require_recipe(path: Path, found: object, wanted: Mapping[str, Any]) -> None:
    """See that a state is of the recipe that it is to go on with.

    Args:
        path: the state, for the message.
        found: the recipe that it was written for, as JSON.
        wanted: today's recipe.

    Raises:
        StateError: they differ; the message names the first key that does.
    """
    there, here = dict(_keys(found)), dict(_keys(wanted))
    for key in (*here, *there):
        before, now = there.get(key, _ABSENT), here.get(key, _ABSENT)
        if before != now:
            shown = [_shown(value) for value in (before, now)]
            values = "" if None in shown else f": {shown[0]} there, {shown[1]} here"
            raise StateError(
                f"training state {path} belongs to another recipe, {key} differs{values}; "
                "--resume needs the recipe and the --set options that the run began with"
            )


def require_instances(path: Path, found: str | None, wanted: str) -> None:
    """See that a state is of the same instances, whatever their names.

    Args:
        path: the state, for the message.
        found: ``InstanceSettings.content`` when it was written; None in states of before it was written down.
        wanted: today's.

    Raises:
        StateError: they differ.
    """
    if found not in (None, wanted):
        raise StateError(
            f"training state {path} was trained on other instances: files were changed, added or removed since, or a generator was"
        )


def require_scip(path: Path, found: str | None, wanted: str) -> None:
    """See that a state is of the same SCIP, whose trees and columns another one's are not.

    Args:
        path: the state, for the message.
        found: SCIP's version when it was written; None in states of before it was written down.
        wanted: today's.

    Raises:
        StateError: they differ.
    """
    if found not in (None, wanted):
        raise StateError(f"training state {path} was written with SCIP {found}, this is SCIP {wanted}")


def _keys(part: object, prefix: str = "") -> Iterator[tuple[str, object]]:
    """All values of nested sections by their dotted keys."""
    for name, value in part.items() if isinstance(part, Mapping) else ():
        if isinstance(value, Mapping):
            yield from _keys(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _shown(value: object) -> str | None:
    """The value in a message; None where it is too long for one."""
    text = "nothing" if value is _ABSENT else json.dumps(value)
    return text if len(text) <= _SHOWN else None


def _facts(path: Path, file: Any) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((file.metadata() or {})[_KEY])
    if facts.pop("format", None) != _FORMAT:
        raise StateError(f"training state {path} is of another version")
    return facts


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            yield file
    except StateError:
        raise
    except FileNotFoundError:
        raise StateError(f"training state {path} does not exist") from None
    except (OSError, safetensors.SafetensorError, *_CONTRADICTIONS) as error:
        raise StateError(f"training state {path} is damaged: {one_line(error)}") from error


@contextmanager
def restoring(path: Path) -> Iterator[None]:
    """Within this block the content of a state becomes networks and counters; what does not fit is damage.

    Raises:
        StateError: something did not fit.
    """
    try:
        yield
    except (StateError, torch.cuda.OutOfMemoryError):
        raise
    except _CONTRADICTIONS as error:
        raise StateError(f"training state {path} is damaged: {one_line(f'{type(error).__name__}: {error}')}") from error


def adam_tensors(network: nn.Module, optimiser: torch.optim.Adam) -> dict[str, Tensor]:
    """Adam's moments and counters by the names of the parameters; empty before its first step."""
    return {
        f"adam.{field}.{name}": value
        for name, parameter in network.named_parameters()
        for field, value in optimiser.state.get(parameter, {}).items()
    }


def restore_adam(network: nn.Module, optimiser: torch.optim.Adam, tensors: Mapping[str, Tensor]) -> None:
    """Undo ``adam_tensors``."""
    for name, parameter in network.named_parameters():
        moments = {field: tensors.get(f"adam.{field}.{name}") for field in ("step", "exp_avg", "exp_avg_sq")}
        if all(value is not None for value in moments.values()):
            # The counter stays on the CPU, where Adam keeps it.
            optimiser.state[parameter] = {
                field: value if field == "step" or value is None else value.to(parameter.device) for field, value in moments.items()
            }
