"""One or many branching states as one graph of torch tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..branching.state import BranchState
from .facts import NODE_FACTS, node_fact_vector

__all__ = ["Edges", "GraphBatch", "GraphStructure"]

_Graph = TypeVar("_Graph", "Edges", "GraphStructure", "GraphBatch")


def _moved(graph: _Graph, device: torch.device | str) -> _Graph:
    """The same on another device; the very same, with all that was derived from it, where nothing moves."""
    changed = {field.name: getattr(graph, field.name).to(device) for field in fields(graph)}
    return graph if all(changed[name] is getattr(graph, name) for name in changed) else replace(graph, **changed)


@dataclass(frozen=True)
class Edges:
    """Edges of one direction, sorted by target: those of target i are ``offsets[i]:offsets[i+1]``."""

    offsets: Tensor
    """(targets+1,) int64."""
    sources: Tensor
    """(nnz,) int32: where each edge comes from."""
    values: Tensor
    """(nnz,) float32: coefficient / norm of the row."""

    def to(self, device: torch.device | str) -> Edges:
        """The same edges on another device."""
        return _moved(self, device)

    @property
    def n_targets(self) -> int:
        """Number of targets, those without edges included."""
        return len(self.offsets) - 1

    @cached_property
    def degrees(self) -> Tensor:
        """(targets,) int64: edges of each target."""
        return self.offsets.diff()

    @cached_property
    def edge_index(self) -> Tensor:
        """(2, nnz) int64, source above target, as PyG wants it; made when first asked for."""
        targets = torch.arange(self.n_targets, device=self.offsets.device)
        targets = targets.repeat_interleave(self.degrees, output_size=len(self.sources))
        return torch.stack([self.sources.long(), targets])


@dataclass(frozen=True)
class GraphStructure:
    """The edges of a state or a batch, in both directions."""

    by_row: Edges
    """Variable -> row: the rows are the targets."""
    by_variable: Edges
    """Row -> variable: the variables are the targets."""

    @classmethod
    def view(cls, state: BranchState) -> Self:
        """The structure of one state. Shares memory with it: valid as long as the state's structure is."""
        values = tensor_view(state.edge_values)
        return cls(
            by_row=Edges(tensor_view(state.row_offsets), tensor_view(state.edge_variables), values),
            by_variable=Edges(
                tensor_view(state.variable_offsets),
                tensor_view(state.edge_rows),
                values[tensor_view(state.edge_order)],
            ),
        )

    def to(self, device: torch.device | str) -> GraphStructure:
        """The same structure on another device."""
        return _moved(self, device)


@dataclass(frozen=True)
class GraphBatch:
    """B graphs side by side: n variables, m row sides, k candidates in all. Graph g's lie together, before those of g+1."""

    variable_features: Tensor
    """(n, F) float32: the first F columns of ``VARIABLE_COLUMNS``; NaN where a value is missing."""
    row_features: Tensor
    """(m, 5) float32: columns as in ``ROW_COLUMNS``."""
    structure: GraphStructure
    candidates: Tensor
    """(k,) int64: positions among the batch's n variables."""
    node_facts: Tensor
    """(B, q) float32: ``node_fact_vector`` of each graph's node."""
    depths: Tensor
    """(B,) int64: depth of each graph's node."""
    variable_offsets: Tensor
    """(B+1,) int64: graph g's variables are ``variable_offsets[g]:variable_offsets[g+1]``."""
    row_offsets: Tensor
    """(B+1,) int64."""
    candidate_offsets: Tensor
    """(B+1,) int64."""

    @property
    def n_graphs(self) -> int:
        """Number of graphs B."""
        return len(self.depths)

    @cached_property
    def variable_batch(self) -> Tensor:
        """(n,) int64: graph of each variable."""
        return _owners(self.variable_offsets, len(self.variable_features))

    @cached_property
    def row_batch(self) -> Tensor:
        """(m,) int64: graph of each row."""
        return _owners(self.row_offsets, len(self.row_features))

    @cached_property
    def candidate_batch(self) -> Tensor:
        """(k,) int64: graph of each candidate."""
        return _owners(self.candidate_offsets, len(self.candidates))

    @classmethod
    def from_states(cls, states: Sequence[BranchState]) -> Self:
        """All states as one batch, in their order. Copies: the states' arrays may change afterwards.

        Args:
            states: at least one; all with the same variable columns.

        Raises:
            ValueError: there is no state, or their variable columns differ.
        """
        if not states:
            raise ValueError("a batch needs at least one state")
        widths = sorted({state.variable_features.shape[1] for state in states})
        if len(widths) > 1:
            raise ValueError(f"states with different numbers of variable columns in one batch: {widths}")
        variables = _offsets([state.n_variables for state in states])
        rows = _offsets([state.n_rows for state in states])
        edges = _offsets([state.n_edges for state in states])
        candidates = _offsets([len(state.candidates) for state in states])

        def by_target(per_state: list[NDArray[np.int64]]) -> Tensor:
            shifted = [offsets[1:] + first for offsets, first in zip(per_state, edges, strict=False)]
            return torch.from_numpy(np.concatenate([np.zeros(1, dtype=np.int64), *shifted]))

        def shifted(indices: list[NDArray[np.int32]], by: NDArray[np.int64]) -> Tensor:
            parts = [part + np.int32(first) for part, first in zip(indices, by, strict=False)]
            return torch.from_numpy(np.concatenate(parts))

        structure = GraphStructure(
            by_row=Edges(
                by_target([state.row_offsets for state in states]),
                shifted([state.edge_variables for state in states], variables),
                torch.from_numpy(np.concatenate([state.edge_values for state in states])),
            ),
            by_variable=Edges(
                by_target([state.variable_offsets for state in states]),
                shifted([state.edge_rows for state in states], rows),
                torch.from_numpy(np.concatenate([state.edge_values[state.edge_order] for state in states])),
            ),
        )
        return cls(
            variable_features=torch.from_numpy(np.concatenate([state.variable_features for state in states])),
            row_features=torch.from_numpy(np.concatenate([state.row_features for state in states])),
            structure=structure,
            candidates=shifted([state.candidates for state in states], variables).long(),
            node_facts=torch.from_numpy(np.stack([_facts(state) for state in states])),
            depths=torch.tensor([state.node.depth for state in states], device="cpu"),
            variable_offsets=torch.from_numpy(variables),
            row_offsets=torch.from_numpy(rows),
            candidate_offsets=torch.from_numpy(candidates),
        )

    @classmethod
    def view(cls, state: BranchState, structure: GraphStructure | None = None) -> Self:
        """One state as a batch that shares its memory: valid as long as the state's arrays are.

        Args:
            state: the state.
            structure: its structure, where it is at hand already.
        """
        return cls(
            variable_features=tensor_view(state.variable_features),
            row_features=tensor_view(state.row_features),
            structure=GraphStructure.view(state) if structure is None else structure,
            candidates=torch.from_numpy(state.candidates.astype(np.int64)),
            node_facts=torch.from_numpy(_facts(state)[None]),
            depths=torch.tensor([state.node.depth], device="cpu"),
            variable_offsets=torch.tensor([0, state.n_variables], device="cpu"),
            row_offsets=torch.tensor([0, state.n_rows], device="cpu"),
            candidate_offsets=torch.tensor([0, len(state.candidates)], device="cpu"),
        )

    def to(self, device: torch.device | str) -> GraphBatch:
        """The same batch on another device."""
        return _moved(self, device)


class _Writable:
    """Hands an array's memory on without its read-only mark, and keeps the array alive."""

    def __init__(self, array: NDArray[Any]) -> None:
        self.array = array
        self.__array_interface__ = {**array.__array_interface__, "data": (array.ctypes.data, False)}


def tensor_view(array: NDArray[Any]) -> Tensor:
    """A tensor that shares the array's memory; it must not be written to.

    torch knows no read-only tensors and warns of every read-only array, so the mark is taken off on the way.
    """
    return torch.from_numpy(array if array.flags.writeable else np.asarray(_Writable(array)))


def _offsets(counts: Sequence[int]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def _owners(offsets: Tensor, total: int) -> Tensor:
    graphs = torch.arange(len(offsets) - 1, device=offsets.device)
    return graphs.repeat_interleave(offsets.diff(), output_size=total)


def _facts(state: BranchState) -> NDArray[np.float32]:
    vector = node_fact_vector(state.node, len(state.candidates), state.n_variables)
    assert vector.shape == (len(NODE_FACTS),)
    return vector
