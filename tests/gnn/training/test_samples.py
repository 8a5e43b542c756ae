from __future__ import annotations

import zipfile
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
import pytest

from revibranch.branching.state import BranchState
from revibranch.gnn.training.samples import Recorder, Shard, ShardError

from .shards import tree_states, write_shard


def assert_same_state(found: BranchState, expected: BranchState) -> None:
    for field in fields(BranchState):
        one, other = getattr(found, field.name), getattr(expected, field.name)
        if isinstance(other, np.ndarray):
            assert one.dtype == other.dtype, field.name
            np.testing.assert_array_equal(one, other, err_msg=field.name)
    assert asdict(found.node) == asdict(expected.node)
    assert all(type(a) is type(b) for a, b in zip(asdict(found.node).values(), asdict(expected.node).values(), strict=True))


def test_states_and_scores_come_back_exactly(tmp_path: Path) -> None:
    states = write_shard(tmp_path / "a.npz", seed=3)
    shard = Shard(tmp_path / "a.npz")
    assert shard.facts == {"scip_version": "10.0"}
    assert len(shard) == len(states)
    for number, state in enumerate(states):
        assert_same_state(shard.state(number), state)
        np.testing.assert_array_equal(shard.scores(number), state.variable_features[state.candidates, 8])


def test_missing_values_survive(tmp_path: Path) -> None:
    state = tree_states(0, 1)[0]
    features = state.variable_features.copy()
    features[:, 13] = np.nan
    recorder = Recorder()
    scores = np.full(len(state.candidates), 1.0)
    scores[0] = np.nan
    changed = BranchState(**{**{f.name: getattr(state, f.name) for f in fields(state)}, "variable_features": features})
    recorder.add(changed, 1, parent=-1, entered=-1, scores=scores)
    recorder.write(tmp_path / "a.npz", {})
    shard = Shard(tmp_path / "a.npz")
    assert_same_state(shard.state(0), changed)
    np.testing.assert_array_equal(shard.scores(0), scores)


def test_a_structure_is_stored_once(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.npz", seed=0, count=10)
    with np.load(tmp_path / "a.npz") as arrays:
        assert arrays["structure_counts"].shape == (2, 3)
    shard = Shard(tmp_path / "a.npz")
    assert shard.state(0).edge_variables is shard.state(1).edge_variables


def test_recorded_views_may_change_afterwards(tmp_path: Path) -> None:
    state = tree_states(0, 1)[0]
    kept = state.copy()
    recorder = Recorder()
    scores = np.ones(len(state.candidates))
    recorder.add(state, 0, parent=-1, entered=-1, scores=scores)
    for array in (state.variable_features, state.row_features, state.candidates, scores):
        array.flags.writeable = True
        array[...] = 0
    for array in (state.edge_variables, state.edge_values):
        array.flags.writeable = True
        array[...] = 0
    recorder.write(tmp_path / "a.npz", {})
    assert_same_state(Shard(tmp_path / "a.npz").state(0), kept)
    assert (Shard(tmp_path / "a.npz").scores(0) == 1).all()


def test_only_samples_and_their_ancestors_are_kept(tmp_path: Path) -> None:
    # 0 -down-> 1 -up-> 3 (sample); 0 -up-> 2 leads to no sample; 4 is a second root with a sample below it.
    states = tree_states(1, 6)
    tree = [(-1, -1), (0, 0), (0, 1), (1, 1), (-1, -1), (4, 2)]
    recorder = Recorder()
    for number, (parent, entered) in enumerate(tree):
        scores = np.arange(len(states[number].candidates), dtype=float) if number in (3, 5) else None
        assert recorder.add(states[number], 1, parent=parent, entered=entered, scores=scores) == number
    recorder.write(tmp_path / "a.npz", {})
    shard = Shard(tmp_path / "a.npz")
    kept = [0, 1, 3, 4, 5]
    assert len(shard) == len(kept)
    for place, number in enumerate(kept):
        assert_same_state(shard.state(place), states[number])
    assert shard.samples.tolist() == [2, 4]
    assert [(step.decision, step.child) for step in shard.ancestors(2)] == [(0, 0), (1, 1)]
    assert [(step.decision, step.child) for step in shard.ancestors(4)] == [(3, 2)]
    assert shard.ancestors(0) == []


def test_a_solve_without_samples_is_an_empty_shard(tmp_path: Path) -> None:
    recorder = Recorder()
    recorder.add(tree_states(0, 1)[0], 0, parent=-1, entered=-1)
    recorder.write(tmp_path / "a.npz", {"nodes": 1})
    shard = Shard(tmp_path / "a.npz")
    shard.verify()
    assert len(shard) == len(shard.samples) == 0
    assert shard.facts == {"nodes": 1}


def test_what_does_not_fit_is_refused() -> None:
    recorder = Recorder()
    state = tree_states(0, 1)[0]
    for change in ({"choice": len(state.candidates)}, {"choice": -1}, {"parent": 0, "entered": 0}, {"entered": 1}, {"scores": np.ones(1)}):
        arguments = {"choice": 0, "parent": -1, "entered": -1, **change}
        with pytest.raises(ValueError, match=r"fit|follow"):
            recorder.add(state, arguments.pop("choice"), **arguments)


def test_every_truncation_is_one_clear_error(tmp_path: Path) -> None:
    write_shard(tmp_path / "whole.npz", seed=0)
    data = (tmp_path / "whole.npz").read_bytes()
    damaged = tmp_path / "damaged.npz"
    for length in range(0, len(data), 97):
        damaged.write_bytes(data[:length])
        with pytest.raises(ShardError, match="damaged") as caught:
            Shard(damaged).verify()
        assert "\n" not in str(caught.value)


def test_flipped_bytes_never_pass_for_other_numbers(tmp_path: Path) -> None:
    states = write_shard(tmp_path / "whole.npz", seed=0)
    data = bytearray((tmp_path / "whole.npz").read_bytes())
    damaged = tmp_path / "damaged.npz"
    for place in np.random.default_rng(0).integers(len(data), size=60).tolist():
        data[place] ^= 0xFF
        damaged.write_bytes(data)
        data[place] ^= 0xFF
        try:
            shard = Shard(damaged)
            shard.verify()
        except ShardError as error:
            assert str(damaged) in str(error)  # noqa: PT017
            continue
        for number, state in enumerate(states):  # a byte that means nothing, such as a time stamp
            assert_same_state(shard.state(number), state)


def test_contradictions_are_damage(tmp_path: Path) -> None:
    write_shard(tmp_path / "whole.npz", seed=0)
    with np.load(tmp_path / "whole.npz") as file:
        arrays = dict(file)
    changes = {
        "choice": np.full_like(arrays["choice"], 99),
        "parent": arrays["parent"] + 1,
        "candidates": arrays["candidates"] + 1000,
        "edge_variables": arrays["edge_variables"] - 1000,
        "structure": arrays["structure"] + 7,
        "row_static": arrays["row_static"][1:],
        "variable_dynamic": arrays["variable_dynamic"].astype(np.float64),
        "row_lengths": arrays["row_lengths"] + 1,
        "nodes": arrays["nodes"][1:],
    }
    for name, value in changes.items():
        np.savez(tmp_path / "bad.npz", **{**arrays, name: value})
        with pytest.raises(ShardError, match="damaged"):
            Shard(tmp_path / "bad.npz").verify()
    with zipfile.ZipFile(tmp_path / "bad.npz", "w") as archive:
        archive.writestr("other.txt", "nothing of ours")
    with pytest.raises(ShardError, match="damaged"):
        Shard(tmp_path / "bad.npz")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ShardError, match=r"nowhere\.npz does not exist"):
        Shard(tmp_path / "nowhere.npz")
