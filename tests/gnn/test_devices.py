"""Which device a network runs on, and what happens where it cannot. A second network on the CPU stands in for the GPU's."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from pyscipopt import Model

from revibranch.branching.policy import PathStep, Policy
from revibranch.branching.state import BranchState
from revibranch.gnn import devices, policy
from revibranch.gnn.devices import FallbackPolicy, LargeGraphPolicy
from revibranch.gnn.policy import load_policy
from revibranch.gnn.torch_policy import NetworkPolicy
from revibranch.gnn.training import devices as training_devices
from revibranch.gnn.training.errors import TrainingError

from .networks import fresh
from .states import facts, random_state


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


@pytest.fixture
def usable(monkeypatch):
    """As on a machine where CUDA works."""
    monkeypatch.setattr(devices, "cuda_problem", lambda: None)


class Failing(NetworkPolicy):
    """Raises an error at a call of ``score`` or ``remember``, counted from 1, and at all later ones."""

    def __init__(self, call: str, count: int, error: Exception) -> None:
        super().__init__(fresh())
        self._call, self._left, self._error = call, count, error

    def _count(self, call: str) -> None:
        self._left -= call == self._call
        if self._left <= 0:
            raise self._error

    def score(self, state, path):
        self._count("score")
        return super().score(state, path)

    def remember(self, state, path, choice):
        self._count("remember")
        return super().remember(state, path, choice)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_cuda_without_a_gpu_warns_once_and_takes_the_cpu(checkpoint, caplog):
    with caplog.at_level(logging.INFO, logger="revibranch"):
        policy = load_policy(checkpoint, device="cuda")
        assert len(caplog.records) == 1
        np.testing.assert_array_equal(policy.score(random_state(), []), load_policy(checkpoint, device="cpu").score(random_state(), []))
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "the policy runs on the CPU" in caplog.text
    assert str(policy.report()["device"]).startswith("cpu (no usable CUDA device: ")


@pytest.mark.parametrize("call", ["score", "remember"])
def test_a_gpu_that_fails_in_a_solve_hands_over_with_the_same_scores(checkpoint, caplog, usable, call):
    cpu = load_policy(checkpoint, device="cpu")
    policy = FallbackPolicy(lambda: Failing(call, 3, torch.OutOfMemoryError("CUDA out of\nmemory")), cpu)
    assert policy.report() == {"device": "cuda"}
    with caplog.at_level(logging.INFO, logger="revibranch"):
        follow([load_policy(checkpoint, device="cpu"), policy], deeper_and_deeper(5))
    assert policy.report() == {"device": "cpu (the GPU failed: CUDA out of memory)"}
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "CUDA out of memory; the CPU takes over" in caplog.text


def test_memories_outlive_the_gpu(checkpoint, usable):
    policy = FallbackPolicy(lambda: NetworkPolicy(fresh()), load_policy(checkpoint, device="cpu"))
    assert isinstance(policy.remember(random_state(), [], 0), np.ndarray)


@pytest.mark.parametrize("error", [RuntimeError("sizes do not match"), ValueError("a mistake of ours"), KeyError("CUDA")])
def test_what_is_no_failure_of_the_gpu_is_raised(checkpoint, usable, error):
    policy = FallbackPolicy(lambda: Failing("score", 2, error), load_policy(checkpoint, device="cpu"))
    policy.score(random_state(), [])
    with pytest.raises(type(error)):
        policy.score(random_state(), [])
    assert policy.report() == {"device": "cuda"}


def test_a_network_that_does_not_fit_onto_the_gpu_runs_on_the_cpu(checkpoint, usable, caplog):
    def make() -> Policy:
        raise torch.OutOfMemoryError("CUDA out of memory")

    policy = FallbackPolicy(make, load_policy(checkpoint, device="cpu"))
    assert len(caplog.records) == 1
    follow([load_policy(checkpoint, device="cpu"), policy], deeper_and_deeper(3))


def test_only_large_graphs_wake_the_gpu_and_memories_pass_between_both(checkpoint, usable):
    made: list[NetworkPolicy] = []

    def make() -> Policy:
        made.append(NetworkPolicy(fresh()))
        return FallbackPolicy(lambda: made[-1], load_policy(checkpoint, device="cpu"))

    reference = load_policy(checkpoint, device="cpu")
    both = LargeGraphPolicy(load_policy(checkpoint, device="cpu"), make, width=16, work=50 * 16)
    model = Model()
    both.begin(model)
    follow([reference, both], deeper_and_deeper(3))
    assert not made
    assert both.report() == {}
    follow([reference, both], deeper_and_deeper(9, n_edges=(40, 50, 60)))
    assert len(made) == 1
    assert both.report() == {"device": "cuda"}
    both.begin(model)
    follow([reference, both], deeper_and_deeper(3))
    assert both.report() == {}  # this solve had small graphs only


def test_what_the_policy_is_after_does_not_depend_on_the_device(usable):
    cpu = NetworkPolicy(fresh(), raises_bound=False, mixes_pseudocosts=True)
    for moved in (FallbackPolicy(lambda: cpu, cpu), LargeGraphPolicy(cpu, lambda: cpu, width=16)):
        assert (moved.raises_bound, moved.mixes_pseudocosts) == (False, True)


def test_a_mistake_in_making_the_gpus_policy_is_raised_once(checkpoint):
    def make() -> Policy:
        raise KeyError("a mistake of ours")

    both = LargeGraphPolicy(load_policy(checkpoint, device="cpu"), make, width=16, work=16)
    with pytest.raises(KeyError):
        both.score(random_state(), [])
    follow([load_policy(checkpoint, device="cpu"), both], deeper_and_deeper(3))


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (RuntimeError("no\nkernel image"), "no usable CUDA device: no kernel image"),
        (AssertionError("not compiled with CUDA enabled"), "no usable CUDA device: not compiled with CUDA enabled"),
        (OSError("libcudart.so is missing"), "PyTorch or PyG cannot be loaded: libcudart.so is missing"),
    ],
)
def test_why_there_is_no_cuda_is_one_line_and_found_out_once(monkeypatch, error, problem):
    calls: list[int] = []

    def zeros(*arguments: object, **options: object) -> None:
        calls.append(1)
        raise error

    monkeypatch.setattr(torch, "zeros", zeros)
    devices.cuda_problem.cache_clear()
    try:
        assert devices.cuda_problem() == devices.cuda_problem() == problem
    finally:
        devices.cuda_problem.cache_clear()
    assert len(calls) == 1


def test_auto_says_quietly_that_there_is_no_cuda(checkpoint, monkeypatch, caplog):
    monkeypatch.setattr(devices, "cuda_problem", lambda: "no usable CUDA device: a reason")
    monkeypatch.setattr(policy, "gpu_present", lambda: True)
    chosen = load_policy(checkpoint)
    large = random_state(1, n_variables=1300, n_rows=1000, n_edges=devices.CROSSOVER_WORK // 16)
    with caplog.at_level(logging.INFO, logger="revibranch"):
        for _ in range(2):
            np.testing.assert_array_equal(chosen.score(large, []), load_policy(checkpoint, device="cpu").score(large, []))
    assert [record.levelname for record in caplog.records] == ["INFO"]


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


def test_auto_hands_a_large_graph_to_the_gpu(checkpoint, monkeypatch, usable):
    monkeypatch.setattr(policy, "gpu_present", lambda: True)
    asked: list[int] = []

    class Counting(NetworkPolicy):
        def score(self, state, path):
            asked.append(state.n_edges)
            return super().score(state, path)

    monkeypatch.setattr(policy, "_torch_policy", lambda header, tensors, device, threads: Counting(fresh(), "cpu", threads))
    chosen = load_policy(checkpoint)
    large = random_state(1, n_variables=1300, n_rows=1000, n_edges=devices.CROSSOVER_WORK // 16)
    for state in (random_state(0), large):
        expected = load_policy(checkpoint, device="cpu").score(state, [])
        np.testing.assert_allclose(chosen.score(state, []), expected, rtol=1e-4, atol=1e-4)
    assert asked == [large.n_edges]


def test_an_unknown_device_is_refused(checkpoint):
    with pytest.raises(ValueError, match="unknown device 'tpu'; known are auto, cpu, cuda"):
        load_policy(checkpoint, device="tpu")  # type: ignore[arg-type]


def test_a_checkpoint_that_changes_during_a_solve_changes_nothing(checkpoint, monkeypatch, usable):
    monkeypatch.setattr(policy, "gpu_present", lambda: True)
    make = policy._torch_policy
    monkeypatch.setattr(policy, "_torch_policy", lambda header, tensors, device, threads: make(header, tensors, "cpu", threads))
    chosen, cpu = load_policy(checkpoint), load_policy(checkpoint, device="cpu")
    checkpoint.unlink()
    large = random_state(1, n_variables=1300, n_rows=1000, n_edges=devices.CROSSOVER_WORK // 16)
    np.testing.assert_allclose(chosen.score(large, []), cpu.score(large, []), rtol=1e-4, atol=1e-4)
    assert chosen.report() == {"device": "cuda"}


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_a_training_without_a_gpu(device, monkeypatch):
    monkeypatch.setattr(training_devices, "cuda_problem", lambda: "no usable CUDA device: a reason")
    if device == "auto":
        assert training_devices.torch_device(device).type == "cpu"
    else:
        with pytest.raises(TrainingError, match="no usable CUDA device: a reason"):
            training_devices.torch_device(device)
