"""Policies by name, and the device they run on. Reading a policy for the CPU imports no torch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from ..branching.policy import Policy
from .automatic import AutoPolicy
from .description import Header, read_checkpoint, read_header
from .devices import DEVICES, Device, FallbackPolicy, LargeGraphPolicy, gpu_present
from .native import NativePolicy, fits
from .pretrained import pretrained_names, pretrained_path

__all__ = ["load_policy"]


def load_policy(spec: str | os.PathLike[str], *, device: Device = "auto", threads: int = 1) -> Policy:
    """A policy by name.

    Args:
        spec: ``auto`` (for each model the policy of its family, :class:`~revibranch.gnn.automatic.AutoPolicy`), the name of a
            pretrained policy, or the path of a checkpoint file.
        device: ``cpu``; ``cuda`` for the GPU; ``auto`` for the GPU where there is one and a graph is large (edges times width of
            the network at least :data:`~revibranch.gnn.devices.CROSSOVER_WORK`), else the CPU. Where the GPU cannot be used, or
            fails in the middle of a solve, the CPU takes over with one warning and the same scores up to rounding.
        threads: torch's threads, where torch runs the network. The native network takes one core.

    Raises:
        ValueError: no policy or device has that name, or the number of threads makes no sense.
        CheckpointError: the checkpoint cannot be read or does not fit.
        ImportError: the network needs torch (a width the native module cannot run), which is not installed.
    """
    spec = os.fspath(spec)
    if threads < 1:
        raise ValueError(f"a policy needs at least one thread, not {threads}")
    if device not in DEVICES:
        raise ValueError(f"unknown device {device!r}; known are {', '.join(DEVICES)}")
    if spec == "auto":
        families = {name: read_header(pretrained_path(name)).description.family for name in pretrained_names()}
        return AutoPolicy(families, partial(load_policy, device=device, threads=threads))
    path = _resolve(spec)
    header, tensors = read_checkpoint(path)
    cpu: Policy = (
        NativePolicy(header.config, tensors, **_nature(header)) if fits(header.config) else _torch_policy(header, tensors, "cpu", threads)
    )
    gpu = partial(_torch_policy, header, tensors, "cuda", threads)
    if device == "cuda":
        return FallbackPolicy(gpu, cpu)
    if device == "auto" and gpu_present():
        return LargeGraphPolicy(cpu, lambda: FallbackPolicy(gpu, cpu, asked_for=False), header.config.width)
    return cpu


def _torch_policy(header: Header, tensors: Mapping[str, NDArray[np.float32]], device: str, threads: int) -> Policy:
    from .checkpoint import network_of
    from .torch_policy import NetworkPolicy

    return NetworkPolicy(network_of(header, tensors), device, threads, **_nature(header))


class _Nature(TypedDict):
    raises_bound: bool
    mixes_pseudocosts: bool


def _nature(header: Header) -> _Nature:
    """What a checkpoint says of a policy beside its scores."""
    description = header.description
    return {"raises_bound": description.raises_bound, "mixes_pseudocosts": description.mixes_pseudocosts}


def _resolve(spec: str) -> Path:
    names = pretrained_names()
    if spec in names:
        return pretrained_path(spec)
    path = Path(spec)
    if spec and (path.suffix == ".safetensors" or path.exists()):
        return path
    raise ValueError(
        f"unknown policy {spec!r}; known are {', '.join(['auto', *names])}, or give a checkpoint file (*.safetensors). On command "
        "lines +guard and +nodes may follow, in Python guard= and mode= say it"
    )
