"""What an episode consists of: arrays by name, the same in memory, in a pipe and in a file.

Every structure (edges and static columns) stands there once, and per decision only the dynamic columns. Of s structures
and d decisions; ``*_counts`` cut the concatenated arrays of that kind.

=================================== ================ =====================================================================
``structure_counts``                (s, 3) i8        variables, row sides, edges
``variable_static``                 (sum n, 5) f4
``row_static``                      (sum m, 2) f4
``row_lengths``                     (sum m,) i4      edges of each row side
``edge_variables``, ``edge_values`` (sum nnz,) i4 f4
``structure``                       (d,) i4          structure of each decision
``variable_dynamic``                (sum n, v) f4    v = 14: Ecole's columns, 23: all
``row_dynamic``                     (sum m, 3) f4
``candidate_counts``                (d,) i4
``candidates``                      (sum k,) i4
``choice``                          (d,) i4          place of the branched candidate
``parent``, ``entered``             (d,) i4          the decision before it on its path, -1 for none; the child it entered
``log_probability``                 (d,) f8          of the choice, under the policy that drew it; NaN where nobody drew
``sample``                          (d,) ?           whether an expert was asked
``scores``                          (sum k,) f8      the expert's, of samples only; NaN: no valid result
``nodes``                           (d, 12) f8       ``NodeFacts``, field by field
=================================== ================ =====================================================================
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .state import ROW_COLUMNS, VARIABLE_COLUMNS, Column, NodeFacts, variable_column_names

__all__ = [
    "NODE_FACTS",
    "NODE_INTEGERS",
    "ROW_STATIC",
    "SHAPES",
    "VARIABLE_STATIC",
    "Structure",
    "check_arrays",
    "offsets",
    "select_decisions",
    "structures_of",
]


def _n_static(columns: Sequence[Column]) -> int:
    kinds = [column.kind for column in columns]
    count = kinds.count("static")
    assert kinds == ["static"] * count + ["dynamic"] * (len(kinds) - count)
    return count


# Static columns come first, so both kinds are slices of a state's table.
VARIABLE_STATIC = _n_static(VARIABLE_COLUMNS)
ROW_STATIC = _n_static(ROW_COLUMNS)
_WIDTHS = {extended: len(variable_column_names(extended)) - VARIABLE_STATIC for extended in (False, True)}
NODE_FACTS = tuple(field.name for field in fields(NodeFacts))
NODE_INTEGERS = tuple(place for place, field in enumerate(fields(NodeFacts)) if field.type == "int")
_SMALL_INTEGERS = (NODE_FACTS.index("depth"), NODE_FACTS.index("run"))

SHAPES: dict[str, tuple[str, tuple[int, ...]]] = {
    "structure_counts": ("i8", (3,)),
    "variable_static": ("f4", (VARIABLE_STATIC,)),
    "row_static": ("f4", (ROW_STATIC,)),
    "row_lengths": ("i4", ()),
    "edge_variables": ("i4", ()),
    "edge_values": ("f4", ()),
    "structure": ("i4", ()),
    "variable_dynamic": ("f4", (-1,)),
    "row_dynamic": ("f4", (len(ROW_COLUMNS) - ROW_STATIC,)),
    "candidate_counts": ("i4", ()),
    "candidates": ("i4", ()),
    "choice": ("i4", ()),
    "parent": ("i4", ()),
    "entered": ("i4", ()),
    "log_probability": ("f8", ()),
    "sample": ("?", ()),
    "scores": ("f8", ()),
    "nodes": ("f8", (len(NODE_FACTS),)),
}
"""dtype of each array, and its shape behind the first axis (-1: one of two widths)."""


def offsets(counts: NDArray[Any]) -> NDArray[np.int64]:
    """Where each part begins in the concatenation of parts of these lengths, and where the last one ends."""
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def check_arrays(arrays: Mapping[str, NDArray[Any]]) -> None:
    """Check that arrays make an episode.

    Raises:
        ValueError: one is missing or of another kind, or they contradict each other.
    """
    for name, (dtype, shape) in SHAPES.items():
        array = arrays.get(name)
        if array is None:
            raise ValueError(f"it has no array {name}")
        expected = array.shape[1:] if shape == (-1,) and array.shape[1:] in {(width,) for width in _WIDTHS.values()} else shape
        if array.dtype != np.dtype(dtype) or array.ndim == 0 or array.shape[1:] != expected:
            raise ValueError(f"its array {name} is {array.dtype} {array.shape}")
    if unknown := sorted(arrays.keys() - SHAPES.keys()):
        raise ValueError(f"nobody knows its array {unknown[0]}")
    _check_structures(arrays)
    _check_decisions(arrays)


def _check_structures(arrays: Mapping[str, NDArray[Any]]) -> None:
    counts = arrays["structure_counts"]
    most = [len(arrays["variable_static"]), len(arrays["row_static"]), len(arrays["edge_variables"])]
    if (counts < 0).any() or (counts > most).any():  # before they are summed: large ones would wrap around
        raise ValueError("its structures have impossible sizes")
    n, m, nnz = counts.sum(axis=0).tolist()
    expected = {"variable_static": n, "row_static": m, "row_lengths": m, "edge_variables": nnz, "edge_values": nnz}
    if any(len(arrays[name]) != length for name, length in expected.items()):
        raise ValueError("its structures have the wrong sizes")
    lengths = arrays["row_lengths"]
    edges_before, rows_before = offsets(lengths), offsets(counts[:, 1])
    edges_of = np.diff(edges_before[rows_before])
    if (lengths < 0).any() or (edges_of != counts[:, 2]).any():
        raise ValueError("its rows have the wrong lengths")
    if not _within(arrays["edge_variables"], np.repeat(counts[:, 0], counts[:, 2])):
        raise ValueError("its edges lead nowhere")


def _check_decisions(arrays: Mapping[str, NDArray[Any]]) -> None:
    counts, structure, k = arrays["structure_counts"], arrays["structure"], arrays["candidate_counts"]
    choice, parent, entered, sample = (arrays[name] for name in ("choice", "parent", "entered", "sample"))
    d = len(structure)
    if any(len(arrays[name]) != d for name in ("candidate_counts", "choice", "parent", "entered", "log_probability", "sample", "nodes")):
        raise ValueError("its decisions are incomplete")
    if not _within(structure, len(counts)) or (k < 0).any():
        raise ValueError("its decisions have impossible structures")
    n, m, _ = counts[structure].sum(axis=0).tolist() if d else (0, 0, 0)
    expected = {"variable_dynamic": n, "row_dynamic": m, "candidates": k.sum(), "scores": k[sample].sum()}
    if any(len(arrays[name]) != length for name, length in expected.items()):
        raise ValueError("its states have the wrong sizes")
    if not _within(arrays["nodes"][:, NODE_INTEGERS], 2**53) or not _within(arrays["nodes"][:, _SMALL_INTEGERS], 2**31):
        raise ValueError("its nodes have impossible numbers")
    fits = ((choice >= 0) & (choice < k)).all() and ((parent < 0) == (entered < 0)).all()
    fits = fits and (parent >= -1).all() and (parent < np.arange(d)).all() and (entered >= -1).all() and (entered <= 2).all()
    if not fits or not _within(arrays["candidates"], np.repeat(counts[structure, 0], k)):
        raise ValueError("its decisions contradict each other")


def _within(values: NDArray[Any], end: Any) -> bool:
    return bool(((values >= 0) & (values < end)).all())


@dataclass(frozen=True, slots=True)
class Structure:
    """What the states of one structure share; as in ``BranchState``, and the static columns."""

    variable_static: NDArray[np.float32]
    row_static: NDArray[np.float32]
    row_offsets: NDArray[np.int64]
    edge_variables: NDArray[np.int32]
    edge_values: NDArray[np.float32]
    variable_offsets: NDArray[np.int64]
    edge_rows: NDArray[np.int32]
    edge_order: NDArray[np.int64]


def structures_of(arrays: Mapping[str, NDArray[Any]]) -> list[Structure]:
    """All structures of an episode, with their edges by variable too; read-only."""
    v, r, e = (offsets(column) for column in arrays["structure_counts"].T)
    result = []
    for place, n_variables in enumerate(arrays["structure_counts"][:, 0].tolist()):
        rows, edges = slice(r[place], r[place + 1]), slice(e[place], e[place + 1])
        lengths, edge_variables = arrays["row_lengths"][rows], arrays["edge_variables"][edges]
        # By variable, rows ascending: a stable sort keeps the row order within a variable.
        order = np.argsort(edge_variables, kind="stable").astype(np.int64, copy=False)
        row_of_edge = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
        structure = Structure(
            variable_static=arrays["variable_static"][v[place] : v[place + 1]],
            row_static=arrays["row_static"][rows],
            row_offsets=offsets(lengths),
            edge_variables=edge_variables,
            edge_values=arrays["edge_values"][edges],
            variable_offsets=offsets(np.bincount(edge_variables, minlength=n_variables)),
            edge_rows=row_of_edge[order],
            edge_order=order,
        )
        for field in fields(structure):
            getattr(structure, field.name).flags.writeable = False
        result.append(structure)
    return result


def select_decisions(arrays: Mapping[str, NDArray[Any]], keep: NDArray[np.bool_]) -> dict[str, NDArray[Any]]:
    """The arrays of these decisions alone, in the same order, and of their structures.

    Args:
        arrays: an episode's.
        keep: (d,) which decisions; with every decision its parent.
    """
    places = np.flatnonzero(keep)
    used, structure = np.unique(arrays["structure"][places], return_inverse=True)
    result = {name: arrays[name][places] for name in _PER_DECISION}
    number_of = np.append(np.cumsum(keep) - 1, -1)
    result["parent"] = number_of[result["parent"]].astype(np.int32)
    result["structure"] = structure.reshape(-1).astype(np.int32)
    counts, k = arrays["structure_counts"], arrays["candidate_counts"]
    n, m, nnz = counts.T
    by_structure = {"variable_static": n, "row_static": m, "row_lengths": m, "edge_variables": nnz, "edge_values": nnz}
    n, m, _ = counts[arrays["structure"]].T
    by_decision = {"variable_dynamic": n, "row_dynamic": m, "candidates": k, "scores": np.where(arrays["sample"], k, 0)}
    result["structure_counts"] = counts[used]
    result |= {name: _parts_of(arrays[name], lengths, used) for name, lengths in by_structure.items()}
    result |= {name: _parts_of(arrays[name], lengths, places) for name, lengths in by_decision.items()}
    return result


_PER_DECISION = ("structure", "candidate_counts", "choice", "parent", "entered", "log_probability", "sample", "nodes")


def _parts_of(array: NDArray[Any], lengths: NDArray[np.integer], places: NDArray[np.integer]) -> NDArray[Any]:
    """These parts of a concatenation of parts of these lengths."""
    ends = offsets(lengths)
    return np.concatenate([array[:0], *(array[ends[place] : ends[place + 1]] for place in places.tolist())])
