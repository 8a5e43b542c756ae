"""The native network gives torch's scores and steps, on any graph and any weights."""

from __future__ import annotations

import gc
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from revibranch.branching.policy import PathStep
from revibranch.branching.state import BranchState, variable_column_names
from revibranch.gnn._network import NativeNetwork
from revibranch.gnn.checkpoint import load_checkpoint
from revibranch.gnn.columns import LIMIT
from revibranch.gnn.config import NetworkConfig
from revibranch.gnn.description import read_checkpoint
from revibranch.gnn.facts import NODE_FACTS
from revibranch.gnn.native import NativePolicy, fits, fold
from revibranch.gnn.network import BranchingNetwork
from revibranch.gnn.policy import load_policy
from revibranch.gnn.pretrained import pretrained_path
from revibranch.gnn.torch_policy import NetworkPolicy

from .states import golden_states, random_state, states


def random_network(config: NetworkConfig, seed: int, states: list[BranchState]) -> BranchingNetwork:
    """Random weights, LayerNorms, null token and fitted scales included."""
    torch.manual_seed(seed)
    network = BranchingNetwork(config)
    network.fit_normalisation(states)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "norm" in name:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return network.eval()


def pair(network: BranchingNetwork) -> tuple[NativePolicy, NetworkPolicy]:
    tensors = {name: tensor.detach().numpy() for name, tensor in network.state_dict().items()}
    return NativePolicy(network.config, tensors), NetworkPolicy(network)


def assert_close(ours: np.ndarray, theirs: np.ndarray) -> None:
    scale = max(1.0, float(np.abs(theirs).max(initial=0.0)))
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5 * scale)


CONFIGS = [
    NetworkConfig(),
    NetworkConfig(width=64, history_length=6),
    NetworkConfig(width=8, heads=2, history_length=3),
    NetworkConfig(width=48, heads=3, history_length=2, variable_columns=variable_column_names()),
    NetworkConfig(variable_columns=("objective", "root_solution_value", "incumbent_value"), row_columns=("bias",)),
    NetworkConfig(classes=18),
    NetworkConfig(width=64, history_length=6, classes=64, highest=20.0),
    NetworkConfig(width=64, classes=2, highest=1.0),
    NetworkConfig(history_length=4, classes=33),
]


@pytest.mark.parametrize(
    "config", [config for config in CONFIGS if not config.extended], ids=lambda config: f"D{config.width}K{config.classes}"
)
def test_scores_equal_torchs_on_golden_states(config: NetworkConfig) -> None:
    graphs = golden_states()
    native, reference = pair(random_network(config, 1, graphs))
    for state in graphs:
        assert_close(native.score(state, ()), reference.score(state, ()))


@settings(deadline=None, max_examples=60)
@given(state=states(), seed=st.integers(0, 1000), steps=st.integers(0, 9), config=st.sampled_from(CONFIGS))
def test_scores_and_steps_equal_torchs_on_random_graphs(state: BranchState, seed: int, steps: int, config: NetworkConfig) -> None:
    generator = np.random.default_rng(seed)
    native, reference = pair(random_network(config, seed, [random_state(seed)]))
    memory = generator.standard_normal((steps, 3, config.width)).astype(np.float32)
    children = generator.integers(0, 3, steps)
    path = [PathStep(t + 1, t, int(children[t]), memory[t]) for t in range(steps)]
    assert_close(native.score(state, path), reference.score(state, path))
    if len(state.candidates) and config.history_length:
        choice = int(generator.integers(len(state.candidates)))
        ours, theirs = native.remember(state, path, choice), reference.remember(state, path, choice)
        assert ours is not None
        assert theirs is not None
        assert_close(ours, theirs)


@pytest.mark.parametrize("classes", [2, 7, 8, 33])
def test_certain_classes_neither_overflow_nor_leave_their_centres(classes: int) -> None:
    state = golden_states()[0]
    network = random_network(NetworkConfig(classes=classes, highest=12.0), 5, [state])
    for certain in (0, classes // 2, classes - 1):
        with torch.no_grad():
            network.decoder.score[2].bias.fill_(-1e4)[certain] = 1e4
        scores = pair(network)[0].score(state, ())
        np.testing.assert_allclose(scores, -12.0 * certain / (classes - 1), rtol=1e-6)


def test_without_classes_a_checkpoint_from_before_them_scores_as_torch_does() -> None:
    header, tensors = read_checkpoint(pretrained_path("knapsack"))
    assert (header.config.classes, tensors["decoder.score.2.weight"].shape) == (0, (1, header.config.width))
    network, _ = load_checkpoint(pretrained_path("knapsack"))
    native, reference = NativePolicy(header.config, tensors), NetworkPolicy(network)
    for state in golden_states():
        assert_close(native.score(state, ()), reference.score(state, ()))


def test_a_head_of_another_shape_is_refused() -> None:
    tensors = {name: tensor.detach().numpy() for name, tensor in BranchingNetwork(NetworkConfig(classes=16)).state_dict().items()}
    with pytest.raises(ValueError, match=r"score2.weight: float32\[32, 16\] where 768 float32 are wanted"):
        NativePolicy(NetworkConfig(classes=24), tensors)


def test_only_some_candidates_and_all_variables_agree() -> None:
    # Without history only candidates are embedded; with it, all variables are.
    state = golden_states()[0]
    network = random_network(NetworkConfig(), 3, [state])
    tensors = {name: tensor.detach().numpy() for name, tensor in network.state_dict().items()}
    few = NativePolicy(network.config, tensors)
    all_ = NativePolicy(network.config.model_copy(update={"history_length": 4}), tensors)
    np.testing.assert_allclose(few.score(state, ()), all_.score(state, ()), rtol=1e-6, atol=1e-6)


def test_same_state_same_scores_bit_for_bit() -> None:
    graphs = golden_states()
    native, _ = pair(random_network(NetworkConfig(), 3, graphs))
    first = [native.score(state, ()) for state in graphs]
    for state, scores in reversed(list(zip(graphs, first, strict=True))):
        np.testing.assert_array_equal(native.score(state, ()), scores)


def test_remember_without_a_matching_score_computes_anew() -> None:
    graphs = golden_states()[:2]
    native, _ = pair(random_network(NetworkConfig(history_length=4), 3, graphs))
    native.score(graphs[0], ())
    expected = native.remember(graphs[0], (), 0)
    native.score(graphs[1], ())
    np.testing.assert_array_equal(native.remember(graphs[0], (), 0), expected)


def test_a_policy_can_be_pickled_and_copied() -> None:
    state = random_state(3)
    for name in ("auction", "auto"):
        policy = load_policy(name, device="cpu")
        for other in (pickle.loads(pickle.dumps(policy)), deepcopy(policy)):
            np.testing.assert_array_equal(other.score(state, ()), policy.score(state, ()))


def test_threads_share_a_policy() -> None:
    graphs = golden_states()
    native, _ = pair(random_network(NetworkConfig(), 3, graphs))
    expected = [native.score(state, ()) for state in graphs]
    wrong: list[int] = []

    def work() -> None:
        for _ in range(20):
            for i, state in enumerate(graphs):
                if not np.array_equal(native.score(state, ()), expected[i]):
                    wrong.append(i)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_state_without_the_columns_it_reads_is_refused() -> None:
    state = golden_states()[0]
    native, _ = pair(random_network(NetworkConfig(), 3, [state]))
    with pytest.raises(ValueError, match="reads 19"):
        native.score(replace(state, variable_features=np.ascontiguousarray(state.variable_features[:, :7])), ())


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("row_offsets", lambda array: array.astype(np.int32)),
        ("candidates", lambda array: array.astype(np.int64)),
        ("variable_features", lambda array: array.astype(np.float64)),
        ("variable_features", np.asfortranarray),
        ("variable_features", lambda array: np.hstack([array, array])[:, : array.shape[1]]),
        ("edge_rows", lambda array: array[:-1]),
        ("variable_offsets", lambda array: array[:-1]),
    ],
)
def test_a_state_of_another_layout_is_refused_not_misread(name: str, change: Callable[[Any], Any]) -> None:
    state = golden_states()[0]
    policy, _ = pair(random_network(NetworkConfig(), 3, [state]))
    policy.score(state, ())
    with pytest.raises(ValueError, match=r"[Bb]uffer|ndarray|contig|do not fit"):
        policy.score(replace(state, **{name: change(getattr(state, name))}), ())


@pytest.mark.parametrize("history", [0, 4])
@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("candidates", lambda array: np.full_like(array, 2**30), "candidate 1073741824 is none"),
        ("candidates", lambda array: np.full_like(array, -1), "candidate -1 is none"),
        ("candidates", lambda array: np.zeros(10_000, array.dtype), "10000 candidates among"),
        ("edge_variables", lambda array: np.full_like(array, 2**30), "does not exist"),
        ("edge_variables", lambda array: np.full_like(array, -1), "does not exist"),
        ("edge_rows", lambda array: np.full_like(array, 2**30), "does not exist"),
        ("row_offsets", lambda array: np.concatenate([array[:1], array[:-2][::-1], array[-1:]]), "never fall"),
        ("variable_offsets", lambda array: np.concatenate([array[:1] + 1, array[1:]]), "never fall"),
    ],
)
def test_indices_that_point_nowhere_are_refused_not_followed(name: str, change: Callable[[Any], Any], message: str, history: int) -> None:
    state = golden_states()[0]
    policy, _ = pair(random_network(NetworkConfig(history_length=history), 3, [state]))
    expected = policy.score(state, ())
    with pytest.raises(ValueError, match=message):
        policy.score(replace(state, **{name: change(getattr(state, name))}), ())
    np.testing.assert_array_equal(policy.score(state, ()), expected)


@pytest.mark.parametrize("history", [0, 4])
def test_a_candidate_may_come_more_than_once(history: int) -> None:
    # All of them that with most edges: more edges than the candidates of a graph have where each comes once.
    state = golden_states()[0]
    native, _ = pair(random_network(NetworkConfig(history_length=history), 3, [state]))
    degrees = np.diff(state.variable_offsets)
    dearest = int(degrees.argmax())
    assert degrees[dearest] * state.n_variables > state.n_edges
    once = native.score(replace(state, candidates=np.array([dearest], np.int32)), ())
    often = native.score(replace(state, candidates=np.full(state.n_variables, dearest, np.int32)), ())
    np.testing.assert_allclose(often, np.repeat(once, state.n_variables), rtol=1e-6)


@pytest.mark.parametrize(
    "memory",
    [
        None,
        [[0.0] * 32] * 3,
        np.zeros((3, 32)),
        np.zeros((3, 16), np.float32),
        np.zeros((1, 32), np.float32),
        np.zeros(96, np.float32),
        np.zeros((3, 64), np.float32)[:, ::2],
    ],
    ids=["none", "list", "double", "narrow", "one-child", "flat", "strided"],
)
def test_a_memory_of_another_kind_is_refused_not_misread(memory: Any) -> None:
    network = pair(random_network(NetworkConfig(), 3, [golden_states()[0]]))[0]._network()
    good = np.arange(96, dtype=np.float32).reshape(3, 32)
    np.testing.assert_array_equal(network.revive([PathStep(1, 0, 2, good), PathStep(2, 1, 0, good)]), good[[2, 0]])
    with pytest.raises(ValueError, match="a step's memory is"):
        network.revive([PathStep(1, 0, 2, good), PathStep(2, 1, 1, memory)])


@pytest.mark.parametrize("vectors", ["x4", "x8"])
def test_processors_of_shorter_vectors_compute_the_same(vectors: str) -> None:
    # The same comparisons with torch and the formula, in a process that is told to make do with them.
    tests = [f"{Path(__file__).parent}/{name}" for name in ("test_native.py", "test_fused.py")]
    chosen = "golden or formula or finite_differences"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-k", chosen]
    environment = os.environ | {"REVIBRANCH_VECTORS": vectors}
    result = subprocess.run([*command, *tests], capture_output=True, text=True, check=False, env=environment)
    assert result.returncode == 0, result.stdout


def test_widths_it_cannot_run() -> None:
    assert not fits(NetworkConfig(width=12, heads=2))
    assert fits(NetworkConfig())


def test_scoring_does_not_grow_the_process() -> None:
    graphs = [random_state(seed, n_variables=30, n_rows=20, n_edges=100) for seed in range(20)]
    native, _ = pair(random_network(NetworkConfig(history_length=3, classes=20), 3, graphs))

    def run(times: int) -> None:
        for _ in range(times):
            for state in graphs:
                native.score(state, ())
                native.remember(state, (), 0)
        gc.collect()

    run(10)
    before = psutil.Process().memory_info().rss
    run(500)
    assert psutil.Process().memory_info().rss - before < 4 * 2**20


def test_native_policy_needs_no_torch() -> None:
    code = "import revibranch.gnn.native, sys; print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


# ---- states that users make ------------------------------------------------------------------------------------------


def writeable(state: BranchState) -> BranchState:
    copied = state.copy()
    assert copied.edge_variables.flags.writeable
    return copied


HISTORY = NetworkConfig(width=16, heads=2, history_length=4)


def policies() -> tuple[NativePolicy, NetworkPolicy]:
    return pair(random_network(HISTORY, 1, [random_state(seed) for seed in range(3)]))


@pytest.mark.parametrize(("array", "value"), [("edge_variables", 2**30), ("edge_rows", -1), ("edge_order", -1), ("edge_order", 2**40)])
def test_edges_that_were_written_to_are_looked_at_again(array: str, value: int) -> None:
    native, _ = policies()
    state = writeable(random_state())
    native.score(state, ())
    getattr(state, array)[:] = value
    with pytest.raises(ValueError, match=r"edge|variable|row"):
        native.score(state, ())


def test_values_that_were_written_to_count() -> None:
    native, _ = policies()
    state = writeable(random_state())
    native.score(state, ())
    state.edge_values[:] *= 2.0
    np.testing.assert_array_equal(native.score(state, ()), policies()[0].score(writeable(state), ()))


def test_arrays_that_nobody_else_holds_live_as_long_as_they_are_read() -> None:
    class Fleeting:
        def __init__(self, state: BranchState) -> None:
            self._state = state

        def __getattr__(self, name: str) -> Any:
            value = getattr(self._state, name)
            return value.copy() if isinstance(value, np.ndarray) else value

    native, _ = policies()
    state = random_state(7, n_variables=3000, n_rows=2000, n_edges=12000, n_candidates=1000)
    expected = native.score(state, ())
    for _ in range(3):
        np.testing.assert_array_equal(native.score(Fleeting(state), ()), expected)  # type: ignore[arg-type]


def test_steps_are_those_of_the_graph_that_is_given_not_of_the_last_one() -> None:
    native, _ = policies()
    one, other = random_state(1), random_state(2)
    other = replace(other, node=one.node)
    native.score(one, ())
    expected = native.remember(one, (), 2)
    native.score(other, ())
    np.testing.assert_array_equal(native.remember(one, (), 2), expected)
    broken = replace(other, candidates=np.array([99], dtype=np.int32))
    with pytest.raises(ValueError, match="candidate 99"):
        native.score(broken, ())
    fresh, _ = policies()
    np.testing.assert_array_equal(native.remember(other, (), 1), fresh.remember(other, (), 1))


def test_an_edge_without_a_number_leaves_no_number_in_the_steps() -> None:
    state = writeable(random_state())
    state.edge_values[0] = np.nan
    for policy in policies():
        policy.score(state, ())
        assert np.isnan(policy.remember(state, (), 0)).all()


@pytest.mark.parametrize("heads", [0, -1, 3, 32])
def test_heads_divide_the_width(heads: int) -> None:
    network = random_network(HISTORY, 1, [random_state()])
    tensors = {name: tensor.detach().numpy() for name, tensor in network.state_dict().items()}
    with pytest.raises(ValueError, match="heads that divide the width of 16"):
        NativeNetwork(16, heads, len(NODE_FACTS), 0, HISTORY.highest, LIMIT, (1e-5, 1e-5), fold(HISTORY, tensors))
