"""What is recorded is a copy, once for each structure; what does not fit is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from revibranch.branching.episode import Episode
from revibranch.branching.episode_recorder import EpisodeRecorder
from revibranch.branching.state import ECOLE_VARIABLE_COLUMNS, BranchState

from .episodes import assert_same_state, tree_states


def test_missing_values_survive(tmp_path: Path) -> None:
    state = tree_states(0, 1)[0]
    features = state.variable_features.copy()
    features[:, 13] = np.nan
    recorder = EpisodeRecorder()
    scores = np.full(len(state.candidates), 1.0)
    scores[0] = np.nan
    changed = replace(state, variable_features=features)
    recorder.add(changed, 1, parent=-1, entered=-1, scores=scores)
    recorder.episode({}).save(tmp_path / "a.npz")
    episode = Episode.load(tmp_path / "a.npz")
    assert_same_state(episode.state(0), changed)
    np.testing.assert_array_equal(episode.scores(0), scores)
    assert np.isnan(episode.log_probability[0])


def test_ecoles_columns_can_be_kept_alone() -> None:
    state = tree_states(0, 1)[0]
    recorder = EpisodeRecorder(extended=False)
    lean = replace(state, variable_features=state.variable_features[:, :ECOLE_VARIABLE_COLUMNS])
    recorder.add(state, 0, parent=-1, entered=-1)
    recorder.add(lean, 0, parent=-1, entered=-1)
    episode = recorder.episode({})
    assert_same_state(episode.state(0), lean)
    assert_same_state(episode.state(1), lean)
    assert episode.nbytes < _episode_of([state, state]).nbytes
    with pytest.raises(ValueError, match="19 of 28 variable columns"):
        EpisodeRecorder().add(lean, 0, parent=-1, entered=-1)


def _episode_of(states: list[BranchState]) -> Episode:
    recorder = EpisodeRecorder()
    for state in states:
        recorder.add(state, 0, parent=-1, entered=-1)
    return recorder.episode({})


def test_a_structure_is_stored_once() -> None:
    one, ten = (_episode_of(tree_states(0, count, structures=1)) for count in (1, 10))
    assert ten.state(0).edge_variables is ten.state(9).edge_variables
    per_decision = _episode_of(tree_states(0, 10, structures=10)).nbytes - ten.nbytes
    assert per_decision > 0
    state = one.state(0)
    dynamic = 4 * (23 * state.n_variables + 3 * state.n_rows) + 12 * 8 + 8 + 5 * 4 + 1
    assert ten.nbytes - one.nbytes <= 9 * (dynamic + 4 * state.n_variables)


def test_recorded_views_may_change_afterwards() -> None:
    state = tree_states(0, 1)[0].copy()
    kept = state.copy()
    recorder = EpisodeRecorder()
    scores = np.ones(len(state.candidates))
    recorder.add(state, 0, parent=-1, entered=-1, scores=scores)
    for array in (state.variable_features, state.row_features, state.candidates, scores, state.edge_variables, state.edge_values):
        array[...] = 0
    state.row_offsets[...] = 0
    episode = recorder.episode({})
    assert_same_state(episode.state(0), kept)
    assert (episode.scores(0) == 1).all()


def test_an_episode_does_not_change_while_recording_goes_on() -> None:
    recorder = EpisodeRecorder()
    states = tree_states(0, 2)
    recorder.add(states[0], 0, parent=-1, entered=-1)
    first = recorder.episode({})
    recorder.add(states[1], 0, parent=0, entered=1)
    assert (len(first), len(recorder.episode({}))) == (1, 2)
    assert_same_state(first.state(0), states[0])


def test_what_does_not_fit_is_refused() -> None:
    recorder = EpisodeRecorder()
    state = tree_states(0, 1)[0]
    changes: list[dict[str, object]] = [
        {"choice": len(state.candidates)},
        {"choice": -1},
        {"parent": 0, "entered": 0},
        {"entered": 1},
        {"scores": np.ones(1)},
    ]
    for change in changes:
        arguments: dict[str, object] = {"choice": 0, "parent": -1, "entered": -1, **change}
        with pytest.raises(ValueError, match=r"fit|follow"):
            recorder.add(state, arguments.pop("choice"), **arguments)  # type: ignore[arg-type]
    assert len(recorder) == 0
    with pytest.raises(TypeError, match="JSON"):
        recorder.episode({"model": object()})  # type: ignore[dict-item]
