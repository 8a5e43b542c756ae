"""Random trees of decisions for tests, as plain arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from revibranch.branching.tree import NodeOutcome, SearchTree

BRANCHED, FEASIBLE, INFEASIBLE, CUT_OFF = NodeOutcome.BRANCHED, NodeOutcome.FEASIBLE, NodeOutcome.INFEASIBLE, NodeOutcome.CUT_OFF


@dataclass(frozen=True)
class Tree:
    """A forest of d decisions (restarts make several roots): what an episode says of them."""

    parent: np.ndarray
    """(d,) decision before each, -1 for a root."""
    entered: np.ndarray
    """(d,) child of that decision, or -1 where another rule stood between."""
    sizes: np.ndarray
    """(d,) subtree sizes: decisions below plus nodes at which nothing was decided."""
    order: np.ndarray
    """(d,) processing order."""

    def __len__(self) -> int:
        return len(self.parent)

    def ancestors(self, decision: int) -> list[int]:
        """The decision and those above it, root first."""
        result = []
        while decision >= 0:
            result.append(decision)
            decision = int(self.parent[decision])
        return result[::-1]

    def subtree(self, decision: int) -> set[int]:
        return {other for other in range(len(self)) if decision in self.ancestors(other)}


@st.composite
def trees(draw: st.DrawFn, least: int = 1, most: int = 40) -> Tree:
    """From chains (parents close by) to bushes, with one root or several; processed in any order, parents first."""
    size = draw(st.integers(least, most))
    reach = draw(st.sampled_from([1, 3, most]))
    several = draw(st.booleans())
    generator = np.random.default_rng(draw(st.integers(0, 2**16)))
    parent = np.full(size, -1)
    for place in range(1, size):
        parent[place] = generator.integers(max(place - reach, -1 if several else 0), place)
    sizes = 1 + generator.integers(0, 3, size)
    for place in range(size - 1, 0, -1):
        if parent[place] >= 0:
            sizes[parent[place]] += sizes[place]
    waiting, order = [int(root) for root in np.flatnonzero(parent < 0)], np.zeros(size, dtype=np.int64)
    for time in range(size):
        taken = waiting.pop(int(generator.integers(len(waiting))))
        order[taken] = 10 * time
        waiting += [int(child) for child in np.flatnonzero(parent == taken)]
    return Tree(parent, np.where(parent >= 0, generator.integers(-1, 3, size), -1), sizes, order)


@dataclass
class Told:
    """What looking back and targets ask of an episode whose decisions are the branched nodes of a search tree."""

    tree: SearchTree | None
    nodes: np.ndarray
    tree_node: np.ndarray
    nbytes: int = 1000

    def __len__(self) -> int:
        return len(self.nodes)

    def subtree_sizes(self) -> np.ndarray:
        assert self.tree is not None
        return self.tree.subtree_sizes()[self.tree_node]


def told(parent: list[int], bounds: list[float], outcomes: list[NodeOutcome], *, primal: float = np.inf) -> Any:
    """An episode whose decisions are the branched nodes, in the tree's order; every root begins a run."""
    n = len(parent)
    depth = np.zeros(n, dtype=np.int32)
    for node in range(1, n):
        depth[node] = depth[parent[node]] + 1 if parent[node] >= 0 else 0
    processed = [outcome not in (CUT_OFF, NodeOutcome.NEVER_PROCESSED) for outcome in outcomes]
    order = np.where(processed, np.cumsum(processed) - 1, -1)
    tree = SearchTree(
        run=np.cumsum(np.array(parent) < 0),
        number=np.arange(1, n + 1),
        parent=np.array(parent),
        depth=depth,
        lower_bound=np.array(bounds),
        outcome=np.array(outcomes),
        order=order,
        lp_iterations=np.zeros(n, dtype=np.int64),
    )
    decisions = np.flatnonzero(np.array(outcomes) == BRANCHED)
    nodes = np.zeros((len(decisions), 12))
    nodes[:, 4], nodes[:, 5] = np.array(bounds)[decisions], primal
    return Told(tree, nodes, decisions.astype(np.int32))
