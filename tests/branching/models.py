"""Models for tests: files under tests/data, and small random MIPs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pyscipopt import Model, quicksum

from revibranch.branching.settings import apply_settings
from revibranch.instances import families

DATA = Path(__file__).parents[1] / "data"
INSTANCES = DATA / "instances"

OPTIMA: dict[str, float | None] = {
    "egout.mps": 568.1007,
    "flugpl.mps": 1201500,
    "gt2.mps": 21166,
    "lseu.mps": 1120,
    "rgn.mps": 82.1999974,
    "misc03.mps": 3360,
    "p0548.mps": 8691,
    "enigma.mps": 0,
    "MANN_a9.clq.lp": 16,
    "stein27_inf.lp": None,
}
"""Published optima of the files (None: infeasible)."""


def read(path: Path, **parameters: object) -> Model:
    model = Model()
    model.hideOutput()
    model.readProblem(str(path))
    if parameters:
        model.setParams({name.replace("__", "/"): value for name, value in parameters.items()})
    return model


def generated(name: str) -> Model:
    """An instance such as ``auction:60x250:200`` (family, size, seed), in clean settings."""
    family, size, seed = name.split(":")
    model = families.get(family).generate(size, int(seed)).to_model()
    apply_settings(model, "clean")
    return model


def set_cover(rows: int, columns: int, density: float, seed: int) -> Model:
    generator = np.random.default_rng(seed)
    model = Model()
    model.hideOutput()
    costs = generator.integers(1, 101, columns)
    variables = [model.addVar(vtype="B", obj=float(cost)) for cost in costs]
    for _ in range(rows):
        members = generator.choice(columns, max(2, int(density * columns)), replace=False)
        model.addCons(quicksum(variables[j] for j in members) >= 1)
    return model


def knapsack(rows: int, columns: int, seed: int) -> Model:
    """A multi-dimensional knapsack: many nodes in little time."""
    generator = np.random.default_rng(seed)
    model = Model()
    model.hideOutput()
    weights = generator.integers(10, 100, (rows, columns))
    profits = weights.mean(axis=0) + generator.integers(0, 20, columns)
    variables = [model.addVar(vtype="B") for _ in range(columns)]
    for row in weights:
        model.addCons(quicksum(int(w) * x for w, x in zip(row, variables, strict=True)) <= int(row.sum()) // 3)
    model.setObjective(quicksum(float(p) * x for p, x in zip(profits, variables, strict=True)), "maximize")
    return model


@dataclass(frozen=True)
class RandomMip:
    """A small MIP by its numbers, so that one example can be built several times."""

    maximise: bool
    kinds: str
    objective: tuple[int, ...]
    lower: tuple[int | None, ...]
    upper: tuple[int | None, ...]
    rows: tuple[tuple[tuple[int, ...], str, int], ...]

    def build(self) -> Model:
        model = Model()
        model.hideOutput()
        variables = [model.addVar(vtype=kind, lb=low, ub=high) for kind, low, high in zip(self.kinds, self.lower, self.upper, strict=True)]
        for coefficients, sense, side in self.rows:
            left = quicksum(c * x for c, x in zip(coefficients, variables, strict=True) if c)
            if sense == "<":
                model.addCons(left <= side)
            elif sense == ">":
                model.addCons(left >= side)
            elif sense == "=":
                model.addCons(left == side)
            else:
                model.addCons((left <= side + 3) >= side - 3)
        model.setObjective(
            quicksum(c * x for c, x in zip(self.objective, variables, strict=True)), "maximize" if self.maximise else "minimize"
        )
        return model
