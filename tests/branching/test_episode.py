"""What was recorded comes back exactly, from memory, from a pipe and from a file, whole or in part."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from revibranch.branching.episode import Episode
from revibranch.branching.episode_recorder import EpisodeRecorder
from revibranch.branching.tree import SearchTree

from .episodes import assert_same_episode, assert_same_state, chain, solved, tree_states


@pytest.mark.parametrize("settings", ["clean", "default"])
@pytest.mark.parametrize("extended", [False, True])
def test_a_recorded_solve_is_what_the_policy_saw(extended: bool, settings: str) -> None:
    episode, policy = solved(extended, settings)
    assert len(episode) == len(policy.seen) >= 3
    assert episode.facts == {"status": "optimal", "gap": 0.5}
    assert len(episode.samples) == 0
    structures = {episode.state(decision).structure_id for decision in range(len(episode))}
    if settings == "default":
        assert len(structures) > 1
        assert episode.run.max() > 1
    for decision, (state, path, choice) in enumerate(policy.seen):
        assert_same_state(replace(episode.state(decision), structure_id=state.structure_id), state)
        assert [(step.decision, step.child) for step in episode.ancestors(decision)] == path
        assert episode.choice[decision] == choice
        assert episode.log_probability[decision] == -0.1 * (decision + 1)
        assert (episode.node_number[decision], episode.depth[decision], episode.run[decision]) == (
            state.node.number,
            state.node.depth,
            state.node.run,
        )
        np.testing.assert_array_equal(episode.candidates(decision), state.candidates)
        assert np.isnan(episode.scores(decision)).all()


def test_decisions_know_their_place_in_the_tree() -> None:
    episode, _ = solved()
    tree = episode.tree
    assert tree is not None
    np.testing.assert_array_equal(tree.number[episode.tree_node], episode.node_number)
    np.testing.assert_array_equal(tree.depth[episode.tree_node], episode.depth)
    sizes = episode.subtree_sizes()
    assert sizes[0] == tree.n_created  # the root's decision
    inner = episode.parent >= 0
    # Every branching node was a decision of the plugin, so the decision before is the parent node.
    np.testing.assert_array_equal(tree.parent[episode.tree_node[inner]], episode.tree_node[episode.parent[inner]])
    assert (sizes[inner] < sizes[episode.parent[inner]]).all()
    assert (sizes >= 3).all()


def test_without_its_tree_an_episode_has_no_sizes() -> None:
    recorder, _ = chain(0)
    episode = recorder.episode({})
    assert (episode.tree_node == -1).all()
    with pytest.raises(ValueError, match="no tree"):
        episode.subtree_sizes()
    solved_tree = solved()[0].tree
    assert solved_tree is not None
    other = SearchTree(**{name: array[:1] for name, array in solved_tree.to_arrays().items()})
    with pytest.raises(ValueError, match="not hold all decisions"):
        recorder.episode({}, other).subtree_sizes()


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("extended", [False, True])
def test_the_same_from_a_file_and_from_a_pipe(tmp_path: Path, compress: bool, extended: bool) -> None:
    episode, _ = solved(extended)
    episode.save(tmp_path / "a.npz", compress=compress)
    assert_same_episode(Episode.load(tmp_path / "a.npz"), episode)
    assert_same_episode(pickle.loads(pickle.dumps(episode)), episode)
    Episode.load(tmp_path / "a.npz").save(tmp_path / "b.npz", compress=compress)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npz", "b.npz"]


def test_states_and_scores_come_back_exactly(tmp_path: Path) -> None:
    recorder, states = chain(3)
    assert recorder.n_samples == len(recorder) == len(states)
    recorder.episode({"scip_version": "10.0"}).save(tmp_path / "a.npz")
    episode = Episode.load(tmp_path / "a.npz")
    assert episode.facts == {"scip_version": "10.0"}
    assert episode.tree is None
    for number, state in enumerate(states):
        assert_same_state(episode.state(number), state)
        np.testing.assert_array_equal(episode.scores(number), state.variable_features[state.candidates, 8])


def test_only_decisions_asked_for_and_their_ancestors_are_kept(tmp_path: Path) -> None:
    # 0 -down-> 1 -up-> 3 (sample); 0 -up-> 2 leads to no sample; 4 is a second root with a sample below it.
    states = tree_states(1, 6)
    tree = [(-1, -1), (0, 0), (0, 1), (1, 1), (-1, -1), (4, 2)]
    recorder = EpisodeRecorder()
    for number, (parent, entered) in enumerate(tree):
        scores = np.arange(len(states[number].candidates), dtype=float) if number in (3, 5) else None
        assert recorder.add(states[number], 1, parent=parent, entered=entered, scores=scores) == number
    whole = recorder.episode({"a": 1})
    episode = whole.kept(whole.samples)
    kept = [0, 1, 3, 4, 5]
    assert len(episode) == len(kept)
    for place, number in enumerate(kept):
        found = replace(episode.state(place), structure_id=states[number].structure_id)
        assert_same_state(found, states[number])
        np.testing.assert_array_equal(episode.scores(place), whole.scores(number))
    assert episode.samples.tolist() == [2, 4]
    assert [(step.decision, step.child) for step in episode.ancestors(2)] == [(0, 0), (1, 1)]
    assert [(step.decision, step.child) for step in episode.ancestors(4)] == [(3, 2)]
    assert episode.ancestors(0) == []
    assert_same_episode(episode.kept(range(5)), episode)
    # A structure that no decision needs goes too.
    assert whole.kept([0]).nbytes < whole.nbytes / 2


def test_decisions_are_numbered_from_both_ends() -> None:
    recorder, _ = chain(0)
    episode = recorder.episode({})
    for number in range(6):
        for same in (number - 6, np.int32(number - 6), np.int64(number)):
            np.testing.assert_array_equal(episode.candidates(same), episode.candidates(number))
            np.testing.assert_array_equal(episode.scores(same), episode.scores(number))
            assert len(episode.scores(same)) == len(episode.candidates(same)) > 0
            assert_same_state(episode.state(same), episode.state(number))
            assert episode.ancestors(same) == episode.ancestors(number)
            assert_same_episode(episode.kept([same]), episode.kept([number]))
    assert len(episode.kept([-1])) == 6
    assert len(episode.kept([-6, 1])) == 2


METHODS: dict[str, Callable[[Episode, Any], object]] = {
    "candidates": Episode.candidates,
    "scores": Episode.scores,
    "state": Episode.state,
    "ancestors": Episode.ancestors,
    "kept": lambda episode, decision: episode.kept([0, decision]),
}


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_what_is_no_decision_is_told(method: Callable[[Episode, Any], object]) -> None:
    recorder, _ = chain(0)
    episode = recorder.episode({})
    for number in (6, -7, 2**70, np.int64(100)):
        with pytest.raises(IndexError, match=rf"^there is no decision {number}: the episode has 6$"):
            method(episode, number)
    for other in (1.0, True, np.True_, None, "1"):
        with pytest.raises(TypeError, match=r"integer|number"):
            method(episode, other)
    with pytest.raises(IndexError, match="there is no decision 0: the episode has 0"):
        method(episode.kept([]), 0)


@given(st.data())
def test_what_is_kept_is_as_it_was(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 12))
    states = tree_states(count, count, structures=data.draw(st.integers(1, min(3, count))))
    recorder = EpisodeRecorder(extended=data.draw(st.booleans()))
    for number, state in enumerate(states):
        parent = data.draw(st.integers(-1, number - 1))
        scores = np.full(len(state.candidates), float(number)) if data.draw(st.booleans()) else None
        recorder.add(state, 1, parent=parent, entered=-1 if parent < 0 else number % 3, scores=scores, log_probability=-number / 7)
    whole = recorder.episode({})
    asked = data.draw(st.sets(st.integers(0, count - 1)))
    places = sorted(asked | {step.decision for number in asked for step in whole.ancestors(number)})
    part = whole.kept(asked)
    assert len(part) == len(places)
    for place, number in enumerate(places):
        assert part.node_number[place] == whole.node_number[number]
        assert part.log_probability[place] == whole.log_probability[number]
        assert [(places[step.decision], step.child) for step in part.ancestors(place)] == [
            (step.decision, step.child) for step in whole.ancestors(number)
        ]
        assert_same_state(part.state(place), replace(whole.state(number), structure_id=part.state(place).structure_id))
        np.testing.assert_array_equal(part.scores(place), whole.scores(number))


def test_an_empty_episode(tmp_path: Path) -> None:
    for episode in (EpisodeRecorder().episode({"nodes": 1}), chain(0)[0].episode({"nodes": 1}).kept([])):
        episode.save(tmp_path / "a.npz")
        again = Episode.load(tmp_path / "a.npz")
        assert len(again) == len(again.samples) == 0
        assert again.facts == {"nodes": 1}
