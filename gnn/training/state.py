"""The full state of a training in one file, written atomically: safetensors with JSON in its metadata, no pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from ...branching.files import write_atomically
from .errors import TrainingError

__all__ = ["StateError", "adam_tensors", "load_state", "restore_adam", "save_state"]

_KEY = "revibranch-training"
_FORMAT = 1


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
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {})[_KEY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no mapping
    except FileNotFoundError:
        raise StateError(f"training state {path} does not exist") from None
    except (OSError, ValueError, KeyError, safetensors.SafetensorError) as error:
        raise StateError(f"training state {path} is damaged: {' '.join(str(error).split())}") from error
    if facts.pop("format", None) != _FORMAT:
        raise StateError(f"training state {path} is of another version")
    return tensors, facts


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
            optimiser.state[parameter] = moments
