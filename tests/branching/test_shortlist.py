"""Strong branching decides among a policy's best candidates: fewer nodes, the same optima."""

from __future__ import annotations

import gc
import operator
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pyscipopt import SCIP_PARAMSETTING, Model, quicksum

from revibranch.branching import shortlist
from revibranch.branching._scip import Search
from revibranch.branching.brancher import LearnedBrancher
from revibranch.branching.guard import GuardedPolicy
from revibranch.branching.policy import PathStep, Policy
from revibranch.branching.shortlist import PATIENCE, ShortlistPolicy
from revibranch.branching.solving import attach, optimize
from revibranch.branching.state import BranchState

from .models import INSTANCES, OPTIMA, generated, knapsack, read
from .policies import MostFractional, RaisesAtRandom, Recorder


def solved(model: Model, policy: Policy) -> tuple[Model, LearnedBrancher]:
    brancher = attach(model, policy, strict=True)
    optimize(model)
    return model, brancher


# ---- strong branching on some candidates -----------------------------------------------------------------------------


def test_strong_branching_on_some_candidates_is_that_on_all_of_them() -> None:
    checked = []

    class Checks(MostFractional):
        def begin(self, model: Model) -> None:
            self.search = Search(model)
            self.generator = np.random.default_rng(0)

        def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[np.floating]:
            k = len(state.candidates)
            every = self.search.strong_branch()
            places = self.generator.permutation(k)[: 1 + k // 2]
            some = self.search.strong_branch(places=places)
            np.testing.assert_allclose(some[:, places], every[:, places], rtol=1e-6, atol=1e-6)
            assert np.isnan(np.delete(some, places, axis=1)).all()
            assert np.isnan(self.search.strong_branch(places=[])).all()
            for wrong in ([k], [-1], [[0]]):
                with pytest.raises(IndexError, match="candidates"):
                    self.search.strong_branch(places=wrong)
            checked.append(k)
            return super().score(state, path)

    model = generated("auction:60x250:201")
    solved(model, Checks())
    assert len(checked) > 5
    assert model.getNStrongbranchLPIterations() == 0, "a look leaves no trace"


def test_patience_ends_the_tries() -> None:
    lengths = []

    class Checks(MostFractional):
        def begin(self, model: Model) -> None:
            self.search = Search(model)

        def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[np.floating]:
            every = self.search.strong_branch()[0]
            tried = np.flatnonzero(~np.isnan(self.search.strong_branch(patience=2)[0]))
            assert tried.tolist() == list(range(len(tried)))
            best = -np.inf
            waited = 0
            for place in tried:
                assert waited < 2
                waited = 0 if every[place] > best * (1 + 1e-9) else waited + 1
                best = max(best, every[place])
            assert waited == 2 or len(tried) == len(every)
            lengths.append(len(every) - len(tried))
            return super().score(state, path)

    solved(generated("auction:60x250:201"), Checks())
    assert max(lengths) > 0


# ---- the list --------------------------------------------------------------------------------------------------------


class Watched(ShortlistPolicy):
    """Checks every answer against strong branching on all candidates."""

    def __init__(self, policy: Policy, length: int) -> None:
        super().__init__(policy, length=length)
        self.lengths: list[int] = []

    def begin(self, model: Model) -> None:
        super().begin(model)
        self.search = Search(model)

    def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[np.floating] | None:
        every = self.search.strong_branch()[0]
        inner = self.policy.score(state, path)
        answer = super().score(state, path)
        assert inner is not None
        assert answer is not None
        order = np.argsort(-inner, kind="stable")[: self.length]
        tried = np.flatnonzero(~np.isnan(answer))
        assert set(tried) <= set(order)
        assert set(tried) >= set(order[:2])
        winner = int(np.nanargmax(answer))
        assert every[winner] == pytest.approx(np.nanmax(every[tried]), rel=1e-6)
        # The first of the best in the policy's order, whatever the place among the candidates.
        ahead = [place for place in order if place in tried and every[place] >= every[winner] * (1 + 1e-6)]
        assert not ahead
        self.lengths.append(len(tried))
        return answer


def test_best_of_the_list_by_strong_branching_is_chosen() -> None:
    policy = Watched(MostFractional(), 6)
    _, brancher = solved(generated("auction:60x250:200"), policy)
    assert brancher.statistics.decisions == len(policy.lengths) > 10
    assert max(policy.lengths) == 6
    assert min(policy.lengths) <= 1 + PATIENCE
    report = brancher.statistics.as_dict()
    assert 0 < int(report["shortlist_overruled"]) < int(report["shortlist_nodes"]) == len(policy.lengths)


def test_deep_nodes_spare_candidates_that_are_far_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shortlist, "SHALLOW", 2)
    monkeypatch.setattr(shortlist, "CLOSE", 0.0)

    class Strict(MostFractional):
        def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[np.floating]:
            return -np.arange(len(state.candidates), dtype=np.float64)

    depths: list[tuple[int, bool]] = []

    class Noted(ShortlistPolicy):
        def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[np.floating] | None:
            before = self.nodes
            answer = super().score(state, path)
            depths.append((state.node.depth, self.nodes > before))
            return answer

    solved(generated("auction:60x250:200"), Noted(Strict()))
    assert max(depths)[0] > 3
    assert not any(tried for depth, tried in depths if depth > 2)
    assert any(tried for depth, tried in depths if depth <= 2)


def test_fewer_nodes_and_their_price_in_lps() -> None:
    for instance in ("auction:60x250:202", "setcover:300x600:205"):
        alone, _ = solved(generated(instance), MostFractional())
        listed, _ = solved(generated(instance), ShortlistPolicy(MostFractional()))
        assert listed.getObjVal() == pytest.approx(alone.getObjVal())
        assert listed.getNTotalNodes() < alone.getNTotalNodes() / 2
        assert alone.getNStrongbranchLPIterations() == 0 < listed.getNStrongbranchLPIterations()


def test_list_of_one_is_the_policy_alone() -> None:
    counts = []
    for policy in (Recorder(), ShortlistPolicy(Recorder(), length=1)):
        model, _ = solved(generated("auction:60x250:201"), policy)
        counts.append((model.getNTotalNodes(), model.getNLPIterations(), model.getNStrongbranchLPIterations()))
    assert counts[0] == counts[1]


def test_same_solve_twice_is_the_same_tree() -> None:
    policy = ShortlistPolicy(Recorder())
    runs = []
    for _ in range(2):
        model, brancher = solved(generated("auction:60x250:200"), policy)
        runs.append((model.getNTotalNodes(), model.getNLPIterations(), brancher.statistics.policy))
    assert runs[0] == runs[1]


def test_empty_list_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to choose from"):
        ShortlistPolicy(MostFractional(), length=0)


def test_candidates_that_the_policy_excludes_stay_excluded() -> None:
    class Excludes(MostFractional):
        def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[np.floating]:
            scores = super().score(state, path).astype(np.float64)
            scores[1:] = np.where(np.arange(1, len(scores)) % 2, np.nan, scores[1:])
            return scores

    class Checks(ShortlistPolicy):
        def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[np.floating] | None:
            answer = super().score(state, path)
            assert answer is not None
            assert np.isnan(answer[1::2]).all()
            return answer

    _, brancher = solved(generated("auction:60x250:200"), Checks(Excludes()))
    assert brancher.statistics.fallbacks == 0


@pytest.mark.parametrize("answer", [np.zeros(0), np.zeros((2, 2)), ["x"], None])
def test_bad_answers_reach_the_brancher(answer: Any) -> None:
    class Bad(MostFractional):
        def score(self, state: BranchState, path: Sequence[PathStep]) -> Any:
            return answer

    model = generated("auction:60x250:201")
    brancher = attach(model, ShortlistPolicy(Bad()))
    optimize(model)
    assert model.getStatus() == "optimal"
    assert brancher.statistics.decisions == 0
    assert (brancher.statistics.fallbacks > 0) == (answer is not None)


# ---- optima ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OPTIMA)
def test_files_have_their_published_optimum(name: str) -> None:
    policy = GuardedPolicy(ShortlistPolicy(MostFractional()))
    model, _ = solved(read(INSTANCES / name, limits__time=120.0), policy)
    optimum = OPTIMA[name]
    if optimum is None:
        assert model.getStatus() == "infeasible"
    else:
        assert model.getStatus() == "optimal"
        assert model.getObjVal() == pytest.approx(optimum, rel=1e-6, abs=1e-6)


@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(6, 14), st.booleans())
@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
def test_random_knapsacks_keep_their_optimum(seed: int, rows: int, columns: int, failing: bool) -> None:
    optima = []
    for policy in (None, ShortlistPolicy(RaisesAtRandom(seed) if failing else MostFractional())):
        model = knapsack(rows, columns, seed)
        # Without them more knapsacks need a tree, and without an incumbent infeasible children have no bound.
        model.setParams({"presolving/maxrounds": 0, "separating/maxroundsroot": 0})
        model.setHeuristics(3)
        if policy is not None:
            attach(model, policy)
        optimize(model)
        assert model.getStatus() == "optimal"
        optima.append(model.getObjVal())
    assert optima[0] == pytest.approx(optima[1])


def test_model_is_freed() -> None:
    model, brancher = solved(generated("auction:60x250:201"), ShortlistPolicy(MostFractional()))
    reference = weakref.ref(model)
    del model
    gc.collect()
    assert reference() is None
    assert brancher.statistics.decisions > 0


def test_shortlist_needs_a_beginning() -> None:
    with pytest.raises(RuntimeError, match="begin"):
        ShortlistPolicy(MostFractional()).score(None, ())  # type: ignore[arg-type]


@pytest.mark.parametrize("bare", [True, False], ids=["no cuts, no heuristics", "as SCIP comes"])
def test_a_model_that_is_reoptimised_keeps_its_optima(bare: bool) -> None:
    random = np.random.default_rng(0)
    weights = random.integers(5, 60, (5, 22))
    profits = random.integers(10, 60, (4, 22))

    def build() -> tuple[Model, list[Any]]:
        model = Model()
        model.hideOutput()
        if bare:
            model.setParam("separating/maxrounds", 0)
            model.setParam("separating/maxroundsroot", 0)
            model.setHeuristics(SCIP_PARAMSETTING.OFF)
        variables = [model.addVar(vtype="B") for _ in range(22)]
        for row in weights.tolist():
            model.addCons(quicksum(map(operator.mul, row, variables)) <= sum(row) // 3)
        return model, variables

    model, variables = build()
    model.enableReoptimization()
    brancher = attach(model, ShortlistPolicy(MostFractional()), strict=True)
    for number, row in enumerate(profits.tolist()):
        if number:
            model.freeReoptSolve()
            model.chgReoptObjective(quicksum(map(operator.mul, row, variables)), "maximize")
        else:
            model.setObjective(quicksum(map(operator.mul, row, variables)), "maximize")
        optimize(model)
        fresh, others = build()
        fresh.setObjective(quicksum(map(operator.mul, row, others)), "maximize")
        fresh.optimize()
        assert model.getObjVal() == pytest.approx(fresh.getObjVal())
    assert brancher.statistics.decisions > 20
