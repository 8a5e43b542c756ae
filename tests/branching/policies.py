"""Policies for tests: hand-written rules that need no network."""

from __future__ import annotations

import weakref
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pyscipopt import Model

from revibranch.branching.policy import PathStep, Policy
from revibranch.branching.state import BranchState, variable_column_names

FRACTION = variable_column_names().index("solution_frac")
OBJECTIVE = variable_column_names().index("objective")


class MostFractional(Policy):
    """The candidate nearest to one half, heavier objective first: deterministic, needs the path for nothing."""

    extended = False
    needs_path = False

    def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[np.floating]:
        chosen = state.variable_features[state.candidates]
        return -np.abs(chosen[:, FRACTION] - 0.5) + 1e-3 * np.abs(chosen[:, OBJECTIVE])


class KnowsItsModel(MostFractional):
    """Holds the model weakly, for policies that do to SCIP what they please."""

    def begin(self, model: Model) -> None:
        self._model = weakref.ref(model)

    @property
    def model(self) -> Model:
        model = self._model()
        assert model is not None
        return model


class RaisesAtRandom(MostFractional):
    """Raises at about every third node."""

    def __init__(self, seed: int = 0) -> None:
        self.generator = np.random.default_rng(seed)

    def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[np.floating]:
        if self.generator.random() < 0.35:
            raise ZeroDivisionError("as planned")
        return super().score(state, path)


class Recorder(MostFractional):
    """Keeps node, path and choice of every decision."""

    needs_path = True

    def __init__(self) -> None:
        self.decisions: list[tuple[int, int, tuple[PathStep, ...], int]] = []

    def remember(self, state: BranchState, path: Sequence[PathStep], choice: int) -> object:
        self.decisions.append((state.node.number, state.node.depth, tuple(path), int(state.candidates[choice])))
        return len(self.decisions) - 1
