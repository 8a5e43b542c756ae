"""Targets out of hindsight: what a decision gained of the gap that it had to close.

This is the redistribution that learns fastest (benchmarks/LEARNING.md): the cost of a search, log2 of the leaves of its
tree, is handed out to its decisions by how little of the gap to the optimum each of them closed. A decision's reward then
depends on what it chose and on nothing that came later, so there is nothing to bootstrap, and rewards of all searches stay
true for ever (where redistribution is perfect, Q-values are expected immediate rewards: Arjona-Medina et al. 2019, theorem 3).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...branching.episode import Episode
from ...branching.hindsight import look_back

__all__ = ["gap_targets"]


def gap_targets(episode: Episode, alpha: float) -> NDArray[np.float64]:
    """Levels of branching below each decision, (d,); NaN where hindsight does not know.

    Args:
        episode: the episode.
        alpha: weight of the levels that the decision's own gains predict; the rest is that of the levels of the subtree which
            it got. Both are log2 of leaves, and their mean is geometric.
    """
    # A decision has two children, so its subtree has two leaves at least, unless a limit or a restart came in between.
    leaves = np.maximum(episode.subtree_sizes() + 1.0, 4.0) / 2.0
    levels: NDArray[np.float64] = np.exp(alpha * np.log(look_back(episode).levels()) + (1.0 - alpha) * np.log(np.log2(leaves)))
    return levels
