from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from revibranch.gnn.batch import GraphBatch
from revibranch.gnn.network import BranchingNetwork, NetworkConfig
from revibranch.gnn.revival import Revival, gather_history, select_history

from .states import facts, random_state


@given(st.integers(0, 200), st.integers(0, 40))
def test_selection_keeps_the_root_and_the_most_recent_steps(n_steps, length):
    kept = select_history(n_steps, length)
    assert len(kept) == min(n_steps, length)
    assert kept == sorted(set(kept))
    if n_steps <= length:
        assert kept == list(range(n_steps))
    elif length >= 2:
        assert kept[0] == 0
        assert kept[1:] == list(range(n_steps - length + 1, n_steps))


def test_room_for_one_step_is_the_most_recents():
    assert select_history(5, 1) == [4]
    assert select_history(5, 0) == []


@given(st.lists(st.lists(st.integers(0, 9), max_size=7), min_size=1, max_size=5), st.integers(0, 5))
def test_gathered_history_is_the_selected_steps_padded(histories, length):
    steps = torch.arange(1.0, 11.0)[:, None].expand(10, 2)
    memory, mask = gather_history(steps, histories, length)
    assert memory.shape == (*mask.shape, 2)
    assert mask.shape == (len(histories), max(min(len(history), length) for history in histories))
    for row, flags, history in zip(memory, mask, histories, strict=True):
        expected = [history[place] + 1 for place in select_history(len(history), length)]
        assert row[flags][:, 0].tolist() == expected
        assert flags.tolist() == [True] * len(expected) + [False] * (len(flags) - len(expected))
        assert (row[~flags] == 0).all()


def test_history_hands_gradients_back_to_the_steps():
    steps = torch.randn(4, 2, requires_grad=True)
    memory, _ = gather_history(steps, [[], [0], [0, 1], [0, 1, 2]], 2)
    memory.sum().backward()
    assert steps.grad[:, 0].tolist() == [3.0, 1.0, 1.0, 0.0]


def test_steps_tell_children_variables_depths_and_node_facts_apart():
    network = BranchingNetwork(NetworkConfig(width=8, heads=2, history_length=4)).eval()
    parts = [random_state(), random_state(node=facts(depth=9)), random_state(node=facts(lp_objective=15.0))]
    batch = GraphBatch.from_states(parts)
    with torch.no_grad():
        embeddings = network.encode(batch)
        steps = network.steps(batch, embeddings, torch.tensor([0, 0, 0]))
        others = network.steps(batch, embeddings, torch.tensor([1, 1, 1]))
    assert steps.shape == (3, 3, 8)
    different = [steps[0, 0] - steps[0, 1], steps[0, 1] - steps[0, 2], steps[0] - steps[1], steps[0] - steps[2], steps - others]
    assert all(part.abs().max() > 1e-4 for part in different)


def test_steps_of_a_batch_equal_those_of_each_graph():
    network = BranchingNetwork(NetworkConfig(width=8, heads=2, history_length=4)).eval()
    parts = [random_state(seed, n_variables=5 + seed, node=facts(depth=seed)) for seed in range(4)]
    choices = torch.tensor([0, 3, 1, 4])
    with torch.no_grad():
        batch = GraphBatch.from_states(parts)
        together = network.steps(batch, network.encode(batch), choices)
        for state, choice, expected in zip(parts, choices, together, strict=True):
            one = GraphBatch.from_states([state])
            torch.testing.assert_close(network.steps(one, network.encode(one), choice[None])[0], expected, rtol=1e-5, atol=1e-5)


def test_depth_enters_as_a_sinusoidal_code():
    revival = Revival(8)
    batch = GraphBatch.from_states([random_state(node=facts(depth=0)), random_state(node=facts(depth=5))])
    embeddings = torch.zeros(24, 8)
    batch.node_facts.zero_()
    steps = revival(batch, embeddings, torch.tensor([0, 12]))[:, 0]
    code = lambda depth: torch.cat([(depth * revival.frequencies).sin(), (depth * revival.frequencies).cos()])  # noqa: E731
    torch.testing.assert_close(steps[1] - steps[0], code(5) - code(0), rtol=1e-5, atol=1e-6)


def test_padding_of_one_history_holds_nothing_of_another():
    steps = torch.tensor([[float("inf"), float("nan")], [1.0, 2.0], [3.0, 4.0]])
    memory, mask = gather_history(steps, [[0, 1], [2]], 4)
    assert mask.tolist() == [[True, True], [True, False]]
    assert memory[1].tolist() == [[3.0, 4.0], [0.0, 0.0]]
