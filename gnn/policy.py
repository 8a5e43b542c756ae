"""Policies by name, and the device they run on. Reading a policy for the CPU imports no torch."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from ..branching.policy import PathStep, Policy
from ..branching.state import BranchState
from .automatic import AutoPolicy
from .description import read_checkpoint, read_header
from .native import NativePolicy, fits
from .pretrained import pretrained_names, pretrained_path

if TYPE_CHECKING:
    from pyscipopt import Model

__all__ = ["Device", "FallbackPolicy", "load_policy"]

Device = Literal["auto", "cpu", "cuda"]

logger = logging.getLogger("revibranch")


def load_policy(spec: str | os.PathLike[str], *, device: Device = "auto", threads: int = 1) -> Policy:
    """A policy by name.

    Args:
        spec: ``auto`` (for each model the policy of its family, :class:`~revibranch.gnn.automatic.AutoPolicy`), the name of a
            pretrained policy, or the path of a checkpoint file.
        device: ``auto`` is the CPU: one small graph a call does not pay a GPU's way. ``cuda`` runs on the GPU; where there
            is none, or where it fails in the middle of a solve, the CPU takes over with one warning and the same scores.
        threads: torch's threads, where torch runs the network. The native network takes one core.

    Raises:
        ValueError: no policy has that name, or the number of threads makes no sense.
        CheckpointError: the checkpoint cannot be read or does not fit.
        ImportError: the network needs torch (a GPU, or a width the native module cannot run), which is not installed.
    """
    if threads < 1:
        raise ValueError(f"a policy needs at least one thread, not {threads}")
    if spec == "auto":
        families = {name: read_header(pretrained_path(name)).description.family for name in pretrained_names()}
        return AutoPolicy(families, lambda name: load_policy(name, device=device, threads=threads))
    path = _resolve(spec)
    header, tensors = read_checkpoint(path)
    if device == "cuda":
        from .checkpoint import load_checkpoint
        from .torch_policy import NetworkPolicy

        def on_cpu() -> Policy:
            return NativePolicy(header.config, tensors) if fits(header.config) else NetworkPolicy(load_checkpoint(path)[0], threads=threads)

        try:
            return FallbackPolicy(NetworkPolicy(load_checkpoint(path)[0], "cuda", threads), on_cpu())
        except (RuntimeError, AssertionError) as error:  # torch says AssertionError where it was built without CUDA
            logger.warning("no usable CUDA device (%s); the policy runs on the CPU", " ".join(str(error).split())[:200])
            return on_cpu()
    if fits(header.config):
        return NativePolicy(header.config, tensors)
    from .checkpoint import load_checkpoint
    from .torch_policy import NetworkPolicy

    return NetworkPolicy(load_checkpoint(path)[0], threads=threads)


class FallbackPolicy(Policy):
    """Asks one policy until it raises RuntimeError (a GPU that is gone or out of memory), then another one for good.

    The two must be the same network: a step remembered by the first is handed to the second as an array.
    """

    def __init__(self, first: Policy, second: Policy) -> None:
        self.extended = first.extended
        self.needs_path = first.needs_path
        self._current, self._second = first, second

    @property
    def fell_back(self) -> bool:
        """Whether the second policy has taken over."""
        return self._current is self._second

    def begin(self, model: Model) -> None:
        """Begin a solve with the policy that is in charge."""
        self._current.begin(model)

    def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[np.floating] | None:
        """Scores of whichever policy is in charge."""
        if not self.fell_back:
            try:
                return self._current.score(state, path)
            except RuntimeError as error:
                self._fall_back(error)
        return self._second.score(state, _as_arrays(path))

    def remember(self, state: BranchState, path: Sequence[PathStep], choice: int) -> object:
        """Memory of whichever policy is in charge."""
        if not self.fell_back:
            try:
                return self._current.remember(state, path, choice)
            except RuntimeError as error:
                self._fall_back(error)
        return self._second.remember(state, _as_arrays(path), choice)

    def _fall_back(self, error: RuntimeError) -> None:
        logger.warning("the GPU failed (%s); the CPU takes over", " ".join(str(error).split())[:200])
        self._current = self._second


def _as_arrays(path: Sequence[PathStep]) -> tuple[PathStep, ...]:
    """The path with tensors of any device as NumPy arrays."""
    return tuple(
        PathStep(step.node, step.depth, step.child, step.memory.cpu().numpy()) if hasattr(step.memory, "cpu") else step for step in path
    )


def _resolve(spec: str | os.PathLike[str]) -> Path:
    names = pretrained_names()
    if spec in names:
        return pretrained_path(str(spec))
    path = Path(spec)
    if path.suffix == ".safetensors" or path.exists():
        return path
    raise ValueError(f"unknown policy {str(spec)!r}; known are {', '.join(['auto', *names])}, or give a checkpoint file (*.safetensors)")
