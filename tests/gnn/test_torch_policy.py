from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from revibranch.branching.policy import PathStep
from revibranch.branching.state import BranchState, variable_column_names
from revibranch.gnn.batch import GraphBatch
from revibranch.gnn.checkpoint import load_checkpoint, save_checkpoint
from revibranch.gnn.description import Description
from revibranch.gnn.network import BranchingNetwork, NetworkConfig
from revibranch.gnn.revival import gather_history
from revibranch.gnn.torch_policy import NetworkPolicy

from .networks import fresh
from .states import facts, golden_states, random_state


def step(memory: object, child: int = 0) -> PathStep:
    return PathStep(node=1, depth=0, child=child, memory=memory)


def at_next_node(state: BranchState) -> BranchState:
    """What a buffer makes of its next node: the same memory for the structure, other features."""
    features = state.variable_features.copy()
    features[:, 8] += 1.0
    return replace(state, variable_features=features, node=facts(number=state.node.number + 1))


def count_encodings(policy: NetworkPolicy, monkeypatch) -> list[int]:
    calls: list[int] = []
    encode = policy.network.encode

    def counted(batch):
        calls.append(1)
        return encode(batch)

    monkeypatch.setattr(policy.network, "encode", counted)
    return calls


def test_scores_equal_the_networks_on_golden_states():
    network = fresh()
    policy = NetworkPolicy(network)
    for state in golden_states():
        with torch.no_grad():
            expected = network(GraphBatch.from_states([state])).numpy()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            scores = policy.score(state, [])
        assert scores.dtype == np.float32
        np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_torchs_defaults_for_new_tensors_change_nothing(tmp_path, dtype):
    path, state = tmp_path / "policy.safetensors", golden_states()[0]
    network = BranchingNetwork(NetworkConfig(width=16, history_length=3, classes=24, highest=12.0))
    network.fit_normalisation([state])
    save_checkpoint(path, network, Description(family=None))

    def scored():
        policy = NetworkPolicy(load_checkpoint(path)[0])
        scores = policy.score(state, [])
        memory = policy.remember(state, [], 0)
        return scores, policy.score(state, [step(memory)])

    expected = scored()
    torch.set_default_dtype(dtype)
    torch.set_default_device("meta")
    try:
        found = scored()
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_walk_down_the_tree_equals_training_on_its_path():
    network = fresh(history_length=3)
    policy = NetworkPolicy(network)
    parts = [random_state(seed, structure_id=seed // 2, node=facts(depth=seed, number=seed + 1)) for seed in range(6)]
    choices, children = [2, 0, 1, 4, 3, 2], [0, 1, 2, 1, 0, 0]

    path: list[PathStep] = []
    ours = []
    for state, choice, child in zip(parts, choices, children, strict=True):
        ours.append(policy.score(state, path))
        path.append(PathStep(state.node.number, state.node.depth, child, policy.remember(state, path, choice)))

    batch = GraphBatch.from_states(parts)
    with torch.no_grad():
        embeddings = network.encode(batch)
        steps = network.steps(batch, embeddings, torch.tensor(choices))[torch.arange(6), children]
        memory, mask = gather_history(steps, [range(place) for place in range(6)], 3)
        theirs = network.decode(embeddings[batch.candidates], batch.candidate_batch, memory, mask)
    np.testing.assert_allclose(np.concatenate(ours), theirs.numpy(), rtol=1e-5, atol=1e-5)
    without = policy.score(parts[5], [])
    assert np.abs(without - ours[5]).max() > 1e-6


def test_steps_without_memory_are_left_out():
    policy = NetworkPolicy(fresh())
    state = random_state()
    policy.score(state, [])
    memory = policy.remember(state, [], 1)
    expected = policy.score(state, [step(memory, 1)])
    holes = [step(None), step(memory, 1), step(None, 2)]
    np.testing.assert_array_equal(policy.score(state, holes), expected)
    np.testing.assert_array_equal(policy.score(state, [step(None)]), policy.score(state, []))


def test_a_node_is_encoded_once(monkeypatch):
    policy = NetworkPolicy(fresh())
    calls = count_encodings(policy, monkeypatch)
    state = random_state()
    policy.score(state, [])
    memory = policy.remember(state, [], 0)
    assert len(calls) == 1
    assert isinstance(memory, np.ndarray)
    assert memory.shape == (3, 16)


def test_remembering_a_node_that_was_not_scored_encodes_it(monkeypatch):
    policy = NetworkPolicy(fresh())
    one = random_state()
    other = at_next_node(one)
    policy.score(other, [])
    expected = policy.remember(other, [], 2)
    policy.score(one, [])
    calls = count_encodings(policy, monkeypatch)
    np.testing.assert_array_equal(policy.remember(other, [], 2), expected)
    assert len(calls) == 1


def test_a_network_without_history_remembers_nothing():
    policy = NetworkPolicy(fresh(history_length=0))
    state = random_state()
    before = policy.score(state, [])
    assert not policy.needs_path
    assert policy.remember(state, [], 0) is None
    np.testing.assert_array_equal(policy.score(state, [step(torch.ones(3, 16))]), before)


def test_scores_are_deterministic():
    state = random_state(n_variables=200, n_rows=150, n_edges=3000, n_candidates=40)
    first, second = NetworkPolicy(fresh()), NetworkPolicy(fresh())
    expected = first.score(state, [])
    for _ in range(3):
        np.testing.assert_array_equal(first.score(state, []), expected)
        np.testing.assert_array_equal(second.score(state, []), expected)


def test_dynamic_columns_are_read_anew_and_structures_only_once(monkeypatch):
    policy = NetworkPolicy(fresh())
    state = random_state()
    before = policy.score(state, [])
    kept = policy._kept
    assert np.abs(policy.score(at_next_node(state), []) - before).max() > 1e-6
    assert policy._kept is kept


def test_two_solves_may_share_a_policy():
    policy = NetworkPolicy(fresh())
    one, other = random_state(0, structure_id=1), random_state(1, structure_id=1)
    expected = NetworkPolicy(fresh()).score(other, [])
    policy.score(one, [])
    np.testing.assert_array_equal(policy.score(other, []), expected)


def test_begin_lets_go_of_the_last_solve():
    policy = NetworkPolicy(fresh())
    policy.score(random_state(), [])
    policy.begin(None)  # type: ignore[arg-type]
    assert policy._kept is None
    assert policy._scored is None


def test_threads_are_restored_also_after_a_failure():
    before = torch.get_num_threads()
    policy = NetworkPolicy(fresh(), threads=before + 1)
    seen = []
    encode = policy.network.encode
    policy.network.encode = lambda batch: (seen.append(torch.get_num_threads()), encode(batch))[1]  # type: ignore[method-assign]
    policy.score(random_state(), [])
    assert seen == [before + 1]
    assert torch.get_num_threads() == before
    with pytest.raises(ValueError, match="columns"):
        policy.score(random_state(columns=17), [])
    assert torch.get_num_threads() == before
    with pytest.raises(ValueError, match="at least one thread"):
        NetworkPolicy(fresh(), threads=0)


def test_columns_decide_what_is_extracted():
    assert not NetworkPolicy(fresh()).extended
    assert NetworkPolicy(BranchingNetwork(NetworkConfig(variable_columns=variable_column_names()))).extended


def test_no_candidates_no_scores():
    assert NetworkPolicy(fresh()).score(random_state(n_candidates=0), []).shape == (0,)


@pytest.mark.parametrize("history_length", [0, 3])
def test_many_nodes_at_once_are_scored_like_one_by_one(history_length):
    one, many = NetworkPolicy(fresh(history_length)), NetworkPolicy(fresh(history_length))
    states = [random_state(seed, n_candidates=2 + seed, node=facts(number=seed + 1, depth=seed)) for seed in range(4)]
    paths: list[list[PathStep]] = [[] for _ in states]
    for turn in range(6):  # beyond the length of the history, and with paths of different lengths
        expected = [one.score(state, path) for state, path in zip(states, paths, strict=True)]
        nodes = many.score_many(states, paths)
        for found, wanted in zip(nodes.scores, expected, strict=True):
            assert found.dtype == np.float32
            np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
        choices = [(turn + place) % len(state.candidates) for place, state in enumerate(states)]
        memories = many.remember_many(nodes, choices)
        for place, (state, path, choice) in enumerate(zip(states, paths, choices, strict=True)):
            memory = one.remember(state, path, choice)
            if history_length:
                np.testing.assert_allclose(memories[place], memory, rtol=1e-5, atol=1e-5)
            else:
                assert memories[place] is memory is None
            if turn % (place + 1) == 0:
                path.append(PathStep(turn + 1, turn, turn % 3, memory))


def test_many_nodes_need_a_path_each_and_a_choice_each():
    policy = NetworkPolicy(fresh())
    with pytest.raises(ValueError, match="at least one state"):
        policy.score_many([], [])
    with pytest.raises(ValueError, match="2 states and 1 paths"):
        policy.score_many([random_state(0), random_state(1)], [[]])
    nodes = policy.score_many([random_state(0), random_state(1)], [[], []])
    with pytest.raises(ValueError, match="1 choices for 2 nodes"):
        policy.remember_many(nodes, [0])


def test_edges_that_lead_elsewhere_are_another_structure():
    state = random_state()
    policy = NetworkPolicy(fresh())
    policy.score(state, ())
    turned = {  # rows in the reverse order within each variable, and another variable for each edge
        "edge_variables": state.edge_variables[::-1].copy(),
        "edge_rows": state.edge_rows[::-1].copy(),
    }
    other = replace(state, **turned)
    np.testing.assert_array_equal(policy.score(other, ()), NetworkPolicy(fresh()).score(other, ()))


def test_a_choice_belongs_to_its_own_node():
    policy = NetworkPolicy(fresh())
    nodes = policy.score_many([random_state(0), random_state(1)], [(), ()])
    for choices in ([5, 0], [0, -1], [0, 5]):
        with pytest.raises(IndexError, match="of 5 candidates"):
            policy.remember_many(nodes, choices)
