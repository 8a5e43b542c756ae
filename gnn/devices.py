"""Where a network runs: on the CPU, or on a GPU where there is one and the graph is large enough to pay its way.

The policies here ask two others, the same network on two devices, whose memories are arrays that either reads. Importing this
imports no torch.
"""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Literal, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from ..branching.complaints import one_line
from ..branching.policy import PathStep, Policy
from ..branching.state import BranchState

if TYPE_CHECKING:
    from pyscipopt import Model

__all__ = ["CROSSOVER_WORK", "DEVICES", "Device", "FallbackPolicy", "LargeGraphPolicy", "cuda_problem", "gpu_present"]

Device = Literal["auto", "cpu", "cuda"]
DEVICES: tuple[Device, ...] = get_args(Device)

CROSSOVER_WORK = 20_000_000
"""Edges of a graph times width of the network from which on ``auto`` takes the GPU (benchmarks/SPEED.md, "On a GPU")."""

_GPU_FILES = ("/dev/nvidiactl", "/dev/dxg")
"""What NVIDIA's driver shows on Linux, and under Windows' Linux."""

_SHOWN = 200
"""Longest text of an error of torch's that is passed on."""

T = TypeVar("T")

logger = logging.getLogger("revibranch")


def gpu_present() -> bool:
    """Whether a GPU may be usable: a driver is there, and all that the network needs. Cheap, and imports nothing."""
    return any(map(os.path.exists, _GPU_FILES)) and all(map(importlib.util.find_spec, ("torch", "torch_geometric")))


@cache
def cuda_problem() -> str | None:
    """Why torch cannot use a CUDA device, in one line; None where it can. Found out once a process."""
    try:
        import torch
        import torch_geometric  # noqa: F401

        torch.zeros(1, device="cuda")
    except (ImportError, OSError) as error:  # OSError: a library that torch was built on is missing
        return f"PyTorch or PyG cannot be loaded: {one_line(error)[:_SHOWN]}"
    except (RuntimeError, AssertionError) as error:  # torch says AssertionError where it was built without CUDA
        return f"no usable CUDA device: {one_line(error)[:_SHOWN]}"
    return None


class FallbackPolicy(Policy):
    """Asks the GPU until it fails (it is gone, out of memory, or was never there), then the CPU for good. Other errors are raised.

    Args:
        make_gpu: makes the GPU's policy; called at once.
        cpu: the same network on the CPU.
        asked_for: whether someone asked for the GPU: then a warning tells that there is none, else a line at the level INFO.
    """

    def __init__(self, make_gpu: Callable[[], Policy], cpu: Policy, *, asked_for: bool = True) -> None:
        self.extended = cpu.extended
        self.needs_path = cpu.needs_path
        self.raises_bound = cpu.raises_bound
        self.mixes_pseudocosts = cpu.mixes_pseudocosts
        self._cpu = cpu
        self._gpu: Policy | None = None
        self._failure = cuda_problem()
        if self._failure is not None:
            logger.log(logging.WARNING if asked_for else logging.INFO, "%s; the policy runs on the CPU", self._failure)
            return
        try:
            self._gpu = make_gpu()
        except RuntimeError as error:
            self._fall_back(error)

    def begin(self, model: Model) -> None:
        """Begin a solve with the policy that is in charge."""
        (self._gpu or self._cpu).begin(model)

    def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[np.floating] | None:
        """Scores of whichever policy is in charge."""
        return self._ask(lambda policy: policy.score(state, path))

    def remember(self, state: BranchState, path: Sequence[PathStep], choice: int) -> object:
        """Memory of whichever policy is in charge."""
        return self._ask(lambda policy: policy.remember(state, path, choice))

    def report(self) -> dict[str, float | str]:
        """The device, and why it is no GPU."""
        return {"device": "cuda" if self._failure is None else f"cpu ({self._failure})"}

    def _ask(self, question: Callable[[Policy], T]) -> T:
        if self._gpu is not None:
            try:
                return question(self._gpu)
            except RuntimeError as error:
                self._fall_back(error)
        return question(self._cpu)

    def _fall_back(self, error: RuntimeError) -> None:
        """Let go of the GPU, unless the error is none of its own: CUDA's name itself in every message, in capitals."""
        if "CUDA" not in str(error):
            raise error
        self._gpu = None  # and of the memory that it holds
        self._failure = f"the GPU failed: {one_line(error)[:_SHOWN]}"
        logger.warning("%s; the CPU takes over", self._failure)


class LargeGraphPolicy(Policy):
    """Asks one policy about small graphs and another one about large ones.

    Args:
        small: for graphs of fewer edges.
        make_large: makes the policy for the others; called once, when the first of them comes.
        width: of the network.
        work: edges times width from which on a graph is large.
    """

    def __init__(self, small: Policy, make_large: Callable[[], Policy], width: int, work: int = CROSSOVER_WORK) -> None:
        self.extended = small.extended
        self.needs_path = small.needs_path
        self.raises_bound = small.raises_bound
        self.mixes_pseudocosts = small.mixes_pseudocosts
        self._small, self._make_large, self._edges = small, make_large, -(-work // width)
        self._large: Policy | None = None
        self._asked_large = False

    def begin(self, model: Model) -> None:
        """Begin a solve with those of the two that there are."""
        self._asked_large = False
        self._small.begin(model)
        if self._large is not None:
            self._large.begin(model)

    def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[np.floating] | None:
        """Scores of the policy for graphs of this size."""
        return self._for(state).score(state, path)

    def remember(self, state: BranchState, path: Sequence[PathStep], choice: int) -> object:
        """Memory of the policy for graphs of this size."""
        return self._for(state).remember(state, path, choice)

    def report(self) -> dict[str, float | str]:
        """The device of this solve's large graphs; empty where there were none."""
        return dict(self._large.report()) if self._asked_large and self._large is not None else {}

    def _for(self, state: BranchState) -> Policy:
        if state.n_edges < self._edges:
            return self._small
        self._asked_large = True
        if self._large is None:
            self._large = self._small  # stays so if what follows fails: a mistake is raised once, not at every node
            self._large = self._make_large()
        return self._large
