"""The same network on a GPU: scores, falling back, whole solves, and trainings. Skipped where there is none."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import revibranch
from revibranch.branching.policy import PathStep
from revibranch.branching.settings import apply_settings
from revibranch.gnn.devices import CROSSOVER_WORK, Device, LargeGraphPolicy
from revibranch.gnn.policy import load_policy
from revibranch.gnn.pretrained import pretrained_names
from revibranch.gnn.torch_policy import NetworkPolicy
from revibranch.gnn.training.interruption import Interrupted
from revibranch.instances import families

from .networks import fresh
from .states import facts, golden_states, random_state
from .test_devices import deeper_and_deeper, follow
from .training import test_imitation, trainings
from .training.episodes import recipe, with_history

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU")


@pytest.mark.parametrize("name", pretrained_names())
def test_scores_are_those_of_the_native_network(name: str) -> None:
    cpu, gpu = load_policy(name, device="cpu"), load_policy(name, device="cuda")
    columns = 28 if cpu.extended else 19
    follow([cpu, gpu], [state for state in golden_states() if state.variable_features.shape[1] >= columns])
    follow([cpu, gpu], [random_state(seed, columns=28, node=facts(number=seed + 1, depth=seed)) for seed in range(12)])
    assert gpu.report() == {"device": "cuda"}


def test_scores_repeat_bit_for_bit() -> None:
    policy = NetworkPolicy(fresh(), "cuda")
    state = random_state(3, n_variables=3000, n_rows=2000, n_edges=100_000)
    first = policy.score(state, [])
    for _ in range(5):
        np.testing.assert_array_equal(policy.score(state, []), first)


def test_many_at_once_are_scored_like_one_by_one() -> None:
    one, many = NetworkPolicy(fresh(), "cuda"), NetworkPolicy(fresh(), "cuda")
    states = deeper_and_deeper(6)
    paths: list[list[PathStep]] = [[] for _ in states]
    for _ in range(3):
        expected = [one.score(state, path) for state, path in zip(states, paths, strict=True)]
        nodes = many.score_many(states, paths)
        for found, wanted in zip(nodes.scores, expected, strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
        for path, memory in zip(paths, many.remember_many(nodes, [1] * len(states)), strict=True):
            path.append(PathStep(len(path) + 1, len(path), 0, memory))


def test_auto_takes_the_gpu_for_a_large_graph() -> None:
    policy = load_policy("setcover", device="auto")
    assert isinstance(policy, LargeGraphPolicy)
    states = [random_state(seed, n_variables=4000, n_rows=2000, n_edges=edges) for seed, edges in enumerate((1000, 700_000, 1000, 700_000))]
    assert 1000 * 32 < CROSSOVER_WORK <= 700_000 * 32
    follow([load_policy("setcover", device="cpu"), policy], states)
    assert policy.report() == {"device": "cuda"}


def test_running_out_of_memory_hands_over_to_the_cpu(caplog: pytest.LogCaptureFixture) -> None:
    policy = load_policy("setcover", device="cuda")
    states = [random_state(seed, n_variables=4000, n_rows=2000, n_edges=edges) for seed, edges in enumerate((1000, 2000, 1_000_000, 3000))]
    torch.cuda.empty_cache()
    try:
        torch.cuda.set_per_process_memory_fraction(0.0005)
        follow([load_policy("setcover", device="cpu"), policy], states)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert str(policy.report()["device"]).startswith("cpu (the GPU failed: CUDA out of memory")
    assert len(caplog.records) == 1


@pytest.mark.parametrize(("family", "size", "seed"), [("setcover", "250x500", 2), ("auction", "50x250", 1), ("knapsack", "20x3", 3)])
def test_a_solve_ends_with_scips_optimum(family: str, size: str, seed: int) -> None:
    objectives, nodes = [], []
    for device in (None, "cpu", "cuda"):
        model = families.get(family).generate(size, seed).to_model()
        apply_settings(model, "clean")
        if device is not None:
            brancher = revibranch.include(model, family, guard=False, device=device, strict=True)
        revibranch.optimize(model)
        objectives.append(model.getObjVal())
        nodes.append(model.getNTotalNodes())
    assert objectives[1:] == pytest.approx(objectives[:1] * 2, rel=1e-9)
    assert nodes[1] == nodes[2] > 1
    assert brancher.statistics.policy["device"] == "cuda"


@pytest.mark.parametrize("length", [0, 4])
def test_imitation_learns_the_same_as_on_the_cpu(tmp_path: Path, length: int) -> None:
    devices: tuple[Device, ...] = ("cpu", "cuda")
    settings = with_history(recipe(epochs=2), length)
    losses: dict[str, list[float]] = {}
    for device in devices:
        (tmp_path / device).mkdir()
        losses[device] = []
        training = test_imitation.learner(
            tmp_path / device, settings, device=device, on_step=lambda step, steps, loss, device=device: losses[device].append(loss)
        )
        network = training.run()
        assert network.device.type == device
    # Adam makes much of the last bits of a small gradient, so the losses drift apart as they go on.
    np.testing.assert_allclose(losses["cuda"][0], losses["cpu"][0], rtol=1e-4)
    np.testing.assert_allclose(losses["cuda"], losses["cpu"], rtol=2e-2)


@pytest.mark.parametrize("where", [("cuda", "cuda"), ("cuda", "cpu"), ("cpu", "cuda")])
def test_imitation_goes_on_where_it_was_stopped_on_either_device(tmp_path: Path, where: tuple[Device, Device]) -> None:
    test_imitation.stop_and_resume(tmp_path, with_history(recipe(), 4), 7, *where)


@pytest.mark.parametrize("where", [("cuda", "cuda"), ("cuda", "cpu"), ("cpu", "cuda")])
@pytest.mark.parametrize("learner", ["revibranch", "finetune"])
def test_reinforcement_goes_on_where_it_was_stopped_on_either_device(tmp_path: Path, learner: str, where: tuple[Device, Device]) -> None:
    settings = trainings.recipe(tmp_path, learner, "learning.averaging=0.9")

    def interrupt(report: Any) -> None:
        if report.round == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted):
        trainings.run(settings, tmp_path / "run", device=where[0], on_round=interrupt).run()
    resumed = trainings.run(settings, tmp_path / "run", device=where[1])
    steps = resumed.state.step
    network = resumed.run(resume=True)
    assert network.device.type == where[1]
    assert resumed.state.step > steps
    assert resumed.state.decisions >= settings.rollout.decisions
    assert all(torch.isfinite(tensor).all() for tensor in network.state_dict().values())


@pytest.mark.parametrize(
    ("learner", "changes"),
    [
        *((name, ()) for name in trainings.LEARNERS),
        ("revibranch", ("learning.importance=attention", "learning.averaging=0.9")),
        ("revibranch", ("rollout.probing=0.5", "learning.importance=subtree")),
    ],
)
def test_every_learner_learns(tmp_path: Path, learner: str, changes: tuple[str, ...]) -> None:
    settings = trainings.recipe(tmp_path, learner, *changes)
    training = trainings.run(settings, tmp_path / "run", device="cuda")
    before = {name: tensor.clone() for name, tensor in training.state.network.named_parameters()}
    network = training.run()
    assert network.device.type == "cuda"
    assert any(not torch.equal(before[name], tensor) for name, tensor in training.state.network.named_parameters())
    assert all(torch.isfinite(tensor).all() for tensor in network.state_dict().values())
