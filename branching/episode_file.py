"""Episodes in files: an npz file without pickle.

It holds the arrays of ``episode_arrays``, those of the ``SearchTree`` as ``tree_*`` where it was recorded, and ``header``, JSON
as bytes: the format's number, the names of all columns, the facts of the solve, and whether there is a tree.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .episode_arrays import NODE_FACTS, SHAPES, VARIABLE_STATIC
from .files import write_atomically
from .state import ECOLE_VARIABLE_COLUMNS, ROW_COLUMNS, variable_column_names
from .tree import SearchTree

__all__ = ["EpisodeError", "read_episode", "write_episode"]

_FORMAT = 3
_TREE = "tree_"


class EpisodeError(ValueError):
    """A file that is no usable episode; the message is one line."""


def _column_names(arrays: Mapping[str, NDArray[Any]]) -> dict[str, list[str]]:
    extended = arrays["variable_dynamic"].shape[1] != ECOLE_VARIABLE_COLUMNS - VARIABLE_STATIC
    return {
        "variable_columns": list(variable_column_names(extended)),
        "row_columns": [column.name for column in ROW_COLUMNS],
        "node_facts": list(NODE_FACTS),
    }


def write_episode(
    path: str | os.PathLike[str], arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any], tree: SearchTree | None, *, compress: bool
) -> None:
    """Write an episode; a reader finds the whole file or none. Equal episodes make equal files.

    Raises:
        OSError: the file cannot be written.
    """
    header = json.dumps({"format": _FORMAT, **_column_names(arrays), "facts": dict(facts), "tree": tree is not None}).encode()
    content: dict[str, Any] = {"header": np.frombuffer(header, dtype=np.uint8), **{name: arrays[name] for name in SHAPES}}
    if tree is not None:
        content |= {_TREE + name: array for name, array in tree.to_arrays().items()}
    save = np.savez_compressed if compress else np.savez
    write_atomically(path, lambda file: save(file, **content))


def read_episode(path: str | os.PathLike[str]) -> tuple[dict[str, NDArray[Any]], dict[str, Any], SearchTree | None]:
    """Read arrays, facts and tree of an episode; the arrays' contents are not checked yet.

    Raises:
        EpisodeError: the file is missing, damaged or of another format.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays: dict[str, NDArray[Any]] = {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise EpisodeError(f"episode {path} does not exist") from None
    # NumPy, zipfile and zlib have no common error; NumPy even parses an array's header as Python.
    except Exception as error:
        raise EpisodeError(f"episode {path} is damaged: {type(error).__name__}: {' '.join(str(error).split())}") from error
    try:
        content = json.loads(arrays.pop("header").tobytes())
        version, facts, has_tree = content["format"], content["facts"], content["tree"]
        names = _column_names(arrays) if version == _FORMAT else None
    except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise EpisodeError(f"episode {path} is damaged: its header cannot be read") from error
    if names is None or any(content.get(key) != value for key, value in names.items()):
        raise EpisodeError(f"episode {path} has format {version} or columns of another version; collect it again")
    if not isinstance(facts, dict):
        raise EpisodeError(f"episode {path} is damaged: its facts cannot be read")
    tree_arrays = {name.removeprefix(_TREE): arrays.pop(name) for name in list(arrays) if name.startswith(_TREE)}
    try:
        tree = SearchTree.from_arrays(tree_arrays) if has_tree else None
    except ValueError as error:
        raise EpisodeError(f"episode {path} is damaged: {error}") from error
    return arrays, facts, tree
