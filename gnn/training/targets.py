"""Targets: what a decision's value is compared with, as a known part and decisions that a network values.

    target(d) = constant(d) + discount * sum over bootstraps b of d of size(b)

where ``size`` is the target network's estimate of the subtree below b's best candidate. All in created nodes, but for the
learner ``retro``, which counts steps, and importance by ``gap``, which counts levels and bootstraps nothing (``gap_targets``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...branching.episode import Episode
from ...branching.episode_arrays import NODE_FACTS
from ...branching.rewards import bound_gains, importance, redistribute, returns
from ...branching.trajectory import dfs_frontiers, heavy_paths, retro_paths
from .gap_targets import gap_targets
from .learners import Learner
from .reinforcement_recipe import LearningSettings

__all__ = ["Targets", "episode_targets", "episode_units", "path_targets"]

_NODE_LOWER_BOUND, _NODE_LP_OBJECTIVE = (NODE_FACTS.index(name) for name in ("lower_bound", "lp_objective"))


@dataclass(frozen=True)
class Targets:
    """Targets of some decisions of one episode."""

    constant: NDArray[np.float64]
    """(d,) what is known; NaN for a decision that cannot be learnt from."""
    bootstraps: tuple[tuple[int, ...], ...]
    """Per decision the decisions that a network values."""


def episode_units(episode: Episode, learner: Learner) -> list[NDArray[np.int64]]:
    """What is drawn from replay as a whole: paths, root down, or single decisions. Every decision is in exactly one."""
    if learner.paths == "heavy":
        return heavy_paths(episode.parent, episode.subtree_sizes())
    if learner.paths == "retro":
        return retro_paths(episode.parent, episode.nodes[:, _NODE_LOWER_BOUND])
    return [np.array([decision], dtype=np.int64) for decision in range(len(episode))]


def episode_targets(episode: Episode, units: Sequence[NDArray[np.int64]], learner: Learner, settings: LearningSettings) -> Targets:
    """Targets of all decisions of an episode, where they need no network: all but importance by attention."""
    if learner.target == "subtree":
        return _subtree_targets(episode, settings.steps)
    if learner.target == "children":
        return _subtree_targets(episode, 1)
    if learner.target == "return" and learner.paths == "single":
        return Targets(episode.subtree_sizes().astype(np.float64), ((),) * len(episode))
    if learner.paths == "heavy" and settings.importance == "gap":
        return Targets(gap_targets(episode, settings.alpha), ((),) * len(episode))
    constant = np.empty(len(episode))
    bootstraps: list[tuple[int, ...]] = [()] * len(episode)
    for unit in units:
        if learner.target == "steps":
            parts = _step_targets(episode, unit)
        elif learner.target == "return":
            parts = path_targets(episode, unit, settings, steps=len(episode))
        else:
            parts = path_targets(episode, unit, settings, steps=settings.steps)
        constant[unit] = parts.constant
        for decision, following in zip(unit.tolist(), parts.bootstraps, strict=True):
            bootstraps[decision] = following
    return Targets(constant, tuple(bootstraps))


def path_targets(
    episode: Episode,
    path: NDArray[np.int64],
    settings: LearningSettings,
    *,
    steps: int,
    attention: NDArray[np.float64] | None = None,
) -> Targets:
    """k-step targets along one path, from rewards redistributed over it (design: IWRR).

    Args:
        episode: the episode.
        path: (L,) its decisions, root down.
        settings: kind of importance (but ``gap``, which knows no paths) and alpha.
        steps: k; from k >= L on nothing is bootstrapped, and the target is the return itself.
        attention: (L,) weights, where importance is by attention.
    """
    if settings.importance == "gap":
        raise ValueError("importance 'gap' knows no paths")
    sizes = episode.subtree_sizes()[path].astype(np.float64)
    length = len(path)
    if settings.importance == "subtree" and settings.alpha == 1.0:
        # The general formula telescopes to the tree's own return; taken directly it is also exact.
        to_go = sizes
    else:
        gains = bound_gains(episode.nodes[path, _NODE_LP_OBJECTIVE]) if settings.importance == "bound" else None
        weights = importance(settings.importance, sizes, gains=gains, attention=attention)
        to_go = -returns(redistribute(weights, float(sizes[0]), settings.alpha))
    later = np.concatenate([to_go[steps:], np.zeros(min(steps, length))])
    bootstraps = tuple((int(path[place + steps]),) if place + steps < length else () for place in range(length))
    return Targets(to_go - later, bootstraps)


def _subtree_targets(episode: Episode, steps: int) -> Targets:
    """The first k decisions of the subtree, as they were processed, are expanded; their frontier is bootstrapped."""
    order = np.arange(len(episode))
    below = np.zeros(len(episode), dtype=np.int64)
    sizes = episode.subtree_sizes()
    inner = episode.parent >= 0
    np.add.at(below, episode.parent[inner], sizes[inner])
    own = sizes - below  # the decision itself and its children that are no decisions
    frontiers = dfs_frontiers(episode.parent, order, steps)
    constant = np.array([own[closed].sum() for closed, _ in frontiers], dtype=np.float64)
    return Targets(constant, tuple(tuple(frontier.tolist()) for _, frontier in frontiers))


def _step_targets(episode: Episode, path: NDArray[np.int64]) -> Targets:
    """-1 a step and 0 where the branching leaves no open child, as costs; the next decision of the path is bootstrapped."""
    has_child = np.zeros(len(episode), dtype=np.bool_)
    has_child[episode.parent[episode.parent >= 0]] = True
    following = tuple((int(decision),) for decision in path[1:])
    return Targets(has_child[path].astype(np.float64), (*following, ()))
