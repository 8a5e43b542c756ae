"""Which device a network runs on, and what happens where it cannot. A second network on the CPU stands in for the GPU's."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from revibranch.branching.policy import PathStep, Policy
from revibranch.branching.state import BranchState
from revibranch.gnn import devices, policy
from revibranch.gnn.batch import GraphBatch
from revibranch.gnn.checkpoint import Description, save_checkpoint
from revibranch.gnn.devices import FallbackPolicy, LargeGraphPolicy, on_gpu
from revibranch.gnn.network import BranchingNetwork, NetworkConfig
from revibranch.gnn.policy import load_policy
from revibranch.gnn.torch_policy import NetworkPolicy

from .states import facts, random_state


def fresh() -> BranchingNetwork:
    torch.manual_seed(0)
    network = BranchingNetwork(NetworkConfig(width=16, history_length=3))
    network.fit_normalisation([random_state(seed) for seed in range(3)])
    return network


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "mine.safetensors"
    save_checkpoint(path, fresh(), Description(family="setcover"))
    return path


def follow(policies: Sequence[Policy], states: Sequence[BranchState]) -> None:
    """All policies on one path down, each with its own memory: the same scores at every node."""
    paths: list[list[PathStep]] = [[] for _ in policies]
    for number, state in enumerate(states):
        scores = [one.score(state, path) for one, path in zip(policies, paths, strict=True)]
        for found in scores[1:]:
            np.testing.assert_allclose(found, scores[0], rtol=1e-4, atol=1e-4)
        for one, path in zip(policies, paths, strict=True):
            path.append(PathStep(number + 1, number, 0, one.remember(state, path, 1)))


def deeper_and_deeper(count: int, n_edges: Sequence[int] = (40,)) -> list[BranchState]:
    edges = [n_edges[seed % len(n_edges)] for seed in range(count)]
    return [random_state(seed, n_edges=edges[seed], node=facts(number=seed + 1, depth=seed)) for seed in range(count)]


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_cuda_without_a_gpu_warns_once_and_takes_the_cpu(checkpoint, caplog):
    with caplog.at_level(logging.WARNING, logger="revibranch"):
        policy = load_policy(checkpoint, device="cuda")
    assert len(caplog.records) == 1
    assert "runs on the CPU" in caplog.text
    np.testing.assert_array_equal(policy.score(random_state(), []), load_policy(checkpoint, device="cpu").score(random_state(), []))


def test_a_gpu_that_fails_in_a_solve_hands_over_with_the_same_scores(checkpoint, caplog):
    network = fresh()
    accelerated = NetworkPolicy(network)
    encode, calls = network.encode, []

    def failing(batch: GraphBatch) -> torch.Tensor:
        calls.append(1)
        if len(calls) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return encode(batch)

    network.encode = failing  # type: ignore[method-assign]
    policy = FallbackPolicy(accelerated, load_policy(checkpoint, device="cpu"))
    assert policy.report() == {"device": "cuda"}
    with caplog.at_level(logging.WARNING, logger="revibranch"):
        follow([load_policy(checkpoint, device="cpu"), policy], deeper_and_deeper(5))
    assert policy.fell_back
    assert policy.report() == {"device": "cpu (the GPU failed: CUDA out of memory)"}
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "out of memory" in caplog.text


def test_only_large_graphs_wake_the_gpu_and_memories_pass_between_both(checkpoint):
    made: list[NetworkPolicy] = []

    def make() -> Policy:
        made.append(NetworkPolicy(fresh()))
        return FallbackPolicy(made[-1], load_policy(checkpoint, device="cpu"))

    reference = load_policy(checkpoint, device="cpu")
    both = LargeGraphPolicy(load_policy(checkpoint, device="cpu"), make, width=16, work=50 * 16)
    follow([reference, both], deeper_and_deeper(3))
    assert not made
    assert both.report() == {}
    follow([reference, both], deeper_and_deeper(9, n_edges=(40, 50, 60)))
    assert len(made) == 1
    assert both.report() == {"device": "cuda"}


@pytest.mark.parametrize("error", [RuntimeError("no\nkernel image"), AssertionError("not compiled with CUDA"), ImportError("No module")])
def test_a_gpu_that_never_works_is_one_line_and_the_cpu(error, caplog):
    def make() -> Policy:
        raise error

    cpu = NetworkPolicy(fresh())
    with caplog.at_level(logging.WARNING, logger="revibranch"):
        assert on_gpu(make, cpu) is cpu
    assert len(caplog.records) == 1
    assert "\n" not in caplog.text.strip()
    assert " ".join(str(error).split()) in caplog.text


def test_other_errors_of_a_gpu_are_not_hidden():
    def make() -> Policy:
        raise KeyError("a mistake of ours")

    with pytest.raises(KeyError):
        on_gpu(make, NetworkPolicy(fresh()))


def test_auto_looks_for_a_gpu_only_where_a_driver_and_torch_are(checkpoint, monkeypatch, tmp_path):
    driver = tmp_path / "driver"
    monkeypatch.setattr(devices, "_GPU_FILES", (str(driver),))
    assert not devices.gpu_present()
    assert not isinstance(load_policy(checkpoint), LargeGraphPolicy)
    driver.touch()
    assert devices.gpu_present()
    assert isinstance(load_policy(checkpoint), LargeGraphPolicy)
    assert not isinstance(load_policy(checkpoint, device="cpu"), LargeGraphPolicy)
    monkeypatch.setattr(devices.importlib.util, "find_spec", lambda name: None)
    assert not devices.gpu_present()


def test_auto_hands_a_large_graph_to_the_gpu(checkpoint, monkeypatch):
    monkeypatch.setattr(policy, "gpu_present", lambda: True)
    asked: list[int] = []

    class Counting(NetworkPolicy):
        def score(self, state, path):
            asked.append(state.n_edges)
            return super().score(state, path)

    monkeypatch.setattr(policy, "_torch_policy", lambda path, device, threads: Counting(fresh(), "cpu", threads))
    chosen = load_policy(checkpoint)
    large = random_state(1, n_variables=1200, n_rows=1000, n_edges=devices.CROSSOVER_WORK // 16)
    for state in (random_state(0), large):
        expected = load_policy(checkpoint, device="cpu").score(state, [])
        np.testing.assert_allclose(chosen.score(state, []), expected, rtol=1e-4, atol=1e-4)
    assert asked == [large.n_edges]


def test_an_unknown_device_is_refused(checkpoint):
    with pytest.raises(ValueError, match="unknown device 'tpu'; known are auto, cpu, cuda"):
        load_policy(checkpoint, device="tpu")  # type: ignore[arg-type]
