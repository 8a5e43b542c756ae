"""Episodes: the decisions of one solve, with the graphs at which they were taken and the tree that came of them.

``episode_arrays`` describes what they consist of, ``episode_recorder`` makes them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import index
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .episode_arrays import (
    NODE_FACTS,
    NODE_INTEGERS,
    ROW_STATIC,
    VARIABLE_STATIC,
    Structure,
    check_arrays,
    offsets,
    select_decisions,
    structures_of,
)
from .episode_file import EpisodeError, read_episode, write_episode
from .state import ROW_COLUMNS, BranchState, NodeFacts
from .tree import SearchTree

__all__ = ["Ancestor", "Episode", "EpisodeError", "Json"]

Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]


@dataclass(frozen=True, slots=True)
class Ancestor:
    """A decision on the way to another one."""

    decision: int
    """Its number within the episode."""
    child: int
    """The child the way entered: 0 down, 1 up, 2 middle."""


class Episode:
    """The d decisions of one solve, numbered as they were taken. Made by ``EpisodeRecorder.episode`` or ``load``.

    Methods that are given a decision's number take it as lists do: a negative one counts from the end, one out of range is an
    ``IndexError``.

    Args:
        arrays: as ``episode_arrays`` describes them; kept, not copied.
        facts: what is to be known of the solve, as JSON.
        tree: the solve's tree; it may be larger than the decisions tell.

    Raises:
        ValueError: the arrays contradict each other.
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Json], tree: SearchTree | None = None) -> None:
        check_arrays(arrays)
        self._arrays = dict(arrays)
        self.facts: dict[str, Any] = json.loads(json.dumps(dict(facts)))
        """What is known of the solve."""
        self.tree = tree
        """The solve's tree, where it was recorded."""
        self.choice: NDArray[np.int32] = arrays["choice"]
        """(d,) int32: place of the branched candidate."""
        self.parent: NDArray[np.int32] = arrays["parent"]
        """(d,) int32: the decision before it on its path; -1 for none."""
        self.entered: NDArray[np.int32] = arrays["entered"]
        """(d,) int32: the child of ``parent`` that the path entered: 0 down, 1 up, 2 middle; -1 without a parent."""
        self.log_probability: NDArray[np.float64] = arrays["log_probability"]
        """(d,) float64: of the choice, under the policy that drew it; NaN where nobody drew."""
        self.nodes: NDArray[np.float64] = arrays["nodes"]
        """(d, 12) float64: ``NodeFacts``, field by field."""
        self.node_number: NDArray[np.int64] = self._fact("number", "i8")
        """(d,) int64: SCIP's number of the node."""
        self.depth: NDArray[np.int32] = self._fact("depth", "i4")
        """(d,) int32: its depth."""
        self.run: NDArray[np.int32] = self._fact("run", "i4")
        """(d,) int32: SCIP's run."""
        self.samples: NDArray[np.int64] = np.flatnonzero(arrays["sample"])
        """Numbers of the decisions with an expert's scores, ascending."""
        k = arrays["candidate_counts"]
        self._candidate_offsets = offsets(k)
        self._score_offsets = offsets(np.where(arrays["sample"], k, 0))
        sizes = arrays["structure_counts"][arrays["structure"]]
        self._variable_offsets, self._row_offsets = offsets(sizes[:, 0]), offsets(sizes[:, 1])

    def __len__(self) -> int:
        return len(self.choice)

    def __reduce__(self) -> tuple[Any, ...]:
        return Episode, (self._arrays, self.facts, self.tree)

    @property
    def nbytes(self) -> int:
        """Memory held by its arrays, with all that ``state`` derives and keeps, whether it did so already or not."""
        rows, edges = len(self._arrays["row_lengths"]), len(self._arrays["edge_variables"])
        derived = 8 * (rows + len(self._arrays["variable_static"])) + 12 * edges
        stored = sum(array.nbytes for array in self._arrays.values())
        return stored + derived + (self.tree.nbytes if self.tree is not None else 0)

    # ---- decisions -----------------------------------------------------------------------------------------------

    def candidates(self, decision: int) -> NDArray[np.int32]:
        """(k,) int32: the candidates of a decision, as variable positions; read-only."""
        decision = self._number(decision)
        begin, end = self._candidate_offsets[decision], self._candidate_offsets[decision + 1]
        candidates: NDArray[np.int32] = self._arrays["candidates"][begin:end]
        candidates.flags.writeable = False
        return candidates

    def scores(self, decision: int) -> NDArray[np.float64]:
        """(k,) float64: the expert's scores of the candidates; NaN where there was no valid result, or no expert."""
        decision = self._number(decision)
        begin, end = self._score_offsets[decision], self._score_offsets[decision + 1]
        if begin == end:
            return np.full(len(self.candidates(decision)), np.nan)
        scores: NDArray[np.float64] = self._arrays["scores"][begin:end]
        return scores

    def ancestors(self, decision: int) -> list[Ancestor]:
        """The decisions on the way to this one, root first."""
        path: list[Ancestor] = []
        decision = self._number(decision)
        while (parent := int(self.parent[decision])) >= 0:
            path.append(Ancestor(parent, int(self.entered[decision])))
            decision = parent
        return path[::-1]

    def state(self, decision: int) -> BranchState:
        """The state at a decision, with the recorded columns.

        Decisions of one structure share its arrays, which are read-only, as the candidates are; ``structure_id`` is unique in the episode.
        """
        arrays = self._arrays
        decision = self._number(decision)
        place = int(arrays["structure"][decision])
        structure = self._structures[place]
        v, r = self._variable_offsets, self._row_offsets
        variables = arrays["variable_dynamic"][v[decision] : v[decision + 1]]
        rows = arrays["row_dynamic"][r[decision] : r[decision + 1]]
        variable_features = np.empty((len(variables), VARIABLE_STATIC + variables.shape[1]), dtype=np.float32)
        variable_features[:, :VARIABLE_STATIC] = structure.variable_static
        variable_features[:, VARIABLE_STATIC:] = variables
        row_features = np.empty((len(rows), len(ROW_COLUMNS)), dtype=np.float32)
        row_features[:, :ROW_STATIC] = structure.row_static
        row_features[:, ROW_STATIC:] = rows
        facts: list[Any] = self.nodes[decision].tolist()
        for column in NODE_INTEGERS:
            facts[column] = int(facts[column])
        return BranchState(
            variable_features=variable_features,
            row_features=row_features,
            row_offsets=structure.row_offsets,
            edge_variables=structure.edge_variables,
            edge_values=structure.edge_values,
            variable_offsets=structure.variable_offsets,
            edge_rows=structure.edge_rows,
            edge_order=structure.edge_order,
            candidates=self.candidates(decision),
            structure_id=place,
            node=NodeFacts(*facts),
        )

    def kept(self, decisions: Iterable[int]) -> Episode:
        """An episode of these decisions and their ancestors alone, renumbered in the same order; facts and tree stay."""
        keep = np.zeros(len(self), dtype=np.bool_)
        keep[[self._number(decision) for decision in decisions]] = True
        for number in reversed(range(len(self))):  # parents come before their children
            parent = self.parent[number]
            if keep[number] and parent >= 0:
                keep[parent] = True
        return Episode(select_decisions(self._arrays, keep), self.facts, self.tree)

    # ---- the tree ------------------------------------------------------------------------------------------------

    @cached_property
    def tree_node(self) -> NDArray[np.int32]:
        """(d,) int32: the decision's place in ``tree``; -1 where it is not there, or without a tree."""
        tree = self.tree
        if tree is None or not tree.n_created:
            return np.full(len(self), -1, dtype=np.int32)
        # SCIP's numbers are unique within a run.
        stride = 1 + max(int(tree.number.max()), int(self.node_number.max(initial=0)))
        keys = tree.run.astype(np.int64) * stride + tree.number
        wanted = self.run.astype(np.int64) * stride + self.node_number
        order = np.argsort(keys, kind="stable")
        places = order[np.minimum(np.searchsorted(keys, wanted, sorter=order), tree.n_created - 1)]
        return np.where(keys[places] == wanted, places, -1).astype(np.int32)

    def subtree_sizes(self) -> NDArray[np.int64]:
        """(d,) int64: number of created nodes in the subtree below each decision, its own node included.

        Raises:
            ValueError: there is no tree, or a decision is not in it.
        """
        return self._subtree_sizes

    @cached_property
    def _subtree_sizes(self) -> NDArray[np.int64]:
        if self.tree is None:
            raise ValueError("the episode has no tree")
        if (self.tree_node < 0).any():
            raise ValueError("the episode's tree does not hold all decisions")
        return self.tree.subtree_sizes()[self.tree_node]

    # ---- files ---------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str], *, compress: bool = True) -> None:
        """Write the episode; a reader finds the whole file or none. Equal episodes make equal files.

        Raises:
            OSError: the file cannot be written; an old one is as it was.
        """
        write_episode(path, self._arrays, self.facts, self.tree, compress=compress)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Episode:
        """Read an episode: the same, bit for bit, as the one that was saved.

        Raises:
            EpisodeError: the file is missing, damaged or of another format.
        """
        arrays, facts, tree = read_episode(path)
        try:
            return cls(arrays, facts, tree)
        except ValueError as error:
            raise EpisodeError(f"episode {path} is damaged: {error}") from error

    # ---- inside --------------------------------------------------------------------------------------------------

    def _number(self, decision: int) -> int:
        """The decision's number, counted from the first one."""
        if isinstance(decision, bool):  # of a mask, say: as a number it would name a decision that nobody meant
            raise TypeError(f"a decision is named by its number, not by {decision}")
        number = index(decision)
        if not -len(self) <= number < len(self):
            raise IndexError(f"there is no decision {number}: the episode has {len(self)}")
        return number % len(self)

    def _fact(self, name: str, dtype: str) -> NDArray[Any]:
        column: NDArray[Any] = self.nodes[:, NODE_FACTS.index(name)].astype(dtype)
        return column

    @cached_property
    def _structures(self) -> list[Structure]:
        return structures_of(self._arrays)
