"""Where gradient steps run. Rollouts and collecting stay on the CPU: their workers run the native network, or none."""

from __future__ import annotations

import torch

from ..devices import Device
from .errors import TrainingError

__all__ = ["torch_device"]


def torch_device(device: Device) -> torch.device:
    """The device of a recipe; ``auto`` is the GPU where torch sees one.

    Raises:
        TrainingError: ``cuda`` is asked for and cannot be used. A training that would take hours there may take days elsewhere, so
            there is no falling back.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda":
        try:
            torch.zeros(1, device="cuda")
        except (RuntimeError, AssertionError) as error:  # torch says AssertionError where it was built without CUDA
            raise TrainingError(f"no usable CUDA device: {' '.join(str(error).split())[:200]}") from error
    return torch.device(device)
