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


@dataclass(frozen=True)
class Hindsight:
    """Of each of d decisions, in the transformed space (minimisation)."""

    optimum: float
    """The best solution that the search is known to have seen; ``inf`` without any."""
    gap: NDArray[np.float64]
    """(d,) from the bound of the decision's node to the optimum; not positive where the node was not needed."""
    gains: NDArray[np.float64]
    """(d, m) from that bound to those of nodes below it when they had been processed: its two children or, looking further
    ahead, their descendants. ``inf`` where such a node needed no branching itself; NaN where there is none, or where it was not
    processed to its end."""
    complete: NDArray[np.bool_]
    """(d,) where there are two children, both processed to their ends."""

    @property
    def known(self) -> NDArray[np.bool_]:
        """(d,) where there was something to gain, and what was gained is known."""
        something = np.isfinite(self.gap) & (self.gap > _CLOSED * np.maximum(1.0, abs(self.optimum)))
        known: NDArray[np.bool_] = something & self.complete
        return known

    def levels(self) -> NDArray[np.float64]:
        """``gap_levels`` of each decision, (d,); NaN where they are not known."""
        known = self.known
        levels = np.full(len(self.gap), np.nan)
        levels[known] = gap_levels(self.gap[known], self.gains[known])
        return levels


def look_back(episode: Episode, lookahead: int = 1) -> Hindsight:
    """What the end of the search tells of an episode's decisions.

    Args:
        episode: the episode.
        lookahead: levels k below a decision at which its gains are taken, at least 1: m = 2^k. Where the search did not go so
            deep, or did not come to an end, the last node on the way there stands for those below it.

    Raises:
        ValueError: the episode has no tree, or the tree lacks a decision.
    """
    tree, nodes = episode.tree, episode.tree_node
    if tree is None or (nodes < 0).any():
        raise ValueError("the episode has no tree that holds all decisions")
    solutions = tree.lower_bound[tree.outcome == NodeOutcome.FEASIBLE]
    optimum = float(min(episode.nodes[:, _PRIMAL_BOUND].min(initial=np.inf), solutions.min(initial=np.inf)))
    bounds = episode.nodes[:, _LP_OBJECTIVE]
    ahead, complete = _look_ahead(tree, lookahead)
    return Hindsight(optimum, optimum - bounds, ahead[nodes] - bounds[:, None], complete[nodes])


def _look_ahead(tree: SearchTree, levels: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Bounds that the nodes some levels below each node had reached, (N, 2^levels), and where both children's are known, (N,)."""
    pairs = _children(tree)
    two = pairs >= 0
    children = np.where(two, _reached(tree)[pairs], np.nan)
    complete: NDArray[np.bool_] = ~np.isnan(children).any(axis=1)
    ahead = children
    for _ in range(levels - 1):
        here = np.full((*pairs.shape, ahead.shape[1]), np.nan)
        here[:, :, 0] = children
        ahead = np.where((two & complete[pairs])[:, :, None], ahead[pairs], here).reshape(len(pairs), -1)
    return ahead, complete


def _reached(tree: SearchTree) -> NDArray[np.float64]:
    """The bound that a node had reached when it had been processed, (N,); NaN where that is not known."""
    closed = (tree.outcome == NodeOutcome.FEASIBLE) | (tree.outcome == NodeOutcome.INFEASIBLE)
    branched = np.where(tree.outcome == NodeOutcome.BRANCHED, tree.lower_bound, np.nan)
    reached: NDArray[np.float64] = np.where(closed, np.inf, branched)
    return reached


def _children(tree: SearchTree) -> NDArray[np.intp]:
    """Places of the two children of each node, (N, 2); -1 where there are not two."""
    by_parent = np.argsort(tree.parent, kind="stable")
    nodes = np.arange(tree.n_created)
    begin, end = (np.searchsorted(tree.parent[by_parent], nodes, side=side) for side in ("left", "right"))
    pairs = np.full((tree.n_created, 2), -1, dtype=np.intp)
    two = end - begin == 2
    for place in (0, 1):
        pairs[two, place] = by_parent[begin[two] + place]
    return pairs
