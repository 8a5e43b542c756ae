"""A small network with random weights, fitted to random states."""

from __future__ import annotations

import torch

from revibranch.gnn.network import BranchingNetwork, NetworkConfig

from .states import random_state


def fresh(history_length: int = 3) -> BranchingNetwork:
    torch.manual_seed(0)
    network = BranchingNetwork(NetworkConfig(width=16, history_length=history_length))
    network.fit_normalisation([random_state(seed) for seed in range(3)])
    return network
