"""What the end of a search tells of its decisions: what each had to gain in the dual bound, and what it gained."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .episode import Episode
from .episode_arrays import NODE_FACTS
from .rewards import gap_levels
from .tree import NodeOutcome, SearchTree

__all__ = ["Hindsight", "look_back"]

_LP_OBJECTIVE, _PRIMAL_BOUND = (NODE_FACTS.index(name) for name in ("lp_objective", "primal_bound"))
_CLOSED = 1e-6
"""Gaps below this share of the optimum are closed: there was nothing to gain."""


@dataclass(frozen=True, eq=False)
class Hindsight:
    """Of each of d decisions, in the transformed space (minimisation)."""

    optimum: NDArray[np.float64]
    """(d,) the best solution that the decision's run is known to have seen, or an objective limit; ``inf`` without either. A restart may
    shift the transformed space's objective, so what another run saw says nothing here."""
    gap: NDArray[np.float64]
    """(d,) from the bound of the decision's node to the optimum; not positive where the node was not needed."""
    gains: NDArray[np.float64]
    """(d, 2) from that bound to the bound of each child when it had been processed, ``inf`` where the child needed no
    branching itself; NaN where a child was not processed to its end, or where there were not two."""

    @property
    def known(self) -> NDArray[np.bool_]:
        """(d,) where there was something to gain, and both gains are known."""
        something = np.isfinite(self.gap) & (self.gap > _CLOSED * np.maximum(1.0, np.abs(self.optimum)))
        known: NDArray[np.bool_] = something & ~np.isnan(self.gains).any(axis=1)
        return known

    def levels(self) -> NDArray[np.float64]:
        """``gap_levels`` of each decision, (d,); NaN where they are not known."""
        known = self.known
        levels = np.full(len(self.gap), np.nan)
        levels[known] = gap_levels(self.gap[known], self.gains[known, 0], self.gains[known, 1])
        return levels


def look_back(episode: Episode) -> Hindsight:
    """What the end of the search tells of an episode's decisions.

    Raises:
        ValueError: the episode has no tree, or the tree lacks a decision.
    """
    tree, nodes = episode.tree, episode.tree_node
    if tree is None or (nodes < 0).any():
        raise ValueError("the episode has no tree that holds all decisions")
    solutions = tree.outcome == NodeOutcome.FEASIBLE
    best = np.full(int(tree.run.max(initial=0)) + 1, np.inf)  # by run
    np.minimum.at(best, tree.run[nodes], episode.nodes[:, _PRIMAL_BOUND])
    np.minimum.at(best, tree.run[solutions], tree.lower_bound[solutions])
    optimum = best[tree.run[nodes]]
    bounds = episode.nodes[:, _LP_OBJECTIVE]
    return Hindsight(optimum, optimum - bounds, _children(tree, nodes, _reached(tree)) - bounds[:, None])


def _reached(tree: SearchTree) -> NDArray[np.float64]:
    """The bound that a node had reached when it had been processed, (N,); NaN where that is not known."""
    closed = (tree.outcome == NodeOutcome.FEASIBLE) | (tree.outcome == NodeOutcome.INFEASIBLE)
    branched = np.where(tree.outcome == NodeOutcome.BRANCHED, tree.lower_bound, np.nan)
    reached: NDArray[np.float64] = np.where(closed, np.inf, branched)
    return reached


def _children(tree: SearchTree, nodes: NDArray[np.integer], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The values of the two children of each node, (d, 2); NaN where there are not two."""
    by_parent = np.argsort(tree.parent, kind="stable")
    parents = tree.parent[by_parent]
    begin, end = np.searchsorted(parents, nodes, side="left"), np.searchsorted(parents, nodes, side="right")
    pairs = np.full((len(nodes), 2), np.nan)
    two = end - begin == 2
    for side in (0, 1):
        pairs[two, side] = values[by_parent[begin[two] + side]]
    return pairs
