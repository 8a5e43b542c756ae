"""Checkpoints: one safetensors file that holds a network's weights and says what they are. No pickle."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any, Literal

import safetensors
import safetensors.torch
import torch
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError
from torch import Tensor

from ..branching.state import row_column_names, variable_column_names
from .facts import NODE_FACTS
from .network import BranchingNetwork, NetworkConfig

__all__ = ["FORMAT", "CheckpointError", "Description", "load_checkpoint", "save_checkpoint"]

FORMAT: Literal[1] = 1
"""Version of the file's layout and of what the numbers mean (feature transforms included); a change of either raises it."""

_KEY = "revibranch"
_NODE_FACTS = tuple(name for name, _ in NODE_FACTS)


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message is one line."""


class Description(BaseModel):
    """Where weights come from: what was trained on what, and how well it did."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    family: str | None
    """Instance family of the training data; None where it was mixed or is not known."""
    recipe: str = ""
    """The training recipe, its whole text."""
    seeds: tuple[int, ...] = ()
    """Seeds of training and data."""
    samples: dict[str, Annotated[int, Field(ge=0)]] = {}
    """Number of samples by purpose, such as ``training`` and ``validation``."""
    scores: dict[str, FiniteFloat] = {}
    """What was measured after training, by name."""
    commit: str | None = None
    """Commit of the code that trained it."""
    scip_version: str | None = None
    """SCIP's version on the training machine."""


class _Header(BaseModel):
    """All that the file says beside the tensors; stored as JSON in its metadata."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    format: Literal[1] = FORMAT
    config: NetworkConfig
    node_facts: tuple[str, ...] = _NODE_FACTS
    description: Description


def save_checkpoint(path: str | os.PathLike[str], network: BranchingNetwork, description: Description) -> None:
    """Write a checkpoint; a reader finds the old file or the whole new one, never a part.

    Raises:
        OSError: the file cannot be written.
    """
    target = Path(path)
    header = _Header(config=network.config, description=description)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    data = safetensors.torch.save(tensors, metadata={_KEY: header.model_dump_json()})
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def load_checkpoint(path: str | os.PathLike[str]) -> tuple[BranchingNetwork, Description]:
    """Read a checkpoint onto the CPU; the network is in evaluation mode. Draws no random numbers.

    Raises:
        CheckpointError: the file cannot be read, is damaged, or does not fit this version.
    """
    target = Path(path)
    metadata, tensors = _read(target)
    header = _header(target, metadata)
    with torch.random.fork_rng(devices=[]):
        network = BranchingNetwork(header.config)
    _compare(target, tensors, network.state_dict())
    network.load_state_dict(tensors)
    return network.eval(), header.description


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    try:
        # Opened by hand first: safetensors' own errors do not tell a missing file from one without permission.
        with path.open("rb"):
            pass
        with safetensors.safe_open(path, framework="pt") as file:
            return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except OSError as error:
        raise CheckpointError(f"cannot read checkpoint {path}: {error.strerror or error}") from error
    except safetensors.SafetensorError as error:
        raise CheckpointError(f"{path} is damaged or no safetensors file: {_one_line(error)}") from error


def _header(path: Path, metadata: dict[str, str]) -> _Header:
    if _KEY not in metadata:
        raise CheckpointError(f"{path} is a safetensors file, but no ReviBranch checkpoint: its metadata lacks {_KEY!r}")
    try:
        raw = json.loads(metadata[_KEY])
    except ValueError as error:
        raise CheckpointError(f"{path}: its description is no JSON: {_one_line(error)}") from error
    version = raw.get("format") if isinstance(raw, dict) else None
    if version != FORMAT:
        raise CheckpointError(f"{path} has checkpoint format {version}; this version of ReviBranch reads format {FORMAT}")
    _compare_names(path, raw)
    try:
        return _Header.model_validate_json(metadata[_KEY])
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, part['loc']))}: {part['msg']}" for part in error.errors())
        raise CheckpointError(f"{path}: its description does not fit this version: {_one_line(problems)}") from error


def _compare_names(path: Path, raw: dict[str, Any]) -> None:
    """Names that this version does not know are the likeliest mismatch, and deserve to be told plainly."""
    config = raw.get("config")
    config = config if isinstance(config, dict) else {}
    for kind, known in (("variable", variable_column_names()), ("row", row_column_names())):
        names = config.get(f"{kind}_columns")
        unknown = [str(name) for name in names if name not in known] if isinstance(names, list) else []
        if unknown:
            raise CheckpointError(f"{path} reads {kind} columns {', '.join(unknown)}; this version of ReviBranch has {', '.join(known)}")
    facts = raw.get("node_facts")
    if isinstance(facts, list) and facts != list(_NODE_FACTS):
        raise CheckpointError(
            f"{path} has node facts {', '.join(map(str, facts))}; this version of ReviBranch has {', '.join(_NODE_FACTS)}"
        )


def _compare(path: Path, found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    problems = [f"lacks {name}" for name in expected if name not in found]
    problems += [f"has unknown {name}" for name in found if name not in expected]
    problems += [
        f"{name} is {_shape(found[name])}, expected {_shape(tensor)}"
        for name, tensor in expected.items()
        if name in found and _shape(found[name]) != _shape(tensor)
    ]
    if problems:
        more = f" and {len(problems) - 4} more" if len(problems) > 4 else ""
        raise CheckpointError(f"{path}: tensors do not fit this version's network: {', '.join(problems[:4])}{more}")


def _shape(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}"


def _one_line(message: object) -> str:
    return " ".join(str(message).split())
