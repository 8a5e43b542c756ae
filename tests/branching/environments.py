"""What the tests of the environment share."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pyscipopt import Model

from revibranch.branching.state import BranchState

from .models import INSTANCES, OPTIMA, knapsack, read

if TYPE_CHECKING:
    from revibranch.branching.environment import BranchingEnv

ROOT = Path(__file__).parents[2]
UNBRANCHED = ("egout.mps", "gt2.mps", "p0548.mps")
"""Files that SCIP solves in the root with clean settings."""
FILES = tuple(name for name in OPTIMA if name not in UNBRANCHED)


def file(name: str) -> Callable[[], Model]:
    return lambda: read(INSTANCES / name)


def small() -> Model:
    """A model with some twenty decisions, built in no time."""
    return knapsack(3, 15, 0)


def random_episode(environment: BranchingEnv, seed: int | None, actions: int = 0) -> list[tuple[Any, ...]]:
    """Observation, reward, terminated, truncated, info of every step."""
    generator = np.random.default_rng(actions)
    state, info = environment.reset(seed=seed)
    steps = [(state, 0.0, False, False, info)]
    while not (steps[-1][2] or steps[-1][3]):
        steps.append(environment.step(generator.integers(steps[-1][4]["action_mask"].sum())))
    return steps


def same_state(one: BranchState, other: BranchState) -> bool:
    return all(
        np.array_equal(a, b, equal_nan=a.dtype.kind == "f") if isinstance(a, np.ndarray) else a == b
        for a, b in ((getattr(one, field.name), getattr(other, field.name)) for field in fields(BranchState))
    )


def same_info(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return (
        one.keys() == other.keys()
        and all(np.array_equal(one[key], other[key]) for key in one if key != "node")
        and one["node"] == other["node"]
    )


def solver_threads() -> int:
    return sum(thread.name.startswith("revibranch") for thread in threading.enumerate())


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()
