from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from revibranch.gnn.training.learners import LEARNERS
from revibranch.gnn.training.reinforcement_recipe import LearningSettings
from revibranch.gnn.training.targets import episode_targets, episode_units

from ...branching.trees import Tree, trees


@dataclass
class Told:
    """What targets ask of an episode."""

    tree: Tree

    def __len__(self) -> int:
        return len(self.tree)

    @property
    def parent(self) -> np.ndarray:
        return self.tree.parent

    @property
    def nodes(self) -> np.ndarray:
        generator = np.random.default_rng(len(self.tree))
        return generator.normal(size=(len(self.tree), 12))

    def subtree_sizes(self) -> np.ndarray:
        return self.tree.sizes


def targets(tree: Tree, learner: str, **changes: Any) -> tuple[Any, list[np.ndarray]]:
    episode: Any = Told(tree)
    units = episode_units(episode, LEARNERS[learner])
    settings = LearningSettings(**{"importance": "subtree", **changes})
    return episode_targets(episode, units, LEARNERS[learner], settings), units


@given(tree=trees(), learner=st.sampled_from(["revibranch", "bbmdp", "treedqn", "tmdp", "finetune"]), steps=st.integers(1, 5))
def test_with_true_sizes_at_the_bootstraps_every_target_is_the_true_size(tree: Tree, learner: str, steps: int) -> None:
    found, _ = targets(tree, learner, steps=steps)
    for decision in range(len(tree)):
        assert found.constant[decision] + sum(tree.sizes[other] for other in found.bootstraps[decision]) == tree.sizes[decision]
        assert all(decision in tree.ancestors(other) for other in found.bootstraps[decision])


@given(tree=trees(), learner=st.sampled_from(sorted(LEARNERS)))
def test_every_decision_is_in_one_unit(tree: Tree, learner: str) -> None:
    _, units = targets(tree, learner)
    assert sorted(np.concatenate(units).tolist()) == list(range(len(tree)))


@given(tree=trees(), importance=st.sampled_from(["subtree", "bound", "uniform"]), alpha=st.floats(0, 1), steps=st.integers(1, 50))
def test_redistributed_costs_of_a_path_sum_to_its_heads_size(tree: Tree, importance: str, alpha: float, steps: int) -> None:
    found, units = targets(tree, "revibranch", importance=importance, alpha=alpha, steps=steps)
    for path in units:
        to_go = 0.0
        costs = np.zeros(len(path))
        whole, _ = targets(tree, "revibranch", importance=importance, alpha=alpha, steps=len(tree) + 1)
        costs = whole.constant[path] - np.append(whole.constant[path][1:], 0.0)
        assert costs.sum() == pytest.approx(tree.sizes[path[0]])
        assert (costs >= -1e-9).all()
        for place in reversed(range(len(path))):
            to_go += costs[place]
            following = path[place + steps] if place + steps < len(path) else None
            later = 0.0 if following is None else whole.constant[following]
            assert found.constant[path[place]] + later == pytest.approx(to_go, abs=1e-6)
            assert found.bootstraps[path[place]] == (() if following is None else (following,))


def test_the_children_of_a_small_tree() -> None:
    tree = Tree(np.array([-1, 0, 0, 1]), np.array([-1, 0, 1, 0]), np.array([9, 5, 3, 3]), np.arange(4))
    found, _ = targets(tree, "treedqn")
    assert found.constant.tolist() == [1, 2, 3, 3]
    assert found.bootstraps == ((1, 2), (3,), (), ())
    found, _ = targets(tree, "bbmdp", steps=2)
    assert found.constant.tolist() == [3, 5, 3, 3]
    assert found.bootstraps == ((2, 3), (), (), ())
    found, _ = targets(tree, "retro")
    assert found.constant.tolist() == [1, 1, 0, 0]
