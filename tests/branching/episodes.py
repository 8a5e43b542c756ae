"""Episodes of random states for tests: no solver, no expert, but trees, ancestors and scores."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from revibranch.branching.episode import EpisodeRecorder
from revibranch.branching.state import ROW_COLUMNS, VARIABLE_COLUMNS, BranchState

from ..gnn.states import facts, random_state


def tree_states(seed: int, count: int, structures: int = 2) -> list[BranchState]:
    """States of one solve: few structures, and other dynamic columns at every node."""
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


def chain(seed: int, count: int = 6) -> tuple[EpisodeRecorder, list[BranchState]]:
    """A chain of decisions, every one a sample whose best candidate can be read off the graph."""
    recorder = EpisodeRecorder()
    states = tree_states(seed, count)
    for number, state in enumerate(states):
        scores = state.variable_features[state.candidates, 8].astype(np.float64)
        recorder.add(state, int(scores.argmax()), parent=number - 1, entered=number % 2 if number else -1, scores=scores)
    return recorder, states
