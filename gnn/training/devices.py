"""Where gradient steps run. Rollouts and collecting stay on the CPU: their workers run the native network, or none."""

from __future__ import annotations

import logging

import torch

from ..devices import Device, cuda_problem
from .errors import TrainingError

__all__ = ["torch_device"]

logger = logging.getLogger("revibranch")


def torch_device(device: Device) -> torch.device:
    """The device by its name; ``auto`` is the GPU where it can be used.

    Raises:
        TrainingError: ``cuda`` is asked for and cannot be used. A training that would take hours there may take days elsewhere, so
            there is no falling back.
    """
    if device == "cpu":
        return torch.device("cpu")
    problem = cuda_problem()
    if problem is None:
        return torch.device("cuda")
    if device == "cuda":
        raise TrainingError(problem)
    logger.info("%s; gradient steps run on the CPU", problem)
    return torch.device("cpu")
