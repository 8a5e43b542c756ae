"""Targets out of hindsight."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from revibranch.gnn.training.gap_targets import gap_targets
from revibranch.gnn.training.learners import LEARNERS
from revibranch.gnn.training.reinforcement_recipe import LearningSettings, ReplaySettings
from revibranch.gnn.training.replay import Replay, Stored, store
from revibranch.gnn.training.targets import episode_targets, episode_units

from ...branching.trees import BRANCHED, CUT_OFF, FEASIBLE, INFEASIBLE, told


def episode() -> Any:
    """The root gains 4 and 4 of 8; one child closes its gap, the other has a child of its own that nobody looked at."""
    found = told(
        [-1, 0, 0, 1, 1, 2, 2],
        [2.0, 6.0, 6.0, 10.0, 6.0, 6.0, 11.0],
        [BRANCHED, BRANCHED, BRANCHED, FEASIBLE, INFEASIBLE, CUT_OFF, INFEASIBLE],
    )
    found.parent = np.array([-1, 0, 0])
    found.entered = np.array([-1, 0, 1])
    return found


@pytest.mark.parametrize("alpha", [1.0, 0.0, 0.5])
def test_where_gains_are_even_both_kinds_of_levels_agree(alpha: float) -> None:
    found = gap_targets(episode(), alpha)
    np.testing.assert_allclose(found[:2], [2.0, 1.0])
    assert np.isnan(found[2])


def test_alpha_weighs_what_was_gained_against_what_came() -> None:
    lopsided = told([-1, 0, 0], [2.0, 10.0, 3.0], [BRANCHED, FEASIBLE, INFEASIBLE], primal=10.0)
    lopsided.tree.lower_bound[2] = 3.0
    lopsided.tree.outcome[2] = BRANCHED  # as if its own children had been lost
    gained, grown = (gap_targets(lopsided, alpha)[0] for alpha in (1.0, 0.0))
    assert grown == pytest.approx(1.0)
    assert gained > 1.5
    assert gap_targets(lopsided, 0.25)[0] == pytest.approx(gained**0.25 * grown**0.75)


def test_decisions_without_hindsight_are_in_no_unit() -> None:
    stored = store(0, episode(), LEARNERS["revibranch"], LearningSettings(importance="gap"))
    assert sorted(np.concatenate(stored.units).tolist()) == [0, 1]
    assert all(len(unit) for unit in stored.units)
    units = episode_units(episode(), LEARNERS["revibranch"])
    targets = episode_targets(episode(), units, LEARNERS["revibranch"], LearningSettings(importance="gap"))
    assert targets.bootstraps == ((), (), ())
    np.testing.assert_allclose(targets.constant[:2], [2.0, 1.0])


def test_a_replay_that_holds_nothing_to_learn_from_draws_nothing() -> None:
    empty: Any = Stored(0, episode(), [], None, [[], [], []])
    replay = Replay(ReplaySettings(), 8)
    replay.add(empty)
    replay.add(store(1, episode(), LEARNERS["revibranch"], LearningSettings(importance="gap")))
    assert {draw.stored.number for draw in replay.draw(np.random.default_rng(0), 50)} == {1}
    alone = Replay(ReplaySettings(), 8)
    alone.add(empty)
    assert alone.draw(np.random.default_rng(0), 5) == []
