"""Policies by name."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from revibranch.gnn import pretrained
from revibranch.gnn.automatic import AutoPolicy
from revibranch.gnn.checkpoint import CheckpointError, Description, save_checkpoint
from revibranch.gnn.network import BranchingNetwork, NetworkConfig
from revibranch.gnn.policy import load_policy
from revibranch.gnn.torch_policy import NetworkPolicy

from .networks import fresh
from .states import golden_states, random_state


def test_a_policy_loads_from_a_path(checkpoint):
    state = random_state()
    for spec in (str(checkpoint), checkpoint):
        np.testing.assert_allclose(load_policy(spec).score(state, []), NetworkPolicy(fresh()).score(state, []), rtol=1e-5, atol=1e-5)


def test_a_policy_loads_by_its_pretrained_name(checkpoint, monkeypatch):
    monkeypatch.setattr(pretrained, "_FOLDER", checkpoint.parent)
    assert pretrained.pretrained_names() == ("mine",)
    expected = NetworkPolicy(fresh()).score(random_state(), [])
    for spec in ("mine", Path("mine"), "auto", Path("auto")):
        np.testing.assert_allclose(load_policy(spec).score(random_state(), []), expected, rtol=1e-5, atol=1e-5)


def test_an_unknown_name_lists_what_there_is(checkpoint, monkeypatch):
    monkeypatch.setattr(pretrained, "_FOLDER", checkpoint.parent)
    with pytest.raises(ValueError, match="unknown policy 'yours'; known are auto, mine"):
        load_policy("yours")
    with pytest.raises(ValueError, match="'yours'; there are mine"):
        pretrained.pretrained_path("yours")


def test_auto_without_pretrained_policies_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(pretrained, "_FOLDER", tmp_path)
    with pytest.raises(ValueError, match="no pretrained policy"):
        load_policy("auto")


def test_a_path_that_is_no_checkpoint_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="No such file"):
        load_policy(str(tmp_path / "nowhere.safetensors"))
    with pytest.raises(CheckpointError, match="directory"):
        load_policy(str(tmp_path))


def test_a_width_the_native_network_cannot_run_goes_to_torch(tmp_path):
    path = tmp_path / "odd.safetensors"
    network = BranchingNetwork(NetworkConfig(width=12, heads=2))
    network.fit_normalisation([random_state(0)])
    save_checkpoint(path, network, Description(family=None))
    policy = load_policy(path)
    assert isinstance(policy, NetworkPolicy)
    np.testing.assert_array_equal(policy.score(random_state(1), []), NetworkPolicy(network).score(random_state(1), []))


@pytest.mark.parametrize("width", [16, 12])  # for the native network, and for torch's
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_what_a_policy_is_after_stands_in_its_checkpoint(tmp_path, width, device):
    network = BranchingNetwork(NetworkConfig(width=width, heads=2))
    for raises_bound, mixes in ((True, False), (False, True)):
        path = tmp_path / f"{raises_bound}.safetensors"
        save_checkpoint(path, network, Description(family="knapsack", raises_bound=raises_bound, mixes_pseudocosts=mixes))
        policy = load_policy(path, device=device)
        assert (policy.raises_bound, policy.mixes_pseudocosts) == (raises_bound, mixes)
    loaded = load_policy(tmp_path / "False.safetensors", device="cpu")
    policy = AutoPolicy({"mine": "knapsack"}, lambda _: loaded)
    assert (policy.raises_bound, policy.mixes_pseudocosts) == (False, True)
    if width == 16:
        copied = pickle.loads(pickle.dumps(loaded))
        assert (copied.raises_bound, copied.mixes_pseudocosts) == (False, True)


def test_every_policy_that_ships_loads_and_scores():
    for name in pretrained.pretrained_names():
        policy = load_policy(name)
        for state in golden_states()[:4]:
            scores = policy.score(state, [])
            assert np.isfinite(scores).all()
            assert len(np.unique(scores)) > 1


def test_policies_are_to_be_had_without_torch():
    code = "import sys, revibranch.gnn.policy as p; p.load_policy('auto'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
