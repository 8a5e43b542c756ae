"""The recorded tree at limits, restarts and interrupts, and of models that are solved again or before the first node."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from pyscipopt import Model

from revibranch.branching.policy import PathStep
from revibranch.branching.settings import apply_settings
from revibranch.branching.solving import attach, optimize
from revibranch.branching.state import BranchState
from revibranch.branching.tree import NodeOutcome, record_tree

from .models import knapsack
from .policies import MostFractional
from .recorded_trees import big, check, recorded


def test_open_nodes_at_a_limit_were_never_processed() -> None:
    model = big()
    model.setParam("limits/totalnodes", 50)
    tree = recorded(model)
    opened = model.getNLeaves() + model.getNChildren() + model.getNSiblings()
    assert (tree.outcome == NodeOutcome.NEVER_PROCESSED).sum() == opened > 0


def test_a_node_that_a_time_limit_broke_off() -> None:
    model = big()
    model.setParam("limits/time", 0.05)
    tree = recorded(model)
    assert model.getStatus() == "timelimit"
    assert (tree.outcome == NodeOutcome.UNFINISHED).sum() <= 1


def test_the_tree_outlives_transformation_and_model() -> None:
    model = big()
    model.setParam("limits/totalnodes", 50)
    recorder = record_tree(model)
    optimize(model)
    before = recorder.tree()
    model.freeTransform()
    after = recorder.tree()
    del model
    gc.collect()
    for tree in (after, recorder.tree()):
        for name, array in before.to_arrays().items():
            np.testing.assert_array_equal(tree.to_arrays()[name], array, err_msg=name)


def test_a_solve_that_goes_on_after_limits_ends_with_the_same_tree() -> None:
    whole = recorded(big())
    stopped = big()
    recorder = record_tree(stopped)
    for limit in (1, 2, 30, 100, -1):
        stopped.setParam("limits/totalnodes", limit)
        optimize(stopped)
        check(recorder.tree(), stopped)
    for name in ("number", "parent", "order", "outcome", "lp_iterations"):
        np.testing.assert_array_equal(getattr(recorder.tree(), name), getattr(whole, name), err_msg=name)


def test_each_solve_begins_anew() -> None:
    model = knapsack(4, 16, 3)
    recorder = record_tree(model)
    trees = []
    for rule in ("pscost", "random", "pscost"):
        model.freeTransform()
        for name in ("pscost", "random"):
            model.setParam(f"branching/{name}/priority", 10**6 if name == rule else 0)
        optimize(model)
        trees.append(recorder.tree())
        check(trees[-1], model)
    assert len({tree.n_created for tree in trees}) > 1


@pytest.mark.parametrize("at", [1, 2, 15])
def test_restarts_within_the_tree(at: int) -> None:
    class Restarts(MostFractional):
        def begin(self, model: Model) -> None:
            self.model = weakref.ref(model)

        def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[np.floating]:
            if state.node.run < 4 and state.node.n_nodes == at:
                self.model().restartSolve()  # type: ignore[union-attr]
            return super().score(state, path)

    model = knapsack(4, 20, 3)
    apply_settings(model, "default")
    model.setParam("presolving/maxrestarts", -1)
    attach(model, Restarts(), strict=True)
    tree = recorded(model)
    assert model.getStatus() == "optimal"
    assert set(tree.run.tolist()) == {1, 2, 3, 4}
    for run in (1, 2, 3):
        outcomes = tree.outcome[tree.run == run].tolist()
        # The run was given up while its last node was branched: the nodes open then, its children among them.
        assert outcomes.count(NodeOutcome.NEVER_PROCESSED) >= 2
        assert sum(tree.order[tree.run == run] >= 0) == at


@pytest.mark.parametrize("at", [1, 2, 15])
def test_interrupted_right_after_branching(at: int) -> None:
    class Stops(MostFractional):
        needs_path = True

        def begin(self, model: Model) -> None:
            self.model, self.decisions = weakref.ref(model), 0

        def remember(self, state: BranchState, path: Sequence[PathStep], choice: int) -> object:
            self.decisions += 1
            if self.decisions == at:
                self.model().interruptSolve()  # type: ignore[union-attr]
            return None

    model = knapsack(4, 20, 3)
    apply_settings(model, "clean")
    attach(model, Stops(), strict=True)
    tree = recorded(model)
    assert model.getStatus() == "userinterrupt"
    assert tree.n_created == 1 + 2 * at


def empty() -> Model:
    model = Model()
    model.hideOutput()
    return model


def unbounded() -> Model:
    model = empty()
    model.addVar(lb=None, vtype="I", obj=1.0)
    return model


def infeasible() -> Model:
    model = empty()
    x = model.addVar(vtype="B")
    model.addCons(x >= 2)
    return model


@pytest.mark.parametrize("build", [empty, unbounded, infeasible])
def test_solved_before_there_was_a_node(build: Callable[[], Model]) -> None:
    model = build()
    recorder = record_tree(model)
    assert recorder.tree().n_created == 0  # not solved yet
    optimize(model)
    tree = recorder.tree()
    assert (tree.n_created, tree.n_processed, model.getNTotalNodes()) == (0, 0, 0)
    assert len(tree.subtree_sizes()) == 0
