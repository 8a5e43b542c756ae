"""A policy may give SCIP a solution, a tighter bound or a cut: the node's LP is solved once more, and nobody's solve ends for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pyscipopt import SCIP_PARAMSETTING, Model, quicksum

from revibranch.branching import brancher as module
from revibranch.branching.brancher import LearnedBrancher
from revibranch.branching.guard import GuardedPolicy
from revibranch.branching.mixture import MixedPolicy
from revibranch.branching.policy import PathStep, Policy, PolicyError
from revibranch.branching.settings import apply_settings
from revibranch.branching.shortlist import ShortlistPolicy
from revibranch.branching.solving import attach, optimize
from revibranch.branching.state import BranchState

from .models import knapsack
from .policies import KnowsItsModel

WRAPPERS: dict[str, Callable[[Policy], Policy]] = {
    "alone": lambda policy: policy,
    "guard": GuardedPolicy,
    "shortlist": lambda policy: ShortlistPolicy(GuardedPolicy(policy)),
    "mixture": MixedPolicy,
}


def cover(seed: int) -> Model:
    """A set cover whose solutions only the tree finds."""
    generator = np.random.default_rng(seed)
    model = Model()
    model.hideOutput()
    for switch in (model.setHeuristics, model.setPresolve, model.setSeparating):
        switch(SCIP_PARAMSETTING.OFF)
    variables = [model.addVar(vtype="B", obj=1.0) for _ in range(30)]
    for _ in range(25):
        model.addCons(quicksum(variables[j] for j in generator.choice(30, 5, replace=False)) >= 1)
    return model


@cache
def solution(seed: int) -> tuple[float, ...]:
    model = cover(seed)
    model.optimize()
    return tuple(round(model.getVal(variable)) for variable in model.getVars())


def hands_over(seed: int, model: Model) -> None:
    """Give SCIP the optimum: where the bound says that nothing better is below this node, its LP is worth nothing any more."""
    found = model.createSol()
    for variable, value in zip(model.getVars(), solution(seed), strict=True):
        model.setSolVal(found, variable, value)
    model.trySol(found)


def limits(seed: int, model: Model) -> None:
    """Ask for something better than the optimum."""
    model.setObjlimit(sum(solution(seed)) - 0.5)


def tightens(seed: int, model: Model) -> None:
    """Fix a candidate to its value in the optimum."""
    candidate = model.getLPBranchCands()[0][0]
    value = solution(seed)[int(candidate.name.removeprefix("t_x")) - 1]
    (model.tightenVarLb if value else model.tightenVarUb)(candidate, value)


class Helps(KnowsItsModel):
    """Gives SCIP something in one of its methods."""

    def __init__(self, where: str, what: Callable[[Model], None], answer: str = "scores") -> None:
        self.where, self.what, self.answer = where, what, answer
        self.calls = 0
        self.mixes_pseudocosts = True

    def _help(self, where: str) -> None:
        if where == self.where:
            self.calls += 1
            self.what(self.model)

    def begin(self, model: Model) -> None:
        super().begin(model)
        self._help("begin")

    def skip(self) -> bool:
        self._help("skip")
        return self.answer == "skip"

    def score(self, state: BranchState, path: Sequence[PathStep]) -> Any:
        self._help("score")
        if self.answer == "raise":
            raise ZeroDivisionError("as planned")
        return None if self.answer == "none" else super().score(state, path)


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("what", [hands_over, limits, tightens])
@pytest.mark.parametrize(
    ("where", "answer"),
    [
        ("begin", "scores"),
        ("begin", "skip"),
        ("skip", "scores"),
        ("skip", "skip"),
        ("score", "scores"),
        ("score", "none"),
        ("score", "raise"),
    ],
)
def test_a_node_whose_lp_the_policy_undid_is_solved_once_more(
    where: str, answer: str, what: Callable[[int, Model], None], wrapper: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    undone: list[int] = []
    answered = LearnedBrancher._lp_undone

    def counted(brancher: LearnedBrancher) -> Any:
        undone.append(1)
        return answered(brancher)

    monkeypatch.setattr(LearnedBrancher, "_lp_undone", counted)
    for seed in (1, 2, 4):
        model = cover(seed)
        policy = Helps(where, partial(what, seed), answer)
        brancher = attach(model, WRAPPERS[wrapper](policy))
        optimize(model)
        assert policy.calls
        assert model.getStatus() == ("infeasible" if what is limits else "optimal")
        if what is not limits:
            assert model.getObjVal() == pytest.approx(sum(solution(seed)))
        if answer == "raise":
            assert isinstance(brancher.error, ZeroDivisionError)
        else:
            assert brancher.error is None
    assert undone


def test_a_policy_that_undoes_the_lp_again_and_again_is_not_asked_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    class Tightens(Helps):
        def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[np.floating]:
            tightens(2, self.model)
            return super().score(state, path)

    monkeypatch.setattr(module, "_MOST_UNDONE", 3)
    model = cover(2)
    brancher = attach(model, Tightens("nowhere", print))
    optimize(model)
    assert model.getStatus() == "optimal"
    assert model.getObjVal() == pytest.approx(sum(solution(2)))
    assert isinstance(brancher.error, PolicyError)
    assert "undid the LP of node 1 3 times" in str(brancher.error)
    assert brancher.statistics.decisions == 0
    assert brancher.statistics.fallbacks > 0


def adds_cut(model: Model) -> None:
    """A row that every solution fulfils: the knapsacks hold a third of all that there is."""
    variables = model.getVars(transformed=True)
    row = model.createEmptyRowUnspec(rhs=len(variables) - 1.0)
    model.cacheRowExtensions(row)
    for variable in variables:
        model.addVarToRow(row, variable, 1.0)
    model.flushRowExtensions(row)
    model.addCut(row, True)


def with_cuts(where: str) -> tuple[Model, LearnedBrancher]:
    class Cuts(Helps):
        needs_path = True

        def remember(self, state: BranchState, path: Sequence[PathStep], choice: int) -> None:
            self._help("remember")

    model = knapsack(4, 20, 3)
    apply_settings(model, "clean")
    brancher = attach(model, Cuts(where, adds_cut))
    optimize(model)
    return model, brancher


@pytest.mark.parametrize("where", ["begin", "skip", "score", "remember"])
def test_a_node_that_is_asked_about_again_for_a_cut_keeps_its_children(where: str) -> None:
    plain = knapsack(4, 20, 3)
    plain.optimize()
    model, brancher = with_cuts(where)
    assert model.getStatus() == "optimal"
    assert model.getObjVal() == pytest.approx(plain.getObjVal())
    assert brancher.error is None
    assert brancher.statistics.fallbacks == 0
    assert brancher.statistics.decisions > 10
