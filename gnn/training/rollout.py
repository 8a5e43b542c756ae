"""Rollouts: one solve with frozen weights, as a task that runs in this process, in another one, or under Ray."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...branching._scip import search_counts
from ...branching.episode import Episode
from ...branching.policy import Policy
from ...branching.settings import apply_limits, apply_settings
from ...branching.solving import attach, optimize
from ...branching.tree import record_tree
from ...instances.files import InstanceSource
from ..config import NetworkConfig
from ..native import NativePolicy
from .exploration import Exploration, Explorer

__all__ = ["RolloutResult", "RolloutTask", "Weights", "roll_out"]


@dataclass(frozen=True)
class Weights:
    """A frozen copy of a network."""

    config: NetworkConfig
    tensors: Mapping[str, NDArray[np.float32]]
    """By their names in the network's ``state_dict``."""


@dataclass(frozen=True, slots=True)
class RolloutTask:
    """One solve."""

    instance: InstanceSource
    settings: str
    node_limit: int
    time_limit: float
    exploration: Exploration
    entropy: tuple[int, ...]
    """Seeds of exploration."""
    random: bool = False
    """Branch at random, whatever the weights."""
    record: bool = True
    """Whether an episode comes back."""


@dataclass(frozen=True, slots=True)
class RolloutResult:
    """What came of a solve."""

    instance: str
    """Its name."""
    status: str
    nodes: int
    lp_iterations: int
    decisions: int
    seconds: float
    """SCIP's clock."""
    episode: Episode | None
    """None where nothing was recorded, or where there was nothing to decide."""


_latest: tuple[Weights, Policy] | None = None


def _policy(weights: Weights) -> Policy:
    """The network of these weights; that of the last call is kept, since a process solves many tasks with one copy.

    Where each task brings a copy of its own, as on Ray, it is folded anew for each.
    """
    global _latest
    latest = _latest
    if latest is None or latest[0] is not weights:
        latest = _latest = (weights, NativePolicy(weights.config, weights.tensors))
    return latest[1]


def roll_out(task: RolloutTask, weights: Weights | None) -> RolloutResult:
    """Solve the task's instance with these weights.

    Args:
        task: what to solve, and how.
        weights: the network; None branches at random.

    Raises:
        Exception: whatever the policy raised.
    """
    model = task.instance.load()
    apply_settings(model, task.settings)
    # Ctrl-C is the training loop's to handle, not SCIP's: a round must not end with a cut-off tree in it.
    apply_limits(model, seconds=task.time_limit, nodes=task.node_limit)
    model.setParam("misc/catchctrlc", False)
    policy = None if weights is None or task.random else _policy(weights)
    extended = weights is not None and weights.config.extended  # random decisions too must be readable by this network
    explorer = Explorer(policy, task.exploration, task.entropy, record=task.record, extended=extended)
    tree = record_tree(model) if task.record else None
    attach(model, explorer, strict=True)
    optimize(model)
    counts = search_counts(model)
    facts: dict[str, Any] = {
        "instance": task.instance.name,
        "status": model.getStatus(),
        "nodes": counts.nodes,
        "lp_iterations": counts.lp_iterations,
    }
    episode = None
    if explorer.recorder is not None and len(explorer.recorder):
        assert tree is not None
        episode = explorer.recorder.episode(facts, tree.tree())
    return RolloutResult(
        instance=task.instance.name,
        status=facts["status"],
        nodes=counts.nodes,
        lp_iterations=counts.lp_iterations,
        decisions=0 if explorer.recorder is None else len(explorer.recorder),
        seconds=model.getSolvingTime(),
        episode=episode,
    )
