"""Invariants of the state on whole solves: a kept matrix equals a fresh one, and both views of the edges agree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from weakref import ref

import numpy as np
import pytest
from numpy.typing import NDArray
from pyscipopt import SCIP_EVENTTYPE, Eventhdlr, Model, quicksum

from revibranch.branching._bipartite import BipartiteBuffer
from revibranch.branching._scip import Search, TreeLog
from revibranch.branching.policy import PathStep
from revibranch.branching.settings import apply_settings
from revibranch.branching.solving import attach, optimize
from revibranch.branching.state import VARIABLE_COLUMNS, BranchState, variable_column_names

from .episodes import assert_same_state
from .models import DATA, INSTANCES, OPTIMA, knapsack, read, set_cover
from .policies import MostFractional

CUTS_EVERYWHERE = {
    "separating__maxrounds": -1,
    "separating__maxroundsroot": -1,
    "separating__gomory__freq": 1,
    "separating__clique__freq": 1,
    "separating__cmir__freq": 1,
    "separating__aggregation__freq": 1,
}


def assert_sound(state: BranchState) -> None:
    n, m, nnz = state.n_variables, state.n_rows, state.n_edges
    assert state.variable_features.shape == (n, len(VARIABLE_COLUMNS))
    assert state.row_features.shape == (m, 5)
    for offsets, size in ((state.row_offsets, m), (state.variable_offsets, n)):
        assert offsets.shape == (size + 1,)
        assert offsets[0] == 0
        assert offsets[-1] == nnz
        assert (np.diff(offsets) >= 0).all()
    # The variable order is a permutation of the row order, rows ascending within each variable.
    rows = np.repeat(np.arange(m, dtype=np.int32), np.diff(state.row_offsets))
    variables = np.repeat(np.arange(n, dtype=np.int32), np.diff(state.variable_offsets))
    np.testing.assert_array_equal(np.sort(state.edge_order), np.arange(nnz))
    np.testing.assert_array_equal(rows[state.edge_order], state.edge_rows)
    np.testing.assert_array_equal(state.edge_variables[state.edge_order], variables)
    keys = variables.astype(np.int64) * (m + 1) + state.edge_rows
    assert (np.diff(keys) >= 0).all()
    # Every candidate is of an integer type and fractional; one type a variable.
    features = dict(zip(variable_column_names(), state.variable_features.T, strict=True))
    assert (features["is_type_continuous"][state.candidates] == 0).all()
    assert (features["solution_frac"][state.candidates] > 0).all()
    types = sum(features[name] for name in variable_column_names() if name.startswith("is_type"))
    np.testing.assert_array_equal(types, np.ones(n))
    may_be_nan = {"incumbent_value", "average_incumbent_value", "root_solution_value"}
    for name, column in features.items():
        assert name in may_be_nan or np.isfinite(column).all(), name
    assert np.isfinite(state.row_features).all()
    assert np.isfinite(state.edge_values).all()


class Compares(MostFractional):
    """At every node: the state of a kept buffer against that of a new one."""

    extended = True

    def __init__(self, model_of: Callable[[], Model]) -> None:
        self.model_of = model_of
        self.structures: set[int] = set()
        self.nodes = 0

    def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[np.floating]:
        fresh = BipartiteBuffer(self.model_of()).update()
        assert_same_state(state, fresh)
        assert_sound(state)
        short = BipartiteBuffer(self.model_of(), extended=False).update()
        np.testing.assert_array_equal(short.variable_features, state.variable_features[:, :19])
        self.structures.add(state.structure_id)
        self.nodes += 1
        return super().score(state, path)


def compares(model: Model) -> Compares:
    """Of this model, which it holds weakly."""
    reference = ref(model)
    policy = Compares(lambda: reference())  # type: ignore[arg-type,return-value]
    attach(model, policy, strict=True)
    return policy


def compare(model: Model) -> Compares:
    policy = compares(model)
    optimize(model)
    return policy


@pytest.mark.parametrize("name", ["flugpl.mps", "lseu.mps", "rgn.mps", "gt2.mps", "misc03.mps", "stein27_inf.lp", "enigma.mps"])
@pytest.mark.parametrize("settings", ["default", "cuts"])
def test_kept_equals_fresh_on_files(name: str, settings: str) -> None:
    parameters = dict(CUTS_EVERYWHERE) if settings == "cuts" else {}
    model = read(INSTANCES / name, limits__totalnodes=150, **parameters)
    policy = compare(model)
    assert policy.nodes > 0 or model.getNTotalNodes() <= 1


@pytest.mark.parametrize(
    "file", ["setcover_100x200.mps", "auction_50x250.mps", "indset_200.mps", "cfl_20x20.mps", "mixed_free.mps", "vpm2_fzn.mps"]
)
def test_kept_equals_fresh_on_families_with_cuts(file: str) -> None:
    model = read(DATA / "golden" / file, limits__totalnodes=30, **CUTS_EVERYWHERE)
    compare(model)


def test_rows_that_come_and_go_are_noticed() -> None:
    model = read(INSTANCES / "misc03.mps", limits__totalnodes=120, **CUTS_EVERYWHERE)
    policy = compare(model)
    assert 1 < len(policy.structures) < policy.nodes


def test_matrix_is_kept_where_no_row_changes() -> None:
    model = knapsack(4, 20, 3)
    apply_settings(model, "clean")
    policy = compare(model)
    assert policy.nodes > 50
    assert len(policy.structures) <= 2  # the root's cuts may leave once


def test_restarts_are_survived() -> None:
    model = set_cover(100, 200, 0.06, 3)
    model.setParams(
        {
            "presolving/maxrestarts": 3,
            "presolving/immrestartfac": 0.0001,
            "presolving/subrestartfac": 0.0001,
            "presolving/restartfac": 0.0001,
        }
    )
    policy = compare(model)
    assert model.getStatus() == "optimal"
    assert policy.nodes > 0


@pytest.mark.parametrize("settings", ["clean", "default"])
def test_the_roots_solution_is_that_of_its_own_decision_too(settings: str) -> None:
    class Looks(MostFractional):
        extended = True

        def __init__(self) -> None:
            self.root: dict[int, NDArray[np.floating]] = {}
            self.later = 0

        def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[np.floating]:
            columns = dict(zip(variable_column_names(), state.variable_features.T.copy(), strict=True))
            if state.node.depth == 0:
                self.root[state.node.run] = columns["solution_value"]
            np.testing.assert_allclose(columns["root_solution_value"], self.root[state.node.run], atol=1e-6)
            self.later += state.node.depth > 0
            return super().score(state, path)

    model = knapsack(4, 20, 3)
    apply_settings(model, settings)
    policy = Looks()
    attach(model, policy, strict=True)
    optimize(model)
    assert policy.later > 20
    assert all(values.any() for values in policy.root.values())


def test_objects_that_were_never_made_for_a_model_say_so() -> None:
    for touch in (
        lambda: Search.__new__(Search).solving,
        lambda: Search.__new__(Search).branch(0),
        lambda: BipartiteBuffer.__new__(BipartiteBuffer).update(),
        lambda: TreeLog.__new__(TreeLog).columns(),
    ):
        with pytest.raises((AttributeError, RuntimeError)):
            touch()


def test_zero_objective_and_no_incumbent() -> None:
    model = read(INSTANCES / "stein27_inf.lp", limits__totalnodes=50)
    model.setObjective(0)

    class Looks(Compares):
        def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[np.floating]:
            columns = dict(zip(variable_column_names(), state.variable_features.T, strict=True))
            assert (columns["objective"] == 0).all()
            assert np.isnan(columns["incumbent_value"]).all()
            assert np.isnan(columns["average_incumbent_value"]).all()
            assert (state.row_features[:, 1] == 0).all()
            assert state.node.primal_bound == float("inf")
            return super().score(state, path)

    from weakref import ref

    reference = ref(model)
    policy = Looks(lambda: reference())  # type: ignore[arg-type,return-value]
    attach(model, policy, strict=True)
    optimize(model)
    assert policy.nodes > 0


def test_another_solves_incumbent_is_not_taken_for_the_last_ones() -> None:
    # Variables and solutions come back at the same addresses, solutions with the same numbers.
    generator = np.random.default_rng(0)
    model = Model()
    model.hideOutput()
    variables = [model.addVar(vtype="B") for _ in range(25)]
    for weights in generator.integers(5, 60, size=(4, 25)):
        model.addCons(quicksum(int(w) * x for w, x in zip(weights, variables, strict=True)) <= int(weights.sum() // 3))
    model.setParams({"presolving/maxrounds": 0, "limits/nodes": 3})
    model.setHeuristics(3)
    model.setSeparating(3)
    policy = compares(model)
    for solve in range(3):
        costs = generator.integers(10, 40, size=25)
        model.setObjective(quicksum(int(c) * x for c, x in zip(costs, variables, strict=True)), "maximize")
        known = model.createSol()
        model.setSolVal(known, variables[solve], 1.0)
        model.setSolVal(known, variables[solve + 5], 1.0)
        model.addSol(known)
        optimize(model)
        model.freeTransform()
        model.setParam("limits/maxorigsol", 0)  # forget the solution
        model.setParam("limits/maxorigsol", 10)
    assert policy.nodes >= 3


def test_all_kinds_of_rows_and_bounds() -> None:
    # Free, ranged and one-sided rows; free, fixed-sign and boxed variables of every type.
    model = Model()
    model.hideOutput()
    generator = np.random.default_rng(7)
    kinds = "BICIBCICBBIC"
    bounds = {"B": (0, 1), "I": (None, None), "C": (None, None)}
    variables = [model.addVar(vtype=kind, lb=bounds[kind][0], ub=bounds[kind][1]) for kind in kinds]
    for i, variable in enumerate(variables):
        model.addCons((variable <= 7.5 + i) >= -6.5 - i)
    for i in range(10):
        left = sum(int(c) * x for c, x in zip(generator.integers(-4, 5, len(kinds)), variables, strict=True))
        if i % 3 == 0:
            model.addCons((left <= 9.3) >= -8.7)
        elif i % 3 == 1:
            model.addCons(left <= 6.5)
        else:
            model.addCons(left >= -7.3)
    model.addCons(variables[2] + variables[5] + 2 * variables[1] == 1.5)
    model.setObjective(sum(int(c) * x for c, x in zip(generator.integers(-9, 10, len(kinds)), variables, strict=True)))
    model.setParam("presolving/maxrounds", 0)
    model.setParam("heuristics/feaspump/freq", -1)
    policy = compare(model)
    assert policy.nodes > 0
    assert model.getStatus() == "optimal"


def test_lower_priority_candidates_are_left_out() -> None:
    model = knapsack(4, 20, 3)
    apply_settings(model, "clean")
    for variable in model.getVars()[:4]:
        model.chgVarBranchPriority(variable, 5)
    seen: list[tuple[int, ...]] = []

    class Looks(MostFractional):
        def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[np.floating]:
            seen.append(tuple(state.candidates))
            return super().score(state, path)

    attach(model, Looks(), strict=True)
    optimize(model)
    preferred = [set(candidates) <= {0, 1, 2, 3} for candidates in seen]
    assert any(preferred)
    assert all(inside or not set(candidates) & {0, 1, 2, 3} for inside, candidates in zip(preferred, seen, strict=True))


def test_copy_outlives_the_next_update_and_views_are_read_only() -> None:
    kept: list[tuple[BranchState, BranchState]] = []

    class Keeps(MostFractional):
        def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[np.floating]:
            if len(kept) < 3:
                kept.append((state, state.copy()))
            return super().score(state, path)

    model = knapsack(4, 20, 3)
    apply_settings(model, "clean")
    attach(model, Keeps())
    optimize(model)
    views, copies = zip(*kept, strict=True)
    assert not np.array_equal(copies[0].variable_features, copies[2].variable_features)
    assert np.shares_memory(views[0].variable_features, views[2].variable_features)
    with pytest.raises(ValueError, match="read-only"):
        views[0].edge_values[0] = 1.0


class CallsUpdate(Eventhdlr):  # type: ignore[misc]
    """Asks for a state where a presolving round ends."""

    def __init__(self, buffer: BipartiteBuffer) -> None:
        self.buffer = buffer
        self.messages: list[str] = []

    def eventinit(self) -> None:
        self.model.catchEvent(SCIP_EVENTTYPE.PRESOLVEROUND, self)

    def eventexit(self) -> None:
        self.model.dropEvent(SCIP_EVENTTYPE.PRESOLVEROUND, self)

    def eventexec(self, event: object) -> None:
        try:
            self.buffer.update()
        except RuntimeError as error:
            self.messages.append(str(error))


def test_update_outside_the_solving_stage_says_so() -> None:
    model = read(INSTANCES / "lseu.mps")
    buffer = BipartiteBuffer(model)
    with pytest.raises(RuntimeError, match="solving stage"):
        buffer.update()
    handler = CallsUpdate(buffer)
    model.includeEventhdlr(handler, "calls", "")
    model.optimize()
    assert handler.messages
    assert all("solving stage" in message for message in handler.messages)
    with pytest.raises(RuntimeError, match="solving stage"):
        buffer.update()
    model.freeTransform()
    with pytest.raises(RuntimeError, match="solving stage"):
        buffer.update()


def test_optima_table_is_complete() -> None:
    assert {path.name for path in INSTANCES.iterdir()} == set(OPTIMA)
