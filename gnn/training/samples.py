"""Samples of one solve in one file: the states an expert was asked at, and all decisions on the way to them.

A shard is an npz file without pickle. It keeps every structure (edges and static columns) once and per decision only the
dynamic columns. Decisions that are no samples are kept where a sample descends from them, so that a network with history
can encode them again with today's weights.

Arrays: s structures, d decisions; ``*_counts`` cut the concatenated arrays of that kind.

=================================== ================ =====================================================================
``header``                          (bytes,) u1      JSON: format, column names, facts of the solve
``structure_counts``                (s, 3) i8        variables, row sides, edges
``variable_static``                 (sum n, 5) f4
``row_static``                      (sum m, 2) f4
``row_lengths``                     (sum m,) i4      edges of each row side
``edge_variables``, ``edge_values`` (sum nnz,) i4 f4
``structure``                       (d,) i4          structure of each decision
``variable_dynamic``                (sum n, .) f4
``row_dynamic``                     (sum m, 3) f4
``candidate_counts``                (d,) i4
``candidates``                      (sum k,) i4
``scores``                          (sum k,) f8      the expert's; NaN: no valid result, or no sample
``sample``                          (d,) ?           whether the expert was asked
``choice``                          (d,) i4          place of the branched candidate
``parent``, ``entered``             (d,) i4          the decision before it on its path, -1 for none; the child it entered
``nodes``                           (d, 12) f8       ``NodeFacts``, field by field
=================================== ================ =====================================================================
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...branching.state import ROW_COLUMNS, VARIABLE_COLUMNS, BranchState, Column, NodeFacts

__all__ = ["Ancestor", "Recorder", "Shard", "ShardError"]

_FORMAT = 1
_NODE_FIELDS = fields(NodeFacts)


def _places(columns: Sequence[Column], kind: str) -> NDArray[np.intp]:
    return np.array([place for place, column in enumerate(columns) if column.kind == kind])


_VARIABLE = {kind: _places(VARIABLE_COLUMNS, kind) for kind in ("static", "dynamic")}
_ROW = {kind: _places(ROW_COLUMNS, kind) for kind in ("static", "dynamic")}
_NAMES = {
    "variable_columns": [column.name for column in VARIABLE_COLUMNS],
    "row_columns": [column.name for column in ROW_COLUMNS],
    "node_facts": [field.name for field in _NODE_FIELDS],
}
_SHAPES: dict[str, tuple[str, int | None]] = {
    "header": ("u1", None),
    "structure_counts": ("i8", 3),
    "variable_static": ("f4", len(_VARIABLE["static"])),
    "row_static": ("f4", len(_ROW["static"])),
    "row_lengths": ("i4", None),
    "edge_variables": ("i4", None),
    "edge_values": ("f4", None),
    "structure": ("i4", None),
    "variable_dynamic": ("f4", len(_VARIABLE["dynamic"])),
    "row_dynamic": ("f4", len(_ROW["dynamic"])),
    "candidate_counts": ("i4", None),
    "candidates": ("i4", None),
    "scores": ("f8", None),
    "sample": ("?", None),
    "choice": ("i4", None),
    "parent": ("i4", None),
    "entered": ("i4", None),
    "nodes": ("f8", len(_NODE_FIELDS)),
}


class ShardError(ValueError):
    """A file that is no usable shard; the message is one line."""


@dataclass(frozen=True, slots=True)
class Ancestor:
    """A decision on the way to another one."""

    decision: int
    """Its number within the shard."""
    child: int
    """The child the way entered: 0 down, 1 up, 2 middle."""


@dataclass(slots=True)
class _Record:
    structure: int
    variables: NDArray[np.float32]
    rows: NDArray[np.float32]
    candidates: NDArray[np.int32]
    scores: NDArray[np.float64] | None
    choice: int
    parent: int
    entered: int
    node: tuple[float, ...]


class Recorder:
    """Takes the decisions of one solve down and writes its shard."""

    def __init__(self) -> None:
        self._structures: list[BranchState] = []
        self._structure_places: dict[int, int] = {}
        self._records: list[_Record] = []
        self.n_samples = 0

    def __len__(self) -> int:
        return len(self._records)

    def add(self, state: BranchState, choice: int, *, parent: int, entered: int, scores: NDArray[np.float64] | None = None) -> int:
        """Take a decision down.

        Args:
            state: with all variable columns; copied.
            choice: place of the branched candidate within ``state.candidates``.
            parent: number of the decision before it on its path; -1 for none.
            entered: the child of ``parent`` that the path entered; -1 for none.
            scores: the expert's, (k,), NaN where invalid; None for a decision that is no sample.

        Returns:
            The decision's number.

        Raises:
            ValueError: the state lacks columns, or the decision does not fit it or those before.
        """
        k = len(state.candidates)
        if state.variable_features.shape[1] != len(VARIABLE_COLUMNS):
            raise ValueError(f"states are recorded with all {len(VARIABLE_COLUMNS)} variable columns")
        if not 0 <= choice < k or (scores is not None and scores.shape != (k,)):
            raise ValueError(f"choice {choice} or scores do not fit {k} candidates")
        if not -1 <= parent < len(self) or (parent < 0) != (entered < 0):
            raise ValueError(f"decision {len(self)} cannot follow child {entered} of decision {parent}")
        place = self._structure_places.get(state.structure_id)
        if place is None:
            place = self._structure_places[state.structure_id] = len(self._structures)
            self._structures.append(state.copy())
        self._records.append(
            _Record(
                structure=place,
                variables=state.variable_features[:, _VARIABLE["dynamic"]],
                rows=state.row_features[:, _ROW["dynamic"]],
                candidates=state.candidates.copy(),
                scores=None if scores is None else scores.astype(np.float64),
                choice=choice,
                parent=parent,
                entered=entered,
                node=astuple(state.node),
            )
        )
        self.n_samples += scores is not None
        return len(self) - 1

    def write(self, path: str | os.PathLike[str], facts: Mapping[str, Any]) -> None:
        """Write the samples and their ancestors; a reader finds the whole file or none.

        Args:
            path: the file.
            facts: what is to be known of the solve, as JSON.

        Raises:
            OSError: the file cannot be written.
        """
        records = self._kept()
        used = sorted({record.structure for record in records})
        structures = [self._structures[place] for place in used]
        header = json.dumps({"format": _FORMAT, **_NAMES, "facts": dict(facts)}).encode()
        content: dict[str, Any] = {
            "header": np.frombuffer(header, dtype=np.uint8),
            "structure_counts": [(state.n_variables, state.n_rows, state.n_edges) for state in structures],
            "variable_static": [state.variable_features[:, _VARIABLE["static"]] for state in structures],
            "row_static": [state.row_features[:, _ROW["static"]] for state in structures],
            "row_lengths": [np.diff(state.row_offsets) for state in structures],
            "edge_variables": [state.edge_variables for state in structures],
            "edge_values": [state.edge_values for state in structures],
            "structure": [used.index(record.structure) for record in records],
            "variable_dynamic": [record.variables for record in records],
            "row_dynamic": [record.rows for record in records],
            "candidate_counts": [len(record.candidates) for record in records],
            "candidates": [record.candidates for record in records],
            "scores": [np.full(len(record.candidates), np.nan) if record.scores is None else record.scores for record in records],
            "sample": [record.scores is not None for record in records],
            "choice": [record.choice for record in records],
            "parent": [record.parent for record in records],
            "entered": [record.entered for record in records],
            "nodes": [record.node for record in records],
        }
        target = Path(path)
        partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
        try:
            with partial.open("wb") as file:
                packed: dict[str, Any] = {name: _packed(name, parts) for name, parts in content.items()}
                np.savez_compressed(file, **packed)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)

    def _kept(self) -> list[_Record]:
        """Samples and their ancestors, renumbered, in the order in which they were taken."""
        keep = [record.scores is not None for record in self._records]
        for number in reversed(range(len(self))):  # parents come before their children
            parent = self._records[number].parent
            if keep[number] and parent >= 0:
                keep[parent] = True
        number_of = np.cumsum(keep) - 1
        kept = [record for record, kept in zip(self._records, keep, strict=True) if kept]
        for record in kept:
            record.parent = int(number_of[record.parent]) if record.parent >= 0 else -1
        return kept


def _packed(name: str, parts: Any) -> NDArray[Any]:
    dtype, width = _SHAPES[name]
    if isinstance(parts, list) and parts and isinstance(parts[0], np.ndarray):
        parts = np.concatenate(parts)
    packed = np.asarray(parts, dtype=dtype)
    return packed if width is None else packed.reshape(-1, width)


@dataclass(frozen=True, slots=True)
class _Structure:
    variable_static: NDArray[np.float32]
    row_static: NDArray[np.float32]
    row_offsets: NDArray[np.int64]
    edge_variables: NDArray[np.int32]
    edge_values: NDArray[np.float32]
    variable_offsets: NDArray[np.int64]
    edge_rows: NDArray[np.int32]
    edge_order: NDArray[np.int64]


class Shard:
    """The samples of one solve. What is small is read at once, states when they are first asked for.

    Args:
        path: the file.

    Raises:
        ShardError: it is missing, damaged or of another format. Methods raise it too.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        small = self._read("header", "structure_counts", "structure", "candidate_counts", "candidates", "scores", "sample")
        small |= self._read("choice", "parent", "entered", "nodes")
        self.facts = self._facts(small.pop("header"))
        """What the writer said of the solve."""
        self._structure_counts = small["structure_counts"]
        self._structure = small["structure"]
        self._candidates, self._scores = small["candidates"], small["scores"]
        self._candidate_offsets = _offsets(small["candidate_counts"])
        self._nodes = small["nodes"]
        self._parent, self._entered = small["parent"], small["entered"]
        self.choice: NDArray[np.int32] = small["choice"]
        """(d,) int32: place of the branched candidate of each decision."""
        self.samples: NDArray[np.int64] = np.flatnonzero(small["sample"])
        """Numbers of the decisions that are samples, ascending."""
        self._check()

    def __len__(self) -> int:
        return len(self._structure)

    def scores(self, decision: int) -> NDArray[np.float64]:
        """The expert's scores of a sample's candidates, (k,); NaN where there was no valid result."""
        begin, end = self._candidate_offsets[decision : decision + 2]
        return self._scores[begin:end]

    def ancestors(self, decision: int) -> list[Ancestor]:
        """The decisions on the way to this one, root first."""
        path: list[Ancestor] = []
        while (parent := int(self._parent[decision])) >= 0:
            path.append(Ancestor(parent, int(self._entered[decision])))
            decision = parent
        return path[::-1]

    def state(self, decision: int) -> BranchState:
        """The state at a decision. Decisions of one structure share its arrays; ``structure_id`` is unique in the shard."""
        place = int(self._structure[decision])
        structure = self._structures[place]
        (variables, rows), (v, r) = self._dynamic, self._dynamic_offsets
        variable_features = np.empty((len(structure.variable_static), len(VARIABLE_COLUMNS)), dtype=np.float32)
        variable_features[:, _VARIABLE["static"]] = structure.variable_static
        variable_features[:, _VARIABLE["dynamic"]] = variables[v[decision] : v[decision + 1]]
        row_features = np.empty((len(structure.row_static), len(ROW_COLUMNS)), dtype=np.float32)
        row_features[:, _ROW["static"]] = structure.row_static
        row_features[:, _ROW["dynamic"]] = rows[r[decision] : r[decision + 1]]
        begin, end = self._candidate_offsets[decision : decision + 2]
        facts: dict[str, Any] = {
            field.name: int(value) if field.type == "int" else float(value)
            for field, value in zip(_NODE_FIELDS, self._nodes[decision], strict=True)
        }
        return BranchState(
            variable_features=variable_features,
            row_features=row_features,
            row_offsets=structure.row_offsets,
            edge_variables=structure.edge_variables,
            edge_values=structure.edge_values,
            variable_offsets=structure.variable_offsets,
            edge_rows=structure.edge_rows,
            edge_order=structure.edge_order,
            candidates=self._candidates[begin:end],
            structure_id=place,
            node=NodeFacts(**facts),
        )

    def verify(self) -> None:
        """Read everything once.

        Raises:
            ShardError: something is damaged.
        """
        _ = self._structures, self._dynamic

    # ---- reading -------------------------------------------------------------------------------------------------

    @cached_property
    def _structures(self) -> list[_Structure]:
        arrays = self._read("variable_static", "row_static", "row_lengths", "edge_variables", "edge_values")
        v, r, e = (_offsets(column) for column in self._structure_counts.T)
        sizes = [len(arrays[name]) for name in ("variable_static", "row_static", "row_lengths", "edge_variables", "edge_values")]
        if sizes != [v[-1], r[-1], r[-1], e[-1], e[-1]]:
            raise self._damaged("its structures have the wrong sizes")
        result = []
        for place, (n_variables, _, n_edges) in enumerate(self._structure_counts.tolist()):
            rows, edges = slice(r[place], r[place + 1]), slice(e[place], e[place + 1])
            lengths, edge_variables = arrays["row_lengths"][rows], arrays["edge_variables"][edges]
            if (lengths < 0).any() or lengths.sum() != n_edges or not _within(edge_variables, n_variables):
                raise self._damaged("its edges lead nowhere")
            # By variable, rows ascending: a stable sort keeps the row order within a variable.
            order = np.argsort(edge_variables, kind="stable").astype(np.int64, copy=False)
            row_of_edge = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
            result.append(
                _Structure(
                    variable_static=arrays["variable_static"][v[place] : v[place + 1]],
                    row_static=arrays["row_static"][rows],
                    row_offsets=_offsets(lengths),
                    edge_variables=edge_variables,
                    edge_values=arrays["edge_values"][edges],
                    variable_offsets=_offsets(np.bincount(edge_variables, minlength=n_variables)),
                    edge_rows=row_of_edge[order],
                    edge_order=order,
                )
            )
        return result

    @cached_property
    def _dynamic_offsets(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        counts = self._structure_counts[self._structure]
        return _offsets(counts[:, 0]), _offsets(counts[:, 1])

    @cached_property
    def _dynamic(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        arrays = self._read("variable_dynamic", "row_dynamic")
        variables, rows = arrays["variable_dynamic"], arrays["row_dynamic"]
        if [len(variables), len(rows)] != [offsets[-1] for offsets in self._dynamic_offsets]:
            raise self._damaged("its states have the wrong sizes")
        return variables, rows

    def _read(self, *names: str) -> dict[str, NDArray[Any]]:
        arrays: dict[str, NDArray[Any]] = {}
        try:
            with np.load(self.path, allow_pickle=False) as archive:
                for name in names:
                    arrays[name] = archive[name]
        except FileNotFoundError:
            raise ShardError(f"sample shard {self.path} does not exist") from None
        # NumPy, zipfile and zlib have no common error; NumPy even parses an array's header as Python.
        except Exception as error:
            name = type(error).__name__
            raise self._damaged(" ".join(f"{name}: {error}".split())) from error
        for name, array in arrays.items():
            dtype, width = _SHAPES[name]
            if array.dtype != np.dtype(dtype) or array.shape[1:] != (() if width is None else (width,)) or array.ndim == 0:
                raise self._damaged(f"its array {name} is {array.dtype} {array.shape}")
        return arrays

    def _facts(self, header: NDArray[np.uint8]) -> dict[str, Any]:
        try:
            content = json.loads(header.tobytes())
            version, facts = content["format"], content["facts"]
        except (ValueError, KeyError, TypeError) as error:
            raise self._damaged("its header cannot be read") from error
        if version != _FORMAT or any(content.get(key) != names for key, names in _NAMES.items()):
            raise ShardError(f"sample shard {self.path} has format {version} or columns of another version; collect it again")
        assert isinstance(facts, dict)
        return facts

    def _check(self) -> None:
        d, k = len(self), np.diff(self._candidate_offsets)
        if not all(len(array) == d for array in (k, self.choice, self._parent, self._entered, self._nodes)):
            raise self._damaged("its decisions are incomplete")
        if len(self._candidates) != self._candidate_offsets[-1] or len(self._scores) != len(self._candidates):
            raise self._damaged("its candidates are incomplete")
        rooted = self._parent < 0
        fits = _within(self._structure, len(self._structure_counts)) and (self._structure_counts >= 0).all()
        fits = fits and ((self.choice >= 0) & (self.choice < k)).all() and (rooted == (self._entered < 0)).all()
        fits = fits and (self._parent >= -1).all() and (self._parent < np.arange(d)).all() and (self._entered <= 2).all()
        if not fits or not _within(self._candidates, np.repeat(self._structure_counts[self._structure, 0], k)):
            raise self._damaged("its decisions contradict each other")

    def _damaged(self, why: str) -> ShardError:
        return ShardError(f"sample shard {self.path} is damaged: {why}")


def _offsets(counts: NDArray[Any]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def _within(values: NDArray[Any], end: Any) -> bool:
    return bool(((values >= 0) & (values < end)).all())
