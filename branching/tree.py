"""The search tree of a solve as arrays, and the recorder that takes it down while SCIP grows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import IntEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ._scip import TREE_OUTCOMES, TreeLog

if TYPE_CHECKING:
    from pyscipopt import Model

__all__ = ["NodeOutcome", "SearchTree", "TreeRecorder", "record_tree"]


class NodeOutcome(IntEnum):
    """What became of a node."""

    BRANCHED = 0
    """It has children."""
    FEASIBLE = 1
    """Processed; its relaxation's solution was feasible."""
    INFEASIBLE = 2
    """Processed; infeasible, or no better than the incumbent."""
    CUT_OFF = 3
    """Deleted before it was processed: its bound, or that of a node above, was no better than the incumbent."""
    NEVER_PROCESSED = 4
    """Still open when its run ended by a limit or a restart."""
    UNFINISHED = 5
    """Its processing began, but the end of the solve or a restart came before SCIP said what became of it. The end may be a
    limit, an interrupt, or that the bounds of the whole tree have met."""


_COLUMNS: dict[str, str] = {
    "run": "i4",
    "number": "i8",
    "parent": "i4",
    "depth": "i4",
    "lower_bound": "f8",
    "outcome": "i1",
    "order": "i8",
    "lp_iterations": "i8",
}


@dataclass(frozen=True, eq=False)
class SearchTree:
    """All N nodes that a solve created, parents before children, over all runs (a restart begins a new root).

    Raises:
        ValueError: the arrays are of different lengths or contradict each other.
    """

    run: NDArray[np.int32]
    """(N,) int32: SCIP's run, ascending."""
    number: NDArray[np.int64]
    """(N,) int64: SCIP's number of the node, unique within a run."""
    parent: NDArray[np.int32]
    """(N,) int32: place of the parent in these arrays; -1 for a root."""
    depth: NDArray[np.int32]
    """(N,) int32: branchings between the root and the node."""
    lower_bound: NDArray[np.float64]
    """(N,) float64: last known lower bound in the transformed space (minimisation); infinite ones are ``+-inf``."""
    outcome: NDArray[np.int8]
    """(N,) int8: ``NodeOutcome``."""
    order: NDArray[np.int64]
    """(N,) int64: place among the processed nodes of the whole solve, from 0; -1 for a node that was never processed."""
    lp_iterations: NDArray[np.int64]
    """(N,) int64: simplex iterations of the node's own LPs (SCIPgetNNodeLPIterations): no diving, no strong branching; 0 for a node
    that was never processed or whose processing did not end. Of a node that was interrupted and taken up again, the last part."""

    def __post_init__(self) -> None:
        for name, dtype in _COLUMNS.items():
            object.__setattr__(self, name, _column(name, getattr(self, name), dtype))
        n = len(self.run)
        if any(len(getattr(self, name)) != n for name in _COLUMNS):
            raise ValueError("a search tree's arrays are of different lengths")
        inner = self.parent >= 0
        above = self.parent[inner]
        fits = bool((self.parent >= -1).all() and (self.parent < np.arange(n)).all())
        fits = fits and bool((self.run[inner] == self.run[above]).all() and (self.depth[inner] == self.depth[above] + 1).all())
        fits = fits and bool((self.depth[~inner] == 0).all() and (np.diff(self.run) >= 0).all())
        if not fits:
            raise ValueError("a search tree's nodes do not hang together")
        processed = np.sort(self.order[self.order >= 0])
        unprocessed = (self.outcome == NodeOutcome.CUT_OFF) | (self.outcome == NodeOutcome.NEVER_PROCESSED)
        possible = bool((self.outcome >= 0).all() and (self.outcome < len(NodeOutcome)).all() and (self.order >= -1).all())
        possible = possible and bool((unprocessed == (self.order < 0)).all() and (processed == np.arange(len(processed))).all())
        possible = possible and bool((self.lp_iterations >= 0).all())
        if not possible or np.isnan(self.lower_bound).any():
            raise ValueError("a search tree's outcomes, order, bounds or LP iterations are impossible")

    @property
    def n_created(self) -> int:
        """Number of nodes N."""
        return len(self.run)

    @cached_property
    def n_processed(self) -> int:
        """Number of processed nodes: SCIP's total node count."""
        return int((self.order >= 0).sum())

    @property
    def nbytes(self) -> int:
        """Memory of the arrays."""
        return sum(getattr(self, name).nbytes for name in _COLUMNS)

    def subtree_sizes(self) -> NDArray[np.int64]:
        """(N,) int64: number of created nodes in each node's subtree, itself included."""
        sizes = np.ones(self.n_created, dtype=np.int64)
        # Level by level from the deepest: np.add.at takes all nodes of one depth at once.
        by_depth = np.argsort(self.depth, kind="stable")
        ends = np.searchsorted(self.depth[by_depth], np.arange(1, int(self.depth.max(initial=0)) + 2))
        for depth in range(len(ends) - 1, 0, -1):
            level = by_depth[ends[depth - 1] : ends[depth]]
            np.add.at(sizes, self.parent[level], sizes[level])
        return sizes

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays by name."""
        return {name: getattr(self, name) for name in _COLUMNS}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> SearchTree:
        """The tree of ``to_arrays``.

        Raises:
            ValueError: an array is missing, of another kind, or contradicts the others.
        """
        if missing := [name for name in _COLUMNS if name not in arrays]:
            raise ValueError(f"a search tree lacks {', '.join(missing)}")
        for name, dtype in _COLUMNS.items():
            if arrays[name].dtype != np.dtype(dtype):
                raise ValueError(f"a search tree's {name} is {arrays[name].dtype}, not {np.dtype(dtype)}")
        return cls(**{name: arrays[name] for name in _COLUMNS})


assert tuple(field.name for field in fields(SearchTree)) == tuple(_COLUMNS)


def _column(name: str, values: Any, dtype: str) -> NDArray[Any]:
    given = np.asarray(values)
    with np.errstate(invalid="ignore"):  # said below
        column = given.astype(dtype, copy=False)
    if column.dtype.kind == "i" and not np.array_equal(column, given):
        raise ValueError(f"a search tree's {name} are integers of {8 * column.itemsize} bits")
    if column.ndim != 1:
        raise ValueError(f"a search tree's {name} has {column.ndim} dimensions, not one")
    return column


# The native recorder has this table of its own.
assert tuple(outcome.name for outcome in NodeOutcome) == TREE_OUTCOMES


class TreeRecorder:
    """Takes down every node of a model's solves. Made by ``record_tree``; refers to no model.

    A solve after ``freeTransform`` begins anew; one that goes on after a limit goes on here too.
    """

    def __init__(self, model: Model) -> None:
        self._log = TreeLog(model)

    def tree(self) -> SearchTree:
        """The tree of the last solve so far; also in a callback during it, and when its model is gone.

        Raises:
            MemoryError: there was no room for the tree.
            RuntimeError: SCIP's events did not make a tree.
        """
        return SearchTree(**self._log.columns())


def record_tree(model: Model) -> TreeRecorder:
    """Include a recorder of the search tree into a model that is not being solved.

    It is an event handler in C, whose cost does not show beside a node's LP. It works with any branching rule, with
    restarts, and in several threads, one model each.

    Raises:
        RuntimeError: the model is being solved, or was and is not freed of its transformed problem.
    """
    return TreeRecorder(model)
