"""Whatever a policy does to SCIP behind the brancher's back, in whichever of its methods, the solve ends as it should."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from pyscipopt import Model

from revibranch.branching._bipartite import BipartiteBuffer
from revibranch.branching._scip import Search
from revibranch.branching.brancher import LearnedBrancher
from revibranch.branching.policy import PathStep, PolicyError
from revibranch.branching.solving import attach, optimize
from revibranch.branching.state import BranchState

from .models import knapsack
from .policies import KnowsItsModel, MostFractional, Recorder


def tree() -> Model:
    return knapsack(4, 20, 3)


def optimum() -> float:
    model = tree()
    model.optimize()
    return float(model.getObjVal())


def probe(model: Model) -> None:
    model.startProbing()


def probe_deep(model: Model) -> None:
    model.startProbing()
    model.newProbingNode()
    model.chgVarUbProbing(model.getLPBranchCands()[0][0], 0.0)
    model.solveProbingLP()


def dive(model: Model) -> None:
    model.startDive()


def dive_deep(model: Model) -> None:
    model.startDive()
    model.chgVarUbDive(model.getVars(transformed=True)[0], 0.0)
    model.solveDiveLP()


MODES = (probe, probe_deep, dive, dive_deep)


class Meddles(KnowsItsModel):
    """Does something to SCIP in the second and the fourth call of one of its methods, and raises behind it or goes on."""

    def __init__(self, where: str, what: Callable[[Model], None], raises: bool = False) -> None:
        self.where, self.what, self.raises = where, what, raises
        self.calls = 0
        self.needs_path = where == "remember"

    def _meddle(self, where: str) -> None:
        self.calls += where == self.where
        if where == self.where and self.calls in (2, 4):
            self.what(self.model)
            if self.raises:
                raise ZeroDivisionError("behind its meddling")

    def skip(self) -> bool:
        self._meddle("skip")
        return self.where == "skip"

    def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[np.floating]:
        self._meddle("score")
        return super().score(state, path)

    def remember(self, state: BranchState, path: Sequence[PathStep], choice: int) -> None:
        self._meddle("remember")


def solved(policy: Meddles) -> LearnedBrancher:
    model = tree()
    brancher = attach(model, policy)
    optimize(model)
    assert model.getStatus() == "optimal"
    assert model.getObjVal() == pytest.approx(optimum())
    assert policy.calls >= 4
    return brancher


@pytest.mark.parametrize("where", ["skip", "score"])
@pytest.mark.parametrize("what", MODES)
@pytest.mark.parametrize("raises", [False, True])
def test_a_mode_left_on_costs_a_fallback(where: str, what: Callable[[Model], None], raises: bool) -> None:
    brancher = solved(Meddles(where, what, raises))
    assert brancher.statistics.fallbacks == 2
    assert isinstance(brancher.error, ZeroDivisionError if raises else PolicyError)


# Behind the branching SCIP refuses to begin a dive, with a message of its own, and to probe in a way that can be undone.
@pytest.mark.parametrize("what", [probe, probe_deep])
def test_a_mode_left_on_behind_the_branching_leaves_it_valid(what: Callable[[Model], None]) -> None:
    brancher = solved(Meddles("remember", what, raises=True))
    assert brancher.statistics.fallbacks == 0
    assert isinstance(brancher.error, ZeroDivisionError)


@pytest.mark.parametrize(("where", "decisions"), [("score", 1), ("skip", 0)])
def test_a_policy_that_branches_by_itself_loses_the_rest_of_the_solve(where: str, decisions: int) -> None:
    def branch(model: Model) -> None:
        model.branchVar(model.getLPBranchCands()[0][0])

    model = tree()
    brancher = attach(model, Meddles(where, branch))
    optimize(model)
    assert model.getObjVal() == pytest.approx(optimum())
    assert brancher.statistics.fallbacks > 2
    assert brancher.statistics.decisions == decisions
    assert str(brancher.error) == "the policy branched by itself"


def test_interrupt_keeps_the_incumbent() -> None:
    model = tree()
    attach(model, Meddles("score", lambda model: model.interruptSolve()))
    optimize(model)
    assert model.getStatus() == "userinterrupt"
    assert model.getNSols() > 0


class Panic(BaseException):
    """What bindings to other languages raise for their own crashes: no ``Exception``."""


def test_what_is_no_exception_is_a_failure_too() -> None:
    class Panics(MostFractional):
        def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[np.floating]:
            raise Panic

    model = tree()
    brancher = attach(model, Panics(), strict=True)
    with pytest.raises(Panic):
        optimize(model)
    assert model.getStatus() == "optimal"
    assert model.getObjVal() == pytest.approx(optimum())
    assert brancher.statistics.fallbacks > 0


def test_a_report_that_fails_spoils_no_other_solve() -> None:
    class Speechless(MostFractional):
        __hash__ = None  # type: ignore[assignment]  # nor can it be told from others: a plain dataclass

        def report(self) -> Mapping[str, float | str]:
            raise TypeError("nothing to say")

    class Hashed(Speechless):
        __hash__ = object.__hash__

    for policy in (Speechless(), Hashed()):
        for _ in range(3):
            model = tree()
            brancher = attach(model, policy)
            optimize(model)
            assert brancher.statistics.decisions > 0
            assert brancher.statistics.fallbacks == 0


def test_what_breaks_the_solve_is_told_with_what_the_policy_raised_before() -> None:
    class Fails(MostFractional):
        def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[np.floating]:
            raise ZeroDivisionError("as planned")

    class Broken(Model):  # type: ignore[misc]
        def optimizeNogil(self) -> None:  # noqa: N802
            super().optimizeNogil()
            raise Exception("SCIP: unspecified error!")  # as SCIP's return codes come out of PySCIPOpt

    model = Broken(sourceModel=tree())
    model.hideOutput()
    attach(model, Fails())
    with pytest.raises(Exception, match="unspecified") as caught:
        optimize(model)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_handles_of_a_freed_model_say_so() -> None:
    if not hasattr(Model, "free"):
        pytest.skip("this PySCIPOpt frees models only with their objects")
    model = tree()
    buffer, search = BipartiteBuffer(model), Search(model)
    model.optimize()
    model.free()
    others = [tree() for _ in range(3)]  # likely where the freed one was
    for other in others:
        other.optimize()
    assert not search.solving
    for ask in (buffer.update, search.ancestors, lambda: Search(model)):
        with pytest.raises(RuntimeError, match="freed"):
            ask()
    gc.collect()


def test_a_policy_outlives_a_model_that_was_freed() -> None:
    if not hasattr(Model, "free"):
        pytest.skip("this PySCIPOpt frees models only with their objects")
    policy, freed, model = MostFractional(), tree(), tree()
    attach(freed, policy)
    optimize(freed)
    freed.free()
    brancher = attach(model, policy, strict=True)
    optimize(model)
    assert brancher.statistics.decisions > 0


def test_the_entered_child_is_that_of_the_path() -> None:
    class Asks(Recorder):
        def begin(self, model: Model) -> None:
            super().begin(model)
            self.search = Search(model)
            self.asked: list[tuple[int, int]] = []

        def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[np.floating]:
            self.asked.append((self.search.entered, path[-1].child if path else -1))
            return super().score(state, path)

    model, policy = tree(), Asks()
    attach(model, policy)
    optimize(model)
    assert {0, 1, -1} == {entered for entered, _ in policy.asked}
    assert all(entered == child for entered, child in policy.asked)
