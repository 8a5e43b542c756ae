"""Shards of random states for tests: no solver, no expert, but trees, ancestors and scores."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from revibranch.branching.state import BranchState
from revibranch.gnn.training.recipe import Recipe
from revibranch.gnn.training.samples import Recorder

from ..states import facts, random_state

RECIPE = {
    "name": "tiny",
    "instances": {"family": "setcover", "size": "20x40"},
    "network": {"width": 8, "heads": 2},
    "optimiser": {"epochs": 3, "batch": 4, "learning_rate": 1e-2},
}


def recipe(**optimiser: float) -> Recipe:
    return Recipe.model_validate({**RECIPE, "optimiser": {**RECIPE["optimiser"], **optimiser}})


def with_history(plain: Recipe, length: int) -> Recipe:
    return plain.model_copy(update={"network": plain.network.model_copy(update={"history_length": length})})


def tree_states(seed: int, count: int, structures: int = 2) -> list[BranchState]:
    """States of one solve: few structures, and other dynamic columns at every node."""
    from revibranch.branching.state import ROW_COLUMNS, VARIABLE_COLUMNS

    bases = [random_state(seed * 100 + place, n_variables=8 + place, n_rows=6, structure_id=place) for place in range(structures)]
    generator = np.random.default_rng(seed)
    states = []
    for number in range(count):
        base = bases[number * structures // count]
        variables, rows = base.variable_features.copy(), base.row_features.copy()
        for table, columns in ((variables, VARIABLE_COLUMNS), (rows, ROW_COLUMNS)):
            dynamic = [place for place, column in enumerate(columns) if column.kind == "dynamic"]
            table[:, dynamic] = generator.normal(size=(len(table), len(dynamic)))
        candidates = generator.choice(len(variables), size=generator.integers(2, 6), replace=False).astype(np.int32)
        node = facts(number=number + 1, depth=number, primal_bound=np.inf if number % 2 else 3.5)
        states.append(replace(base, variable_features=variables, row_features=rows, candidates=candidates, node=node))
    return states


def write_shard(path: Path, seed: int, count: int = 6) -> list[BranchState]:
    """A chain of decisions, every one a sample whose best candidate can be read off the graph."""
    recorder = Recorder()
    states = tree_states(seed, count)
    for number, state in enumerate(states):
        scores = state.variable_features[state.candidates, 8].astype(np.float64)
        recorder.add(state, int(scores.argmax()), parent=number - 1, entered=number % 2 if number else -1, scores=scores)
    recorder.write(path, {"scip_version": "10.0"})
    return states


def write_shards(folder: Path, count: int, first: int = 0, size: int = 6) -> list[Path]:
    paths = [folder / f"{seed}.npz" for seed in range(first, first + count)]
    for seed, path in enumerate(paths, start=first):
        write_shard(path, seed, size)
    return paths
