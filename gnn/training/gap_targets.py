"""Targets out of hindsight: what a decision gained of the gap that it had to close, against what was to be expected.

This is the redistribution that learns fastest (benchmarks/LEARNING.md): the cost of a search, log2 of the leaves of its
tree, is handed out to its decisions by how little of the gap to the optimum each of them closed. A decision's reward then
depends on what it chose and on nothing that came later, so there is nothing to bootstrap, and rewards of all searches stay
true for ever (where redistribution is perfect, Q-values are expected immediate rewards: Arjona-Medina et al. 2019, theorem 3).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...branching.episode import Episode
from ...branching.hindsight import Hindsight

__all__ = ["circumstances", "expected_levels", "gap_targets"]


def gap_targets(episode: Episode, hindsight: Hindsight, alpha: float) -> NDArray[np.float64]:
    """Levels of branching below each decision, (d,); NaN where hindsight does not know.

    Args:
        episode: the episode.
        hindsight: what its search's end tells.
        alpha: weight of the levels that the decision's own gains predict; the rest is that of the levels of the subtree which
            it got. Both are log2 of leaves, and their mean is geometric.
    """
    # A decision has two children, so its subtree has two leaves at least, unless a limit or a restart came in between.
    leaves = np.maximum(episode.subtree_sizes() + 1.0, 4.0) / 2.0
    levels: NDArray[np.float64] = np.exp(alpha * np.log(hindsight.levels()) + (1.0 - alpha) * np.log(np.log2(leaves)))
    return levels


def circumstances(episode: Episode, hindsight: Hindsight) -> NDArray[np.float64]:
    """(d, 5): what a decision's levels depend on, whatever it chooses: the gap, the depth, the number of candidates."""
    known = hindsight.known
    gap = np.zeros(len(known))
    gap[known] = np.log2(hindsight.gap[known] / max(1.0, abs(hindsight.optimum)))
    candidates = np.log2([len(episode.candidates(decision)) for decision in range(len(episode))])
    return np.column_stack([np.ones(len(gap)), gap, gap**2, np.log2(1.0 + episode.depth), candidates])


def expected_levels(contexts: Sequence[NDArray[np.float64]], levels: Sequence[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    """log2 of the levels that decisions in such circumstances had on average, by linear least squares over all episodes.

    Args:
        contexts: (d, p) ``circumstances`` of each episode.
        levels: (d,) of each episode, NaN where not known.

    Returns:
        (d,) of each episode.
    """
    known = [~np.isnan(part) for part in levels]
    inputs = np.concatenate([context[mask] for context, mask in zip(contexts, known, strict=True)])
    outputs = np.log2(np.concatenate([part[mask] for part, mask in zip(levels, known, strict=True)]))
    weights = np.linalg.lstsq(inputs, outputs, rcond=None)[0] if len(outputs) else np.zeros(inputs.shape[1])
    return [context @ weights for context in contexts]
