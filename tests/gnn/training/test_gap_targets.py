"""Targets out of hindsight."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from revibranch.branching.hindsight import look_back
from revibranch.branching.tree import NodeOutcome
from revibranch.gnn.training.gap_targets import circumstances, expected_levels, gap_targets
from revibranch.gnn.training.learners import LEARNERS
from revibranch.gnn.training.reinforcement_recipe import LearningSettings, ReplaySettings
from revibranch.gnn.training.replay import Replay, Stored, fit_baselines, store
from revibranch.gnn.training.targets import episode_targets, episode_units

from ...branching.trees import told

BRANCHED, FEASIBLE, INFEASIBLE, CUT_OFF = NodeOutcome.BRANCHED, NodeOutcome.FEASIBLE, NodeOutcome.INFEASIBLE, NodeOutcome.CUT_OFF


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


@pytest.mark.parametrize(("alpha", "root", "child"), [(1.0, 2.0, 1.0), (0.0, 2.0, 1.0), (0.5, 2.0, 1.0)])
def test_where_gains_are_even_both_kinds_of_levels_agree(alpha: float, root: float, child: float) -> None:
    found = gap_targets(episode(), look_back(episode()), alpha)
    np.testing.assert_allclose(found[:2], [root, child])
    assert np.isnan(found[2])


def test_alpha_weighs_what_was_gained_against_what_came() -> None:
    lopsided = told([-1, 0, 0], [2.0, 10.0, 3.0], [BRANCHED, FEASIBLE, INFEASIBLE], primal=10.0)
    lopsided.tree.lower_bound[2] = 3.0
    lopsided.tree.outcome[2] = BRANCHED  # as if its own children had been lost
    gained, grown = (gap_targets(lopsided, look_back(lopsided), alpha)[0] for alpha in (1.0, 0.0))
    assert grown == pytest.approx(1.0)
    assert gained > 1.5
    assert gap_targets(lopsided, look_back(lopsided), 0.25)[0] == pytest.approx(gained**0.25 * grown**0.75)


def test_decisions_without_hindsight_are_in_no_unit() -> None:
    stored = store(0, episode(), LEARNERS["revibranch"], LearningSettings(importance="gap"))
    assert sorted(np.concatenate(stored.units).tolist()) == [0, 1]
    assert all(len(unit) for unit in stored.units)
    units = episode_units(episode(), LEARNERS["revibranch"])
    targets = episode_targets(episode(), units, LEARNERS["revibranch"], LearningSettings(importance="gap"))
    assert targets.bootstraps == ((), (), ())
    np.testing.assert_allclose(targets.constant[:2], [2.0, 1.0])


def test_circumstances_are_finite_whatever_is_known() -> None:
    hopeless = told([-1, 0, 0], [2.0, 3.0, 4.0], [BRANCHED, INFEASIBLE, INFEASIBLE])
    for some in (episode(), hopeless):
        assert np.isfinite(circumstances(some, look_back(some))).all()


def test_what_circumstances_explain_is_expected() -> None:
    random = np.random.default_rng(0)
    contexts = [np.column_stack([np.ones(n), random.normal(size=(n, 2))]) for n in (30, 50)]
    levels = [np.exp2(context @ [2.0, 0.5, -1.0]) for context in contexts]
    known = [level.copy() for level in levels]
    known[0][::3] = np.nan
    for found, level in zip(expected_levels(contexts, known), levels, strict=True):
        np.testing.assert_allclose(found, np.log2(level), atol=1e-9)
    nothing = expected_levels(contexts, [np.full(30, np.nan), np.full(50, np.nan)])
    assert all((part == 0).all() for part in nothing)


def test_targets_less_their_baseline_lie_around_the_middle() -> None:
    episodes = [store(number, episode(), LEARNERS["revibranch"], LearningSettings(importance="gap")) for number in range(3)]
    fit_baselines(episodes, 4.0)
    for stored in episodes:
        assert stored.targets is not None
        np.testing.assert_allclose(np.log2(stored.targets.constant[:2]) - stored.baseline[:2], 4.0)


def test_other_targets_have_no_baseline() -> None:
    stored = store(0, episode(), LEARNERS["bbmdp"], LearningSettings())
    fit_baselines([stored], 4.0)
    np.testing.assert_array_equal(stored.baseline, np.zeros(3))


def test_a_replay_that_holds_nothing_to_learn_from_draws_nothing() -> None:
    empty: Any = Stored(0, episode(), [], None, [[], [], []])
    replay = Replay(ReplaySettings(), 8)
    replay.add(empty)
    replay.add(store(1, episode(), LEARNERS["revibranch"], LearningSettings(importance="gap")))
    assert {draw.stored.number for draw in replay.draw(np.random.default_rng(0), 50)} == {1}
    alone = Replay(ReplaySettings(), 8)
    alone.add(empty)
    assert alone.draw(np.random.default_rng(0), 5) == []
