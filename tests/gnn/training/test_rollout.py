from __future__ import annotations

from dataclasses import replace
from time import sleep
from typing import Any

import numpy as np
import pytest
import torch

from revibranch.branching.state import variable_column_names
from revibranch.gnn.config import NetworkConfig
from revibranch.gnn.network import BranchingNetwork
from revibranch.gnn.training.exploration import Exploration, Explorer
from revibranch.gnn.training.instance_section import Kind
from revibranch.gnn.training.rollout import RolloutResult, RolloutTask, Weights, roll_out
from revibranch.gnn.training.tasks import open_tasks

KIND = Kind(family="auction", size="30x120")
TASK = RolloutTask(
    instance=KIND.source(3),
    settings="clean",
    node_limit=1000,
    time_limit=60.0,
    exploration=Exploration(0.5, 0.1),
    entropy=(0, 1, 3),
)


def weights(length: int = 4, seed: int = 0) -> Weights:
    torch.manual_seed(seed)
    config = NetworkConfig(width=8, heads=2, history_length=length, classes=8)
    network = BranchingNetwork(config)
    return Weights(config, {name: tensor.numpy() for name, tensor in network.state_dict().items()})


def same(one: RolloutResult, other: RolloutResult) -> bool:
    if (one.nodes, one.lp_iterations, one.decisions, one.status) != (other.nodes, other.lp_iterations, other.decisions, other.status):
        return False
    if one.episode is None or other.episode is None:
        return one.episode is other.episode
    pairs = [(getattr(one.episode, name), getattr(other.episode, name)) for name in ("choice", "parent", "entered", "log_probability")]
    states = [(one.episode.state(d), other.episode.state(d)) for d in range(len(one.episode))]
    pairs += [(a.variable_features, b.variable_features) for a, b in states]
    return all(np.array_equal(a, b, equal_nan=True) for a, b in pairs)


def test_an_episode_holds_every_decision_and_the_whole_tree() -> None:
    result = roll_out(TASK, weights())
    assert result.status == "optimal"
    assert result.episode is not None
    assert result.episode.tree is not None
    assert result.episode.tree.n_processed == result.nodes
    assert len(result.episode) == result.decisions > 0
    assert result.episode.subtree_sizes()[0] == result.episode.tree.n_created
    assert (result.episode.log_probability < 0).all()


def test_the_same_task_gives_the_same_episode_and_other_entropy_another() -> None:
    frozen = weights()
    first = roll_out(TASK, frozen)
    assert same(first, roll_out(TASK, frozen))
    assert not same(first, roll_out(replace(TASK, entropy=(0, 1, 4)), frozen))


@pytest.mark.parametrize("random", [True, False])
def test_without_recording_the_solve_is_the_same(random: bool) -> None:
    task = replace(TASK, random=random)
    recorded, plain = roll_out(task, weights()), roll_out(replace(task, record=False), weights())
    assert plain.episode is None
    assert (plain.nodes, plain.lp_iterations) == (recorded.nodes, recorded.lp_iterations)


def test_random_decisions_hold_the_columns_that_the_network_reads() -> None:
    everything = weights()
    extended = replace(everything, config=everything.config.model_copy(update={"variable_columns": variable_column_names()}))
    for frozen in (everything, extended):
        episode = roll_out(replace(TASK, random=True), frozen).episode
        assert episode is not None
        assert episode.state(0).variable_features.shape[1] == len(frozen.config.variable_columns)


def test_the_optimum_is_that_of_any_other_branching() -> None:
    results = [roll_out(replace(TASK, exploration=Exploration(epsilon=share)), weights()) for share in (0.0, 1.0)]
    assert all(result.status == "optimal" for result in results)


@pytest.mark.parametrize("workers", [2, pytest.param("ray", marks=pytest.mark.slow)])
def test_processes_and_ray_give_the_episodes_of_this_process(workers: Any) -> None:
    if workers == "ray":
        pytest.importorskip("ray")
    tasks = [replace(TASK, instance=KIND.source(seed), entropy=(0, 1, seed)) for seed in range(4)]
    frozen, later = weights(), weights(seed=1)
    pool = open_tasks(roll_out, workers, timeout=300)
    serial = open_tasks(roll_out, 0, timeout=300)
    try:
        for shared in (frozen, later, frozen):  # weights change between rounds: no worker may keep old ones
            found = {outcome.task.instance: outcome.result for outcome in pool.run(tasks, shared) if outcome}
            for outcome in serial.run(tasks, shared):
                assert outcome is not None
                theirs = found[outcome.task.instance]
                assert outcome.result is not None
                assert theirs is not None
                assert same(outcome.result, theirs)
    finally:
        pool.close()


def test_a_limit_counts_cpu_seconds_and_not_those_of_a_machine_that_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    score = Explorer.score

    def late(self: Explorer, *arguments: Any) -> Any:
        sleep(0.3)
        return score(self, *arguments)

    monkeypatch.setattr(Explorer, "score", late)
    result = roll_out(replace(TASK, time_limit=2.0, node_limit=12), weights())
    assert result.decisions > 5  # two seconds of the wall have room for no more
    assert result.status in ("totalnodelimit", "optimal")
