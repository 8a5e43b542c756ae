"""What was recorded comes back exactly, from memory, from a pipe and from a file; and what is damaged says so."""

from __future__ import annotations

import json
import os
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import asdict, fields, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from revibranch.branching import files
from revibranch.branching.brancher import attach, optimize
from revibranch.branching.episode import Episode, EpisodeError, EpisodeRecorder
from revibranch.branching.policy import PathStep
from revibranch.branching.settings import apply_settings
from revibranch.branching.state import ECOLE_VARIABLE_COLUMNS, BranchState
from revibranch.branching.tree import SearchTree, record_tree

from .episodes import chain, tree_states
from .models import INSTANCES, knapsack, read
from .policies import MostFractional


def assert_same_state(found: BranchState, expected: BranchState) -> None:
    for field in fields(BranchState):
        one, other = getattr(found, field.name), getattr(expected, field.name)
        if isinstance(other, np.ndarray):
            assert one.dtype == other.dtype, field.name
            np.testing.assert_array_equal(one, other, err_msg=field.name)
    assert asdict(found.node) == asdict(expected.node)
    assert all(type(a) is type(b) for a, b in zip(asdict(found.node).values(), asdict(expected.node).values(), strict=True))


def assert_same_episode(found: Episode, expected: Episode) -> None:
    assert found.facts == expected.facts
    assert found.nbytes == expected.nbytes
    assert len(found) == len(expected)
    for name in ("choice", "parent", "entered", "node_number", "depth", "run", "log_probability", "samples", "nodes", "tree_node"):
        one, other = getattr(found, name), getattr(expected, name)
        assert one.dtype == other.dtype, name
        np.testing.assert_array_equal(one, other, err_msg=name)
    for decision in range(len(expected)):
        assert_same_state(found.state(decision), expected.state(decision))
        np.testing.assert_array_equal(found.scores(decision), expected.scores(decision))
    assert (found.tree is None) == (expected.tree is None)
    if found.tree is not None and expected.tree is not None:
        for name, array in expected.tree.to_arrays().items():
            np.testing.assert_array_equal(found.tree.to_arrays()[name], array, err_msg=name)


class Recording(MostFractional):
    """Records its decisions, and keeps copies of their states and paths beside."""

    needs_path = True

    def __init__(self, extended: bool) -> None:
        self.extended = extended
        self.recorder = EpisodeRecorder(extended)
        self.seen: list[tuple[BranchState, list[tuple[int, int]], int]] = []

    def remember(self, state: BranchState, path: tuple[PathStep, ...], choice: int) -> int:
        self.seen.append((state.copy(), [(step.memory, step.child) for step in path], choice))
        parent, entered = (path[-1].memory, path[-1].child) if path else (-1, -1)
        return self.recorder.add(state, choice, parent=parent, entered=entered, log_probability=-0.1 * len(self.seen))


def solved(extended: bool = True, settings: str = "clean") -> tuple[Episode, Recording]:
    model = knapsack(4, 16, 3) if settings == "clean" else read(INSTANCES / "lseu.mps")  # which restarts, and cuts
    apply_settings(model, settings)
    policy = Recording(extended)
    recorder = record_tree(model)
    attach(model, policy, strict=True)
    optimize(model)
    return policy.recorder.episode({"status": model.getStatus(), "gap": 0.5}, recorder.tree()), policy


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


# ---- files -------------------------------------------------------------------------------------------------------


def whole_file(path: Path) -> Episode:
    episode, _ = solved()
    episode = episode.kept([2])
    episode.save(path)
    return episode


def test_every_truncation_is_one_clear_error(tmp_path: Path) -> None:
    whole_file(tmp_path / "whole.npz")
    data = (tmp_path / "whole.npz").read_bytes()
    damaged = tmp_path / "damaged.npz"
    for length in range(0, len(data), 197):
        damaged.write_bytes(data[:length])
        with pytest.raises(EpisodeError, match="damaged") as caught:
            Episode.load(damaged)
        assert "\n" not in str(caught.value)


def test_flipped_bytes_never_pass_for_other_numbers(tmp_path: Path) -> None:
    episode = whole_file(tmp_path / "whole.npz")
    data = bytearray((tmp_path / "whole.npz").read_bytes())
    damaged = tmp_path / "damaged.npz"
    refused = 0
    for place in np.random.default_rng(0).integers(len(data), size=60).tolist():
        data[place] ^= 0xFF
        damaged.write_bytes(data)
        data[place] ^= 0xFF
        try:
            found = Episode.load(damaged)
        except EpisodeError as error:
            assert str(damaged) in str(error)  # noqa: PT017
            refused += 1
            continue
        assert_same_episode(found, episode)  # a byte that means nothing, such as a time stamp
    assert refused > 30


def test_contradictions_are_damage(tmp_path: Path) -> None:
    whole_file(tmp_path / "whole.npz")
    with np.load(tmp_path / "whole.npz") as file:
        arrays = dict(file)
    header = json.loads(arrays["header"].tobytes())

    def with_header(**changes: object) -> np.ndarray:
        return np.frombuffer(json.dumps({**header, **changes}).encode(), dtype=np.uint8)

    nodes = arrays["nodes"].copy()
    nodes[0, 0] = np.nan
    changes: dict[str, np.ndarray] = {
        "choice": np.full_like(arrays["choice"], 99),
        "parent": arrays["parent"] + 1,
        "entered": arrays["entered"] + 3,
        "candidates": arrays["candidates"] + 1000,
        "edge_variables": arrays["edge_variables"] - 1000,
        "structure": arrays["structure"] + 7,
        "structure_counts": -arrays["structure_counts"],
        "row_static": arrays["row_static"][1:],
        "variable_dynamic": arrays["variable_dynamic"].astype(np.float64),
        "row_lengths": arrays["row_lengths"] + 1,
        "nodes": nodes,
        "sample": ~arrays["sample"],
        "log_probability": arrays["log_probability"][1:],
        "tree_parent": arrays["tree_parent"] + 1,
        "tree_outcome": arrays["tree_outcome"] + 100,
        "tree_order": arrays["tree_order"].astype(np.int32),
        "surprise": arrays["nodes"],
        "header": with_header(facts=[]),
    }
    for name, value in changes.items():
        np.savez(tmp_path / "bad.npz", **{**arrays, name: value})
        with pytest.raises(EpisodeError, match=r"bad\.npz is damaged") as caught:
            Episode.load(tmp_path / "bad.npz")
        assert "\n" not in str(caught.value), name
    for missing in ("nodes", "tree_run", "header"):
        np.savez(tmp_path / "bad.npz", **{name: array for name, array in arrays.items() if name != missing})
        with pytest.raises(EpisodeError, match=r"bad\.npz is damaged"):
            Episode.load(tmp_path / "bad.npz")
    for header_bytes in (with_header(format=1), with_header(row_columns=["a"])):
        np.savez(tmp_path / "old.npz", **{**arrays, "header": header_bytes})
        with pytest.raises(EpisodeError, match="collect it again"):
            Episode.load(tmp_path / "old.npz")
    with zipfile.ZipFile(tmp_path / "bad.npz", "w") as archive:
        archive.writestr("other.txt", "nothing of ours")
    with pytest.raises(EpisodeError, match="damaged"):
        Episode.load(tmp_path / "bad.npz")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(EpisodeError, match=r"nowhere\.npz does not exist"):
        Episode.load(tmp_path / "nowhere.npz")


@pytest.mark.parametrize("content", [b"new", lambda file: file.write(b"new")])
def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | Callable) -> None:
    target = tmp_path / "a"
    target.write_bytes(b"old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            files.write_atomically(target, content)
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]
    files.write_atomically(target, content)
    assert target.read_bytes() == b"new"
