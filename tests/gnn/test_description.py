from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch

from revibranch.branching.state import variable_column_names
from revibranch.gnn.checkpoint import load_checkpoint, save_checkpoint
from revibranch.gnn.description import CheckpointError, Description, read_checkpoint, tensor_shapes
from revibranch.gnn.network import BranchingNetwork, NetworkConfig


def test_what_needs_no_torch_does_not_import_it():
    code = """
import importlib, sys
for module in ("columns", "config", "description", "facts", "history"):
    importlib.import_module(f"revibranch.gnn.{module}")
    assert "torch" not in sys.modules, module
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_reading_a_file_does_not_import_torch(tmp_path):
    path = tmp_path / "policy.safetensors"
    save_checkpoint(path, BranchingNetwork(NetworkConfig(width=8)), Description(family="setcover"))
    code = """
import sys
from revibranch.gnn.description import read_checkpoint
header, tensors = read_checkpoint(sys.argv[1])
assert header.config.width == 8 and header.description.family == "setcover" and len(tensors) > 50
sys.exit("torch" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == 0


@pytest.mark.parametrize(
    "config",
    [
        NetworkConfig(),
        NetworkConfig(width=8, heads=2, history_length=5, variable_columns=variable_column_names()),
        NetworkConfig(width=12, variable_columns=("solution_value", "incumbent_value"), row_columns=("bias",)),
        NetworkConfig(width=8, classes=5),
    ],
)
def test_expected_tensors_are_those_of_the_network(config):
    state = BranchingNetwork(config).state_dict()
    assert tensor_shapes(config) == {name: tuple(tensor.shape) for name, tensor in state.items()}
    assert {tensor.dtype for tensor in state.values()} == {torch.float32}


def test_arrays_equal_the_tensors_that_were_saved(tmp_path):
    torch.manual_seed(2)
    network = BranchingNetwork(NetworkConfig(width=8, heads=2))
    path = tmp_path / "policy.safetensors"
    save_checkpoint(path, network, Description(family=None))
    header, arrays = read_checkpoint(path)
    assert header.config == network.config
    assert arrays.keys() == network.state_dict().keys()
    for name, tensor in network.state_dict().items():
        assert arrays[name].dtype == np.float32
        assert np.array_equal(arrays[name], tensor.numpy()), name


def test_a_type_that_numpy_does_not_know_is_refused_by_name(tmp_path):
    network = BranchingNetwork(NetworkConfig(width=8))
    path = tmp_path / "policy.safetensors"
    save_checkpoint(path, network, Description(family=None))
    with safetensors.safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    tensors = network.state_dict()
    tensors["decoder.null"] = tensors["decoder.null"].bfloat16()
    safetensors.torch.save_file(tensors, path, metadata=metadata)
    with pytest.raises(CheckpointError, match=r"decoder.null is bfloat16\[8\], expected float32\[8\]"):
        load_checkpoint(path)
