"""Episodes for tests: of random states, with ancestors and scores but no solver, and of solves; and what makes two the same."""

from __future__ import annotations

from dataclasses import asdict, fields, replace

import numpy as np

from revibranch.branching.episode import Episode
from revibranch.branching.episode_recorder import EpisodeRecorder
from revibranch.branching.policy import PathStep
from revibranch.branching.settings import apply_settings
from revibranch.branching.solving import attach, optimize
from revibranch.branching.state import ROW_COLUMNS, VARIABLE_COLUMNS, BranchState
from revibranch.branching.tree import record_tree

from ..gnn.states import facts, random_state
from .models import INSTANCES, knapsack, read
from .policies import MostFractional


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


def assert_same_state(found: BranchState, expected: BranchState) -> None:
    for field in fields(BranchState):
        one, other = getattr(found, field.name), getattr(expected, field.name)
        if isinstance(other, np.ndarray):
            assert one.dtype == other.dtype, field.name
            np.testing.assert_array_equal(one, other, err_msg=field.name)
    assert asdict(found.node) == asdict(expected.node)
    assert all(type(a) is type(b) for a, b in zip(asdict(found.node).values(), asdict(expected.node).values(), strict=True))


def assert_same_episode(found: Episode, expected: Episode) -> None:
    assert found.facts == expected.facts
    assert found.nbytes == expected.nbytes
    assert len(found) == len(expected)
    for name in ("choice", "parent", "entered", "node_number", "depth", "run", "log_probability", "samples", "nodes", "tree_node"):
        one, other = getattr(found, name), getattr(expected, name)
        assert one.dtype == other.dtype, name
        np.testing.assert_array_equal(one, other, err_msg=name)
    for decision in range(len(expected)):
        assert_same_state(found.state(decision), expected.state(decision))
        np.testing.assert_array_equal(found.scores(decision), expected.scores(decision))
    assert (found.tree is None) == (expected.tree is None)
    if found.tree is not None and expected.tree is not None:
        for name, array in expected.tree.to_arrays().items():
            np.testing.assert_array_equal(found.tree.to_arrays()[name], array, err_msg=name)


class Recording(MostFractional):
    """Records its decisions, and keeps copies of their states and paths beside."""

    needs_path = True

    def __init__(self, extended: bool) -> None:
        self.extended = extended
        self.recorder = EpisodeRecorder(extended)
        self.seen: list[tuple[BranchState, list[tuple[int, int]], int]] = []

    def remember(self, state: BranchState, path: tuple[PathStep, ...], choice: int) -> int:
        self.seen.append((state.copy(), [(step.memory, step.child) for step in path], choice))
        parent, entered = (path[-1].memory, path[-1].child) if path else (-1, -1)
        return self.recorder.add(state, choice, parent=parent, entered=entered, log_probability=-0.1 * len(self.seen))


def solved(extended: bool = True, settings: str = "clean") -> tuple[Episode, Recording]:
    model = knapsack(4, 16, 3) if settings == "clean" else read(INSTANCES / "lseu.mps")  # which restarts, and cuts
    apply_settings(model, settings)
    policy = Recording(extended)
    recorder = record_tree(model)
    attach(model, policy, strict=True)
    optimize(model)
    return policy.recorder.episode({"status": model.getStatus(), "gap": 0.5}, recorder.tree()), policy
