"""What a checkpoint says of its weights, and its weights as arrays; read without torch."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import safetensors
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from ..branching.complaints import one_line
from ..branching.state import row_column_names, variable_column_names
from .columns import MISSING_COLUMNS
from .config import NetworkConfig
from .facts import NODE_FACTS
from .history import CHILDREN

__all__ = ["FORMAT", "METADATA_KEY", "CheckpointError", "Description", "Header", "read_checkpoint", "read_header", "tensor_shapes"]

FORMAT: Literal[1] = 1
"""Version of the file's layout and of what the numbers mean (feature transforms included); a change of either raises it."""

METADATA_KEY = "revibranch"
"""Where a file's metadata holds the header."""

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
    """Commit of the code that trained it; of a training that other code went on with all of them, in their order, with commas between."""
    scip_version: str | None = None
    """SCIP's version on the training machine."""
    raises_bound: bool = True
    """``Policy.raises_bound``, by what the policy was trained to do."""
    mixes_pseudocosts: bool = False
    """``Policy.mixes_pseudocosts``, as the recipe says, or as it was decided after the training."""


class Header(BaseModel):
    """All that the file says beside the tensors; stored as JSON in its metadata."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    format: Literal[1] = FORMAT
    config: NetworkConfig
    node_facts: tuple[str, ...] = _NODE_FACTS
    description: Description


def tensor_shapes(config: NetworkConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of a checkpoint, all of them float32; exactly the network's ``state_dict``.

    ``state_dict`` itself needs torch; a test holds the two together.
    """
    width = config.width
    shapes: dict[str, tuple[int, ...]] = {}

    def linear(name: str, inputs: int, outputs: int = width, bias: bool = True) -> None:
        shapes[f"{name}.weight"] = (outputs, inputs)
        if bias:
            shapes[f"{name}.bias"] = (outputs,)

    def perceptron(name: str, inputs: int, outputs: int = width) -> None:
        linear(f"{name}.0", inputs)
        linear(f"{name}.2", width, outputs)

    for kind, columns in (("variables", config.variable_columns), ("rows", config.row_columns)):
        shapes[f"encoder.normalise_{kind}.mean"] = shapes[f"encoder.normalise_{kind}.inverse_scale"] = (len(columns),)
        perceptron(f"encoder.embed_{kind}", len(columns) + len(MISSING_COLUMNS.intersection(columns)))
    for half in ("encoder.to_rows", "encoder.to_variables"):
        for scalar in ("edge_mean", "edge_scale", "sum_scale"):
            shapes[f"{half}.{scalar}"] = ()
        for vector in ("edge", "norm.weight", "norm.bias"):
            shapes[f"{half}.{vector}"] = (width,)
        linear(f"{half}.source", width, bias=False)
        linear(f"{half}.target", width)
        linear(f"{half}.message_output", width)
        perceptron(f"{half}.update_output", 2 * width)
    perceptron("revival.mlp", 2 * width + len(NODE_FACTS) + CHILDREN)
    shapes["decoder.null"] = (width,)
    for layer in ("query", "key", "value", "answer"):
        linear(f"decoder.{layer}", width)
    perceptron("decoder.score", 2 * width, config.classes or 1)
    return shapes


def read_checkpoint(path: str | os.PathLike[str]) -> tuple[Header, dict[str, NDArray[np.float32]]]:
    """A checkpoint's header and its tensors, by their names in the network's ``state_dict``.

    Raises:
        CheckpointError: the file cannot be read, is damaged, or does not fit this version.
    """
    with _opened(path) as (file, header):
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    for name, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            raise CheckpointError(f"{path} is of a training that went wrong: {name} is not finite")
    return header, tensors


def read_header(path: str | os.PathLike[str]) -> Header:
    """A checkpoint's header alone: no tensor is read.

    Raises:
        CheckpointError: as ``read_checkpoint``, but for damaged tensors.
    """
    with _opened(path) as (_, header):
        return header


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[tuple[Any, Header]]:
    target = Path(path)
    try:
        # Opened by hand first: safetensors' own errors do not tell a missing file from one without permission.
        with target.open("rb"):
            pass
        with safetensors.safe_open(target, framework="np") as file:
            header = _header(target, file.metadata() or {})
            _compare(target, {name: _form(file.get_slice(name)) for name in file.keys()}, header.config)  # noqa: SIM118
            yield file, header
    except OSError as error:
        raise CheckpointError(f"cannot read checkpoint {target}: {error.strerror or error}") from error
    except safetensors.SafetensorError as error:
        raise CheckpointError(f"{target} is damaged or no safetensors file: {one_line(error)}") from error


def _header(path: Path, metadata: dict[str, str]) -> Header:
    if METADATA_KEY not in metadata:
        raise CheckpointError(f"{path} is a safetensors file, but no ReviBranch checkpoint: its metadata lacks {METADATA_KEY!r}")
    try:
        raw = json.loads(metadata[METADATA_KEY])
    except ValueError as error:
        raise CheckpointError(f"{path}: its description is no JSON: {one_line(error)}") from error
    version = raw.get("format") if isinstance(raw, dict) else None
    if version != FORMAT:
        raise CheckpointError(f"{path} has checkpoint format {version}; this version of ReviBranch reads format {FORMAT}")
    _compare_names(path, raw)
    try:
        return Header.model_validate_json(metadata[METADATA_KEY])
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, part['loc']))}: {part['msg']}" for part in error.errors())
        raise CheckpointError(f"{path}: its description does not fit this version: {one_line(problems)}") from error


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


def _compare(path: Path, found: dict[str, str], config: NetworkConfig) -> None:
    expected = {name: f"float32{list(shape)}" for name, shape in tensor_shapes(config).items()}
    problems = [f"lacks {name}" for name in expected if name not in found]
    problems += [f"has unknown {name}" for name in found if name not in expected]
    problems += [f"{name} is {found[name]}, expected {form}" for name, form in expected.items() if found.get(name, form) != form]
    if problems:
        more = f" and {len(problems) - 4} more" if len(problems) > 4 else ""
        raise CheckpointError(f"{path}: tensors do not fit this version's network: {', '.join(problems[:4])}{more}")


def _form(tensor: Any) -> str:
    """Type and shape of a safetensors slice, such as ``float32[8, 8]``."""
    dtype: str = tensor.get_dtype()
    return f"{dtype.replace('BF', 'bfloat').replace('F', 'float')}{list(tensor.get_shape())}"
