"""Where a network runs: on the CPU, or on a GPU where there is one and the graph is large enough to pay its way.

The policies here ask two others that are the same network on two devices. Importing this imports no torch.
"""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..branching.policy import PathStep, Policy
from ..branching.state import BranchState

if TYPE_CHECKING:
    from pyscipopt import Model

__all__ = ["CROSSOVER_WORK", "DEVICES", "Device", "FallbackPolicy", "LargeGraphPolicy", "gpu_present", "on_gpu"]

Device = Literal["auto", "cpu", "cuda"]
DEVICES: tuple[Device, ...] = get_args(Device)

CROSSOVER_WORK = 12_000_000
"""Edges of a graph times width of the network from which on ``auto`` takes the GPU (benchmarks/SPEED.md, "On a GPU")."""

_GPU_FILES = ("/dev/nvidiactl", "/dev/dxg")
"""What NVIDIA's driver shows on Linux, and under Windows' Linux."""

logger = logging.getLogger("revibranch")


def gpu_present() -> bool:
    """Whether a CUDA device may be usable: its driver and torch are there. Cheap, and imports neither."""
    return any(map(os.path.exists, _GPU_FILES)) and importlib.util.find_spec("torch") is not None


def on_gpu(make: Callable[[], Policy], cpu: Policy) -> Policy:
    """A policy that runs on the GPU for as long as that works; the one of the CPU, with one warning, where it never does.

    Args:
        make: makes the GPU's policy; raises what Python and torch raise where there is no torch, or no usable device.
        cpu: the same network on the CPU.
    """
    try:
        return FallbackPolicy(make(), cpu)
    except (RuntimeError, AssertionError, ImportError) as error:  # torch says AssertionError where it was built without CUDA
        logger.warning("no usable CUDA device (%s); the policy runs on the CPU", _one_line(error))
        return cpu


class FallbackPolicy(Policy):
    """Asks one policy until it raises RuntimeError (a GPU that is gone or out of memory), then another one for good.

    The two must be the same network: a step remembered by the first is handed to the second as an array.
    """

    def __init__(self, first: Policy, second: Policy) -> None:
        self.extended = first.extended
        self.needs_path = first.needs_path
        self._first, self._second = first, second
        self._failure: str | None = None

    @property
    def fell_back(self) -> bool:
        """Whether the second policy has taken over."""
        return self._failure is not None

    def begin(self, model: Model) -> None:
        """Begin a solve with the policy that is in charge."""
        (self._second if self.fell_back else self._first).begin(model)

    def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[np.floating] | None:
        """Scores of whichever policy is in charge."""
        if not self.fell_back:
            try:
                return self._first.score(state, path)
            except RuntimeError as error:
                self._fall_back(error)
        return self._second.score(state, _as_arrays(path))

    def remember(self, state: BranchState, path: Sequence[PathStep], choice: int) -> object:
        """Memory of whichever policy is in charge."""
        if not self.fell_back:
            try:
                return self._first.remember(state, path, choice)
            except RuntimeError as error:
                self._fall_back(error)
        return self._second.remember(state, _as_arrays(path), choice)

    def report(self) -> dict[str, float | str]:
        """The device, and why it is no GPU any more."""
        return {"device": "cuda" if self._failure is None else f"cpu (the GPU failed: {self._failure})"}

    def _fall_back(self, error: RuntimeError) -> None:
        self._failure = _one_line(error)
        logger.warning("the GPU failed (%s); the CPU takes over", self._failure)


class LargeGraphPolicy(Policy):
    """Asks one policy about small graphs and another one about large ones. The same network, so that either reads the other's memory.

    Args:
        small: for graphs of fewer edges.
        make_large: makes the policy for the others; called when the first of them comes.
        width: of the network.
        work: edges times width from which on a graph is large.
    """

    def __init__(self, small: Policy, make_large: Callable[[], Policy], width: int, work: int = CROSSOVER_WORK) -> None:
        self.extended = small.extended
        self.needs_path = small.needs_path
        self._small, self._make_large, self._edges = small, make_large, -(-work // width)
        self._large: Policy | None = None

    def begin(self, model: Model) -> None:
        """Begin a solve with both."""
        self._small.begin(model)
        if self._large is not None:
            self._large.begin(model)

    def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[np.floating] | None:
        """Scores of the policy for graphs of this size."""
        policy, path = self._asked(state, path)
        return policy.score(state, path)

    def remember(self, state: BranchState, path: Sequence[PathStep], choice: int) -> object:
        """Memory of the policy for graphs of this size."""
        policy, path = self._asked(state, path)
        return policy.remember(state, path, choice)

    def report(self) -> dict[str, float | str]:
        """The device of large graphs, once there was one."""
        return {} if self._large is None else dict(self._large.report())

    def _asked(self, state: BranchState, path: Sequence[PathStep]) -> tuple[Policy, Sequence[PathStep]]:
        if state.n_edges >= self._edges:
            if self._large is None:
                self._large = self._make_large()
            return self._large, path
        return self._small, path if self._large is None else _as_arrays(path)


def _as_arrays(path: Sequence[PathStep]) -> tuple[PathStep, ...]:
    """The path with tensors of any device as NumPy arrays."""
    return tuple(
        PathStep(step.node, step.depth, step.child, step.memory.cpu().numpy()) if hasattr(step.memory, "cpu") else step for step in path
    )


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
