from __future__ import annotations

import json
import os

import pytest
import safetensors
import safetensors.torch
import torch

from revibranch.gnn.checkpoint import FORMAT, CheckpointError, Description, load_checkpoint, save_checkpoint
from revibranch.gnn.network import BranchingNetwork, NetworkConfig

from .states import random_state

DESCRIPTION = Description(
    family="setcover",
    recipe="[training]\nseed = 3\n",
    seeds=(3, 4),
    samples={"training": 1000, "validation": 200},
    scores={"accuracy": 0.5},
    commit="0123abc",
    scip_version="10.0.2",
)


@pytest.fixture
def network() -> BranchingNetwork:
    torch.manual_seed(0)
    network = BranchingNetwork(NetworkConfig(width=8, heads=2, history_length=5))
    network.fit_normalisation([random_state()])
    return network


@pytest.fixture
def path(tmp_path, network):
    path = tmp_path / "policy.safetensors"
    save_checkpoint(path, network, DESCRIPTION)
    return path


def rewrite(path, *, header=None, tensors=None, raw=None):
    """The same file with a changed header (a function of the parsed one) or changed tensors."""
    with safetensors.safe_open(path, framework="pt") as file:
        metadata, kept = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    parsed = json.loads(metadata["revibranch"])
    if header:
        header(parsed)
    if tensors:
        tensors(kept)
    safetensors.torch.save_file(kept, path, metadata={"revibranch": json.dumps(parsed) if raw is None else raw})


def refusal(path) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def test_a_round_trip_is_bit_equal(path, network):
    loaded, description = load_checkpoint(path)
    assert description == DESCRIPTION
    assert loaded.config == network.config
    assert not loaded.training
    state = loaded.state_dict()
    assert state.keys() == network.state_dict().keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())


def test_what_was_fitted_is_in_the_file(path):
    with safetensors.safe_open(path, framework="pt") as file:
        names = set(file.keys())
    assert {"encoder.normalise_variables.mean", "encoder.to_rows.sum_scale", "encoder.to_rows.edge_mean"} <= names


def test_saving_replaces_the_file_and_leaves_nothing_else(path, network):
    save_checkpoint(path, network, Description(family=None))
    assert load_checkpoint(path)[1].family is None
    assert [part.name for part in path.parent.iterdir()] == [path.name]


def test_a_failed_save_keeps_the_old_file(path, network, monkeypatch):
    def fail(_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        save_checkpoint(path, network, Description(family="other"))
    assert load_checkpoint(path)[1] == DESCRIPTION
    assert [part.name for part in path.parent.iterdir()] == [path.name]


def test_loading_draws_no_random_numbers(path):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load_checkpoint(path)
    assert torch.equal(torch.rand(3), expected)


def test_another_format_names_both_versions(path):
    rewrite(path, header=lambda parsed: parsed.update(format=99))
    message = refusal(path)
    assert "99" in message
    assert f"format {FORMAT}" in message


@pytest.mark.parametrize("kind", ["variable", "row"])
def test_unknown_columns_name_both_sides(path, kind):
    rewrite(path, header=lambda parsed: parsed["config"][f"{kind}_columns"].append("colour"))
    message = refusal(path)
    assert f"{kind} columns colour" in message
    assert {"variable": "solution_frac", "row": "bias"}[kind] in message


def test_other_node_facts_name_both_sides(path):
    rewrite(path, header=lambda parsed: parsed.update(node_facts=["weather"]))
    message = refusal(path)
    assert "weather" in message
    assert "is_bounded_above" in message


def test_missing_extra_and_misshapen_tensors_are_named(path):
    def change(tensors):
        del tensors["decoder.null"]
        tensors["decoder.zero"] = torch.zeros(2)
        tensors["decoder.key.bias"] = torch.zeros(3)
        tensors["decoder.value.bias"] = tensors["decoder.value.bias"].double()

    rewrite(path, tensors=change)
    message = refusal(path)
    assert "lacks decoder.null" in message
    assert "unknown decoder.zero" in message
    assert "decoder.key.bias is float32[3], expected float32[8]" in message
    assert "decoder.value.bias is float64[8], expected float32[8]" in message


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(path, value):
    rewrite(path, tensors=lambda tensors: tensors["decoder.null"].__setitem__(2, value))
    assert "decoder.null is not finite" in refusal(path)


def test_a_width_that_does_not_fit_the_tensors_is_refused(path):
    rewrite(path, header=lambda parsed: parsed["config"].update(width=16))
    assert "expected float32" in refusal(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda parsed: parsed["config"].update(width=10**9),
        lambda parsed: parsed["config"].update(depth=2),
        lambda parsed: parsed["description"].update(mood="good"),
        lambda parsed: parsed.pop("config"),
        lambda parsed: parsed.update(config=[1]),
        lambda parsed: parsed["config"].update(variable_columns=[]),
    ],
)
def test_a_description_that_does_not_fit_is_refused(path, change):
    rewrite(path, header=change)
    assert "does not fit this version" in refusal(path)


@pytest.mark.parametrize(("raw", "expected"), [("{", "no JSON"), ("[]", "format None")])
def test_a_broken_description_is_refused(path, raw, expected):
    rewrite(path, raw=raw)
    assert expected in refusal(path)


def test_a_foreign_safetensors_file_is_refused(tmp_path):
    path = tmp_path / "foreign.safetensors"
    safetensors.torch.save_file({"weight": torch.zeros(2)}, path)
    assert "no ReviBranch checkpoint" in refusal(path)


@pytest.mark.parametrize("length", [0, 5, 100, -1])
def test_a_truncated_file_is_refused(path, length):
    path.write_bytes(path.read_bytes()[:length])
    assert "damaged" in refusal(path)


def test_another_kind_of_file_is_refused(tmp_path):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"\x80\x04K\x01." * 50)
    assert "damaged" in refusal(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    assert "No such file" in refusal(tmp_path / "nowhere.safetensors")
    assert "directory" in refusal(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_refused(path):
    path.chmod(0)
    assert "Permission denied" in refusal(path)
