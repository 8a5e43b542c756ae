from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from revibranch.branching.state import variable_column_names
from revibranch.gnn.batch import GraphBatch
from revibranch.gnn.network import BranchingNetwork, NetworkConfig
from revibranch.gnn.revival import gather_history

from .states import facts, golden_states, permuted, random_state, states


@pytest.fixture(scope="module")
def network() -> BranchingNetwork:
    torch.manual_seed(0)
    network = BranchingNetwork(NetworkConfig(width=16, history_length=6))
    network.fit_normalisation([random_state(seed, incumbent=seed % 2 == 0) for seed in range(4)])
    return network.eval()


def scores(network: BranchingNetwork, *parts, steps: int = 0) -> list[torch.Tensor]:
    """Scores of each state, all in one batch, each with the same history of ``steps`` steps."""
    batch = GraphBatch.from_states(parts)
    memory = torch.linspace(-1, 1, steps * 16).reshape(1, steps, 16).expand(len(parts), -1, -1)
    with torch.no_grad():
        result = network(batch, memory, torch.ones(len(parts), steps, dtype=torch.bool))
    assert result.dtype == torch.float32
    assert result.shape == batch.candidates.shape
    return list(result.split(batch.candidate_offsets.diff().tolist()))


@given(states(), st.integers(0, 2**16), st.integers(0, 3))
def test_the_order_of_variables_rows_and_edges_does_not_matter(network, state, seed, steps):
    (ours,), (theirs,) = scores(network, state, steps=steps), scores(network, permuted(state, seed), steps=steps)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@given(st.lists(states(), min_size=1, max_size=4), st.integers(0, 3))
def test_a_batch_equals_its_graphs_one_by_one(network, parts, steps):
    for state, together in zip(parts, scores(network, *parts, steps=steps), strict=True):
        (alone,) = scores(network, state, steps=steps)
        assert alone.isfinite().all()
        torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)


def test_padding_of_other_histories_does_not_matter(network):
    parts = [random_state(seed) for seed in range(3)]
    batch = GraphBatch.from_states(parts)
    steps = torch.randn(5, 16)
    histories = [[], [0, 1], [0, 1, 2, 3, 4]]
    with torch.no_grad():
        together = network(batch, *gather_history(steps, histories, 6)).split(5)
        for state, history, expected in zip(parts, histories, together, strict=True):
            one = network(GraphBatch.from_states([state]), *gather_history(steps, [history], 6))
            torch.testing.assert_close(one, expected, rtol=1e-5, atol=1e-5)


def test_without_history_only_the_null_token_is_asked(network):
    batch = GraphBatch.from_states([random_state()])
    with torch.no_grad():
        without = network(batch)
        noise, nothing = torch.randn(1, 4, 16), torch.zeros(1, 4, dtype=torch.bool)
        torch.testing.assert_close(network(batch, noise, nothing), without, rtol=0, atol=1e-6)
        # The null token itself, seen twice, leaves attention where it was.
        again = network(batch, network.decoder.null.expand(1, 1, 16), torch.ones(1, 1, dtype=torch.bool))
        torch.testing.assert_close(again, without, rtol=0, atol=1e-6)
        with_history = network(batch, 10 * noise, ~nothing)
    assert (with_history - without).abs().max() > 1e-4


def test_scores_tell_candidates_apart(network):
    (result,) = scores(network, random_state(n_candidates=12))
    assert result.unique().numel() == 12


def test_a_missing_incumbent_is_not_the_same_as_an_average_one(network):
    state = random_state(incumbent=False)
    neutral = random_state(incumbent=False).copy()
    columns = [variable_column_names().index(name) for name in ("incumbent_value", "average_incumbent_value")]
    mean = network.encoder.normalise_variables.mean[columns].numpy()
    neutral.variable_features[:, columns] = np.sign(mean) * np.expm1(np.abs(mean))
    (absent,), (average,) = scores(network, state), scores(network, neutral)
    assert absent.isfinite().all()
    assert (absent - average).abs().max() > 1e-5


@pytest.mark.parametrize(
    "shape",
    [
        {"n_candidates": 0},
        {"n_rows": 0, "n_edges": 0},
        {"n_edges": 0},
        {"n_variables": 1, "n_rows": 1, "n_edges": 1, "n_candidates": 1},
    ],
    ids=["no candidates", "no rows", "no edges", "one variable"],
)
def test_degenerate_graphs_train_and_score(shape):
    network = BranchingNetwork(NetworkConfig(width=8, heads=2, history_length=2))
    state = random_state(**shape)
    network.fit_normalisation([state])
    batch = GraphBatch.from_states([state, state])
    result = network(batch)
    assert result.shape == (2 * len(state.candidates),)
    result.sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())


def test_gradients_reach_every_parameter_through_a_revived_path():
    network = BranchingNetwork(NetworkConfig(width=8, heads=2, history_length=3))
    parts = [random_state(seed, node=facts(depth=seed)) for seed in range(4)]
    network.fit_normalisation(parts)
    batch = GraphBatch.from_states(parts)
    embeddings = network.encode(batch)
    children = torch.tensor([0, 1, 2, 0])
    steps = network.steps(batch, embeddings, torch.tensor([0, 1, 2, 3]))[torch.arange(4), children]
    memory, mask = gather_history(steps, [range(place) for place in range(4)], 3)
    loss = network.decode(embeddings[batch.candidates], batch.candidate_batch, memory, mask).square().sum()
    loss.backward()
    idle = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert idle == []


def test_golden_states_give_distinct_finite_scores_whatever_the_instance():
    parts = golden_states()
    network = BranchingNetwork()
    network.fit_normalisation(parts)
    with torch.no_grad():
        for state in parts:
            result = network(GraphBatch.view(state))
            assert result.isfinite().all()
            assert result.abs().max() < 100
    assert len(parts) > 20


def test_fitting_brings_sums_of_both_directions_to_magnitude_one():
    parts = golden_states()[:6]
    network = BranchingNetwork()
    network.fit_normalisation(parts)
    encoder = network.encoder
    before = [encoder.to_rows.sum_scale.item(), encoder.to_variables.sum_scale.item()]
    network.fit_normalisation(parts)
    assert before == pytest.approx([encoder.to_rows.sum_scale.item(), encoder.to_variables.sum_scale.item()])
    batch = GraphBatch.from_states(parts)
    with torch.no_grad():
        rows, variables = encoder._embed(batch)
        sums = encoder.to_rows.sum_messages(rows, variables, batch.structure.by_row) / encoder.to_rows.sum_scale
    assert sums.square().mean().item() == pytest.approx(1.0, rel=1e-3)


def test_column_names_may_be_a_list_as_toml_gives_them():
    assert NetworkConfig(variable_columns=["objective"], row_columns=["bias"]).variable_columns == ("objective",)


def test_fitting_needs_data():
    with pytest.raises(ValueError, match="at least one state"):
        BranchingNetwork().fit_normalisation([])


def test_memory_and_mask_come_together(network):
    with pytest.raises(ValueError, match="belong together"):
        network(GraphBatch.view(random_state()), torch.zeros(1, 1, 16))


def test_columns_behind_those_that_are_read_do_not_matter():
    network = BranchingNetwork(NetworkConfig(width=8, heads=2))
    state = random_state()
    with torch.no_grad():
        short = network(GraphBatch.view(random_state(columns=28)))
        assert not network.config.extended
        changed = state.copy()
        changed.variable_features[:, 19:] = 5.0
        torch.testing.assert_close(network(GraphBatch.view(changed)), short, rtol=0, atol=0)


def test_all_columns_can_be_read():
    network = BranchingNetwork(NetworkConfig(width=8, heads=2, variable_columns=variable_column_names()))
    assert network.config.extended
    state = random_state()
    changed = state.copy()
    changed.variable_features[:, 27] += 1.0
    with torch.no_grad():
        assert (network(GraphBatch.view(changed)) - network(GraphBatch.view(state))).abs().max() > 0
    with pytest.raises(ValueError, match="19 columns"):
        network(GraphBatch.view(random_state(columns=19)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 6, "heads": 4}, "multiple of heads"),
        ({"width": 9, "heads": 3}, "even"),
        ({"variable_columns": ("objective", "colour")}, "unknown variable columns colour"),
        ({"row_columns": ("bias", "bias")}, "named twice"),
        ({"widht": 32}, "Extra inputs"),
        ({"width": "32"}, "valid integer"),
        ({"history_length": -1}, "greater than or equal"),
        ({"classes": 1}, r"0 \(one score\) or at least 2"),
        ({"classes": -2}, "greater than or equal"),
        ({"classes": 51, "highest": 0.0}, "greater than 0"),
        ({"classes": 51, "highest": float("inf")}, "finite"),
    ],
)
def test_nonsense_configurations_are_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        NetworkConfig(**changes)


def asked(network: BranchingNetwork, *parts, steps: int = 0) -> tuple[torch.Tensor, ...]:
    """What the decoder takes; each state has a history of ``steps`` steps."""
    batch = GraphBatch.from_states(parts)
    memory = torch.randn(len(parts), steps, network.config.width, generator=torch.Generator().manual_seed(1))
    mask = torch.ones(len(parts), steps, dtype=torch.bool)
    return network.encode(batch)[batch.candidates], batch.candidate_batch, memory, mask


@pytest.mark.parametrize("steps", [0, 3])
def test_the_score_is_minus_the_mean_of_the_classes(steps):
    network = BranchingNetwork(NetworkConfig(width=8, heads=2, history_length=4, classes=5, highest=8.0))
    parts = [random_state(seed) for seed in range(3)]
    network.fit_normalisation(parts)
    with torch.no_grad():
        logits = network.logits(*asked(network, *parts, steps=steps))
        result = network.decode(*asked(network, *parts, steps=steps))
    assert logits.shape == (15, 5)
    expected = (logits.softmax(1) * torch.tensor([0.0, 2.0, 4.0, 6.0, 8.0])).sum(1)
    torch.testing.assert_close(network.values(logits), expected)
    torch.testing.assert_close(result, -expected)
    assert result.unique().numel() == 15
    if not steps:
        with torch.no_grad():
            torch.testing.assert_close(network(GraphBatch.from_states(parts)), result)


def test_values_reach_both_ends_and_keep_the_shape_in_front():
    network = BranchingNetwork(NetworkConfig(width=8, heads=2, classes=3, highest=10.0))
    certain = torch.full((2, 4, 3), -1e4)
    certain[0, :, 0] = certain[1, :, 2] = 1e4
    assert network.values(certain).tolist() == [[0.0] * 4, [10.0] * 4]


def test_a_network_without_classes_has_no_logits(network):
    with pytest.raises(ValueError, match="without classes"):
        network.logits(*asked(network, random_state()))


def test_classes_leave_the_first_layers_random_weights_as_they_are():
    # The head is drawn last, so a seed gives the same encoder with and without classes.
    networks = []
    for classes in (0, 7):
        torch.manual_seed(4)
        networks.append(BranchingNetwork(NetworkConfig(width=8, heads=2, classes=classes)).state_dict())
    for name, tensor in networks[0].items():
        if not name.startswith("decoder.score.2"):
            torch.testing.assert_close(networks[1][name], tensor, rtol=0, atol=0)


@given(st.lists(states(), min_size=1, max_size=4), st.integers(0, 5), st.integers(0, 2**16))
def test_attention_is_shared_among_the_null_token_and_the_steps_there_are(network, parts, steps, seed):
    with torch.no_grad():
        candidates, batch, memory, mask = asked(network, *parts, steps=steps)
        mask &= torch.rand(mask.shape, generator=torch.Generator().manual_seed(seed)) < 0.5
        attention = network.decoder.attention(candidates, batch, memory, mask)
    assert attention.shape == (len(candidates), 1 + steps)
    assert (attention[:, 0] > 0).all()
    torch.testing.assert_close(attention.sum(1), torch.ones(len(candidates)))
    assert torch.equal(attention[:, 1:] > 0, mask[batch])


def test_attention_is_what_the_answers_are_made_with():
    # With one head, the mean over heads is that head's own attention.
    network = BranchingNetwork(NetworkConfig(width=8, heads=1, history_length=4))
    decoder = network.decoder
    parts = [random_state(seed) for seed in range(2)]
    network.fit_normalisation(parts)
    seen = []
    decoder.answer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        candidates, batch, memory, mask = asked(network, *parts, steps=3)
        attention = decoder.attention(candidates, batch, memory, mask)
        decoder(candidates, batch, memory, mask)
        tokens = torch.cat([decoder.null.expand(2, 1, 8), memory], dim=1)
        torch.testing.assert_close(seen[0], (attention[:, None] @ decoder.value(tokens)[batch])[:, 0])
