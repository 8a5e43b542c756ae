"""Including rules into a model: their priorities, and which of several decides."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pyscipopt import Model

from revibranch.branching.policy import PathStep
from revibranch.branching.settings import TOP_PRIORITY, apply_rule
from revibranch.branching.solving import attach, optimize
from revibranch.branching.state import BranchState

from .policies import MostFractional
from .test_brancher import tree


def test_of_several_policies_in_a_model_the_last_one_decides_and_the_one_before_takes_what_it_leaves() -> None:
    class Passes(MostFractional):
        def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[np.floating] | None:
            return None if state.node.depth % 2 else super().score(state, path)

    model = tree()
    first = attach(model, MostFractional())
    optimize(model)
    before = first.statistics.decisions
    model.freeTransform()
    last = attach(model, Passes())
    optimize(model)
    assert before > 5
    assert last.statistics.decisions > 0
    assert last.statistics.passes == first.statistics.decisions - before > 0
    model.freeTransform()
    newest = attach(model, Passes())
    before = (first.statistics.decisions, last.statistics.decisions)
    optimize(model)
    # The second one has nothing to say at the levels that the newest one leaves, so the first takes them.
    assert newest.statistics.decisions > 0
    assert last.statistics.passes > newest.statistics.passes > 0
    assert last.statistics.decisions == before[1]
    assert first.statistics.decisions > before[0]
    model.freeTransform()
    lower = attach(model, MostFractional(), priority=5)  # asked for: below the others
    optimize(model)
    assert lower.statistics.decisions == 0


@pytest.mark.parametrize(
    ("there", "new", "expected"),
    [
        ([7, 7], 7, [6, 5]),  # of equals SCIP asks the first
        ([8, 7], 8, [7, 6]),
        ([8, 5], 8, [7, 5]),
        ([9, 5], 8, [9, 5]),
        ([-TOP_PRIORITY], -TOP_PRIORITY, [-TOP_PRIORITY]),
    ],
)
def test_priorities_of_earlier_rules_keep_their_order(there: list[int], new: int, expected: list[int]) -> None:
    model = tree()
    names = [f"branching/revibranch{number or ''}/priority" for number in (0, 2)[: len(there)]]
    for _ in there:
        attach(model, MostFractional())
    for name, priority in zip(names, there, strict=True):
        model.setParam(name, priority)
    attach(model, MostFractional(), priority=new)
    assert [model.getParam(name) for name in names] == expected


def test_rules_of_a_model_are_told_apart_also_where_python_has_another_object_of_it() -> None:
    model = tree()
    view = Model.from_ptr(model.to_ptr(False), False)
    attach(view, MostFractional())
    del view
    brancher = attach(model, MostFractional(), strict=True)
    optimize(model)
    assert model.getStatus() == "optimal"
    assert brancher.statistics.decisions > 0


def test_priority_outside_scips_range_is_refused() -> None:
    with pytest.raises(ValueError, match="priority"):
        attach(tree(), MostFractional(), priority=2**30)


def test_the_rule_that_rebuilds_a_tree_of_reoptimisation_comes_first() -> None:
    model = tree()
    attach(model, MostFractional())
    model.enableReoptimization()
    rules = ("relpscost", "pscost", "inference", "vanillafullstrong")
    learned = model.getParam("branching/revibranch/priority")
    assert model.getParam("branching/nodereopt/priority") > learned
    assert learned > max(model.getParam(f"branching/{rule}/priority") for rule in rules)
    apply_rule(model, "pscost")
    assert learned > model.getParam("branching/pscost/priority")


REDIRECTED = """
import io, sys
sys.path.append({root!r})
from pyscipopt import SCIP_RESULT, Branchrule, Model
from revibranch.branching.control import ControlledSolve
from revibranch.branching.shortlist import ShortlistPolicy
from revibranch.branching.solving import attach, optimize
from tests.branching.models import knapsack
from tests.branching.policies import MostFractional

class Wrong(Branchrule):
    def branchexeclp(self, allowaddcons):
        return {{"result": SCIP_RESULT.FOUNDSOL}}  # no result of a branching rule: SCIP complains aloud

console, sys.stdout, sys.stderr = sys.stdout, io.StringIO(), io.StringIO()
if {case!r} == "errors":
    Model().redirectOutput()
    model = knapsack(30, 200, 1)
    model.includeBranchrule(Wrong(), "wrong", "", priority=1000000, maxdepth=-1, maxbounddist=1.0)
    try:
        optimize(model)
    except Exception:
        pass
    print("errors:", "invalid result code" in sys.stderr.getvalue(), file=console, flush=True)
else:
    model = knapsack(30, 200, 1)
    model.hideOutput(False)
    model.redirectOutput()
    model.setParam("limits/nodes", 30)
    if {case!r} == "controlled":
        solve = ControlledSolve(model, "x")
        state = solve.begin()
        while state is not None:
            state = solve.branch(0)
        solve.stop()
    else:
        brancher = attach(model, ShortlistPolicy(MostFractional()))
        optimize(model)
        assert brancher.statistics.decisions > 0
    print({case!r} + ":", "SCIP Status" in sys.stdout.getvalue(), file=console, flush=True)
"""


@pytest.mark.parametrize("case", ["optimized", "controlled", "errors"])
def test_messages_that_python_writes_crash_nothing(case: str) -> None:
    script = REDIRECTED.format(root=str(Path(__file__).parents[2]), case=case)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == (f"{case}: True\n", 0), done.stderr


@pytest.mark.skipif(not hasattr(Model, "free"), reason="PySCIPOpt 5 frees no model while its object lives")
def test_a_model_that_was_freed_is_refused() -> None:
    for use in (optimize, lambda model: attach(model, MostFractional())):
        model = tree()
        model.free()
        with pytest.raises(RuntimeError, match="the model was freed"):
            use(model)
