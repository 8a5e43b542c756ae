"""Checkpoints: one safetensors file that holds a network's weights and says what they are. No pickle."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray

from ..branching.files import write_atomically
from .description import FORMAT, METADATA_KEY, CheckpointError, Description, Header, read_checkpoint
from .network import BranchingNetwork

__all__ = ["FORMAT", "CheckpointError", "Description", "load_checkpoint", "network_of", "save_checkpoint"]


def save_checkpoint(path: str | os.PathLike[str], network: BranchingNetwork, description: Description) -> None:
    """Write a checkpoint; a reader finds the old file or the whole new one, never a part.

    Raises:
        OSError: the file cannot be written.
    """
    header = Header(config=network.config, description=description)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    data = safetensors.torch.save(tensors, metadata={METADATA_KEY: header.model_dump_json()})
    write_atomically(path, data)


def load_checkpoint(path: str | os.PathLike[str]) -> tuple[BranchingNetwork, Description]:
    """Read a checkpoint onto the CPU; the network is in evaluation mode. Draws no random numbers.

    Raises:
        CheckpointError: the file cannot be read, is damaged, or does not fit this version.
    """
    header, arrays = read_checkpoint(path)
    return network_of(header, arrays), header.description


def network_of(header: Header, arrays: Mapping[str, NDArray[np.float32]]) -> BranchingNetwork:
    """The network of a checkpoint that was read, on the CPU and in evaluation mode. Draws no random numbers.

    In single precision, whatever torch's defaults for new tensors are.
    """
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        network = BranchingNetwork(header.config).float()
    network.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
    return network.eval()
