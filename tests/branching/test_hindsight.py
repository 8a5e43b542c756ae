"""What the end of a search tells of its decisions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from revibranch.branching.episode import Episode
from revibranch.branching.episode_recorder import EpisodeRecorder
from revibranch.branching.hindsight import look_back
from revibranch.branching.settings import apply_settings
from revibranch.branching.solving import attach, optimize
from revibranch.branching.tree import NodeOutcome, record_tree
from revibranch.instances.families import get

from .policies import MostFractional
from .trees import BRANCHED, CUT_OFF, FEASIBLE, INFEASIBLE, Told, told


def test_a_tree_by_hand() -> None:
    # The root (bound 2) has children 3 and 4; below 3 lie a solution of 10 and an infeasible node, below 4 one that
    # was cut off before it was processed.
    episode = told(
        [-1, 0, 0, 1, 1, 2, 2],
        [2.0, 3.0, 4.0, 10.0, 3.0, 4.0, 11.0],
        [BRANCHED, BRANCHED, BRANCHED, FEASIBLE, INFEASIBLE, CUT_OFF, INFEASIBLE],
    )
    found = look_back(episode)
    np.testing.assert_array_equal(found.optimum, 10.0)
    np.testing.assert_array_equal(found.gap, [8.0, 7.0, 6.0])
    np.testing.assert_array_equal(found.gains, [[1.0, 2.0], [np.inf, np.inf], [np.nan, np.inf]])
    np.testing.assert_array_equal(found.known, [True, True, False])
    levels = found.levels()
    assert np.exp2(-levels[0] / 8) + np.exp2(-levels[0] * 2 / 8) == pytest.approx(1.0)
    assert levels[1] == pytest.approx(1.0)
    assert np.isnan(levels[2])


def test_without_a_solution_or_a_gap_nothing_is_known() -> None:
    parts: tuple[list[int], list[float], list[NodeOutcome]] = ([-1, 0, 0], [2.0, 3.0, 4.0], [BRANCHED, INFEASIBLE, INFEASIBLE])
    assert not look_back(told(*parts)).known.any()
    assert not look_back(told(*parts, primal=2.0)).known.any()
    assert look_back(told(*parts, primal=9.0)).known.all()


def test_an_incumbent_that_decisions_saw_counts() -> None:
    assert look_back(told([-1, 0, 0], [2.0, 7.0, 4.0], [BRANCHED, FEASIBLE, INFEASIBLE], primal=5.0)).optimum == [5.0]


def test_what_another_run_saw_says_nothing() -> None:
    # After a restart the same solution is worth 30 less in the transformed space.
    parts = [-1, 0, 0, -1, 3, 3], [2.0, 3.0, 4.0, -28.0, -24.0, -23.0], [BRANCHED, INFEASIBLE, INFEASIBLE, BRANCHED, FEASIBLE, INFEASIBLE]
    episode = told(*parts, primal=10.0)
    episode.nodes[1, 5] = -20.0
    found = look_back(episode)
    np.testing.assert_array_equal(found.optimum, [10.0, -24.0])
    np.testing.assert_array_equal(found.gap, [8.0, 4.0])


def test_an_episode_without_tree_is_refused() -> None:
    episode: Any = Told(None, np.zeros((1, 12)), np.array([-1]))
    with pytest.raises(ValueError, match="no tree"):
        look_back(episode)


class Recording(MostFractional):
    """Branches on the most fractional candidate and takes down what it decides."""

    needs_path = True

    def __init__(self) -> None:
        self.recorder = EpisodeRecorder(extended=False)

    def remember(self, state: Any, path: Any, choice: int) -> int:
        parent, entered = (path[-1].memory, path[-1].child) if path else (-1, -1)
        return self.recorder.add(state, choice, parent=parent, entered=entered)


def solved(size: str, seed: int) -> Episode:
    family = get("auction")
    model = family.generate(size, seed, family.parameters()).to_model()
    apply_settings(model, "clean")
    policy, tree = Recording(), record_tree(model)
    attach(model, policy, strict=True)
    optimize(model)
    return policy.recorder.episode({}, tree.tree())


@pytest.mark.parametrize("seed", [0, 1])
def test_gains_of_real_solves(seed: int) -> None:
    episode = solved("50x250", seed)
    found = look_back(episode)
    assert found.known.mean() > 0.5
    assert (found.gains[found.known] > -1e-6).all()
    levels = found.levels()
    assert (levels[found.known] >= 1.0 - 1e-9).all()
    sizes = episode.subtree_sizes()
    # A decision whose children both needed no branching has the smallest subtree there is, and closed its gap.
    small = found.known & (sizes == 3)
    np.testing.assert_allclose(levels[small], 1.0)
    assert (np.isinf(found.gains).all(axis=1)[found.known] == small[found.known]).all()
