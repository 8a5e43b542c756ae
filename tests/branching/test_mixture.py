"""SCIP's pseudocosts beside a policy's scores: the formula, who is mixed, and that solves stay right."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from pyscipopt import SCIP_PARAMSETTING, Model

from revibranch.branching import mixture
from revibranch.branching._scip import Pseudocosts
from revibranch.branching.brancher import LearnedBrancher
from revibranch.branching.mixture import HALF, WEIGHT, MixedPolicy, as_asked
from revibranch.branching.policy import PathStep, Policy, PolicyWrapper, best_candidate
from revibranch.branching.solving import attach, optimize
from revibranch.branching.state import BranchState, variable_column_names

from .models import INSTANCES, OPTIMA, generated, read
from .policies import MostFractional, RaisesAtRandom

COLUMN = {name: place for place, name in enumerate(variable_column_names())}


class Mixes(MostFractional):
    """The most fractional candidate, and pseudocosts."""

    extended = True
    mixes_pseudocosts = True


class Drawn(MostFractional):
    """Scores drawn at random: those of a good policy would hardly ever be overruled."""

    mixes_pseudocosts = True

    def begin(self, model: Model) -> None:
        self.generator = np.random.default_rng(0)

    def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[np.floating]:
        return self.generator.normal(size=len(state.candidates))


def solved(name: str, policy: Policy, heuristics: bool = True) -> tuple[Model, LearnedBrancher]:
    model = generated(name)
    if not heuristics:  # diving observes pseudocosts too
        model.setHeuristics(SCIP_PARAMSETTING.OFF)
    brancher = attach(model, policy, strict=True)
    optimize(model)
    assert model.getStatus() == "optimal"
    return model, brancher


def standard(values: NDArray[np.float64]) -> NDArray[np.float64]:
    deviation = values.std()
    return (values - values.mean()) / deviation if deviation > 0 else np.zeros_like(values)


def by_hand(scores: NDArray[np.float64], state: BranchState, weight: float, half: float) -> NDArray[np.float64]:
    """The formula once more, out of the state's columns."""
    features = state.variable_features[state.candidates].astype(np.float64)
    finite = np.isfinite(scores)
    fraction = features[:, COLUMN["solution_frac"]]
    down, up = features[:, COLUMN["pseudocost_down"]] * fraction, features[:, COLUMN["pseudocost_up"]] * (1 - fraction)
    seen = np.minimum(features[:, COLUMN["pseudocost_count_down"]], features[:, COLUMN["pseudocost_count_up"]])[finite]
    gains = sum(np.log2(np.maximum(gain[finite], max(0.1 * gain[finite].mean(), 1e-9))) for gain in (down, up))
    result = np.full(len(scores), np.nan)
    result[finite] = standard(scores[finite]) + weight * seen / (seen + half) * standard(gains)
    return result


def at_every_node(name: str, check: Callable[[Pseudocosts, BranchState, NDArray[np.float64]], None], heuristics: bool = True) -> int:
    """Solve by the most fractional candidate; the check sees pseudocosts, state and random scores at every node."""
    nodes = []

    class Checks(Mixes):
        def begin(self, model: Model) -> None:
            self.pseudocosts = Pseudocosts(model)
            self.generator = np.random.default_rng(0)

        def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[np.floating]:
            check(self.pseudocosts, state, self.generator.normal(3.0, 2.0, size=len(state.candidates)))
            nodes.append(state.node.number)
            return super().score(state, path)

    solved(name, Checks(), heuristics=heuristics)
    return len(nodes)


# ---- the formula -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["auction:60x250:200", "setcover:300x600:205", "general:60x80:102"])
def test_mixture_is_the_formula(name: str) -> None:
    known = []

    def check(pseudocosts: Pseudocosts, state: BranchState, scores: NDArray[np.float64]) -> None:
        if len(scores) > 2:
            scores[len(scores) // 2] = np.nan
        for weight, half in ((WEIGHT, HALF), (0.3, 1.0)):
            expected = by_hand(scores, state, weight, half)
            mixed, overruled = pseudocosts.mixed(scores, weight, half)
            # The columns are float32, SCIP's pseudocosts are not.
            np.testing.assert_allclose(mixed, expected, rtol=1e-3, atol=1e-3)
            assert overruled == (best_candidate(mixed, len(mixed)) != best_candidate(scores, len(scores)))
            known.append(overruled)

    assert at_every_node(name, check) > 5
    assert set(known) == {True, False}


def test_units_of_the_scores_do_not_matter() -> None:
    def check(pseudocosts: Pseudocosts, state: BranchState, scores: NDArray[np.float64]) -> None:
        plain, _ = pseudocosts.mixed(scores, WEIGHT, HALF)
        scaled, _ = pseudocosts.mixed(1e6 + 0.01 * scores, WEIGHT, HALF)
        np.testing.assert_allclose(scaled, plain, rtol=1e-5, atol=1e-5)

    at_every_node("auction:60x250:200", check)


def test_where_nothing_was_observed_the_order_is_the_policys() -> None:
    unobserved = []

    def check(pseudocosts: Pseudocosts, state: BranchState, scores: NDArray[np.float64]) -> None:
        counts = state.variable_features[state.candidates][:, [COLUMN["pseudocost_count_down"], COLUMN["pseudocost_count_up"]]]
        if (counts.min(axis=1) == 0).all():
            mixed, overruled = pseudocosts.mixed(scores, WEIGHT, HALF)
            np.testing.assert_array_equal(np.argsort(mixed), np.argsort(scores))
            assert not overruled
            unobserved.append(state.node.number)

    at_every_node("auction:60x250:200", check, heuristics=False)
    assert unobserved[0] == 1, "nothing is known at the root"


def test_scores_that_do_not_tell_leave_the_choice_to_pseudocosts() -> None:
    def check(pseudocosts: Pseudocosts, state: BranchState, scores: NDArray[np.float64]) -> None:
        mixed, _ = pseudocosts.mixed(np.full(len(scores), 7.0), WEIGHT, HALF)
        np.testing.assert_allclose(mixed, by_hand(np.zeros(len(scores)), state, WEIGHT, HALF), rtol=1e-3, atol=1e-3)

    at_every_node("auction:60x250:200", check)


def test_what_cannot_be_mixed() -> None:
    def check(pseudocosts: Pseudocosts, state: BranchState, scores: NDArray[np.float64]) -> None:
        for wrong in (scores[:-1], np.append(scores, 0.0)):
            with pytest.raises(ValueError, match=f"{len(wrong)} scores for {len(scores)} candidates"):
                pseudocosts.mixed(wrong, WEIGHT, HALF)
        mixed, overruled = pseudocosts.mixed(np.full(len(scores), -np.inf), WEIGHT, HALF)
        assert np.isnan(mixed).all()
        assert not overruled

    at_every_node("auction:60x250:200", check)
    model = generated("auction:60x250:200")
    with pytest.raises(RuntimeError, match="solving stage"):
        Pseudocosts(model).mixed(np.zeros(1), WEIGHT, HALF)


# ---- the policy ------------------------------------------------------------------------------------------------------


def test_policy_that_does_not_ask_for_it_is_left_alone() -> None:
    alone, _ = solved("auction:60x250:202", MostFractional())
    wrapped, brancher = solved("auction:60x250:202", MixedPolicy(MostFractional()))
    assert wrapped.getNTotalNodes() == alone.getNTotalNodes()
    assert brancher.statistics.policy == {}


def test_policy_that_asks_for_it_is_mixed() -> None:
    alone, _ = solved("auction:60x250:202", Drawn())
    mixed, brancher = solved("auction:60x250:202", MixedPolicy(Drawn()))
    assert 0 < brancher.statistics.policy["pseudocosts_overruled"] < brancher.statistics.decisions
    assert mixed.getNTotalNodes() != alone.getNTotalNodes()
    assert mixed.getObjVal() == pytest.approx(alone.getObjVal())


def test_mixture_is_not_mixed_once_more() -> None:
    once, first = solved("auction:60x250:202", as_asked(Drawn()))
    again, second = solved("auction:60x250:202", as_asked(PolicyWrapper(as_asked(Drawn()))))
    assert first.statistics.policy["pseudocosts_overruled"] == second.statistics.policy["pseudocosts_overruled"] > 0
    assert once.getNTotalNodes() == again.getNTotalNodes()


def test_wrapper_is_asked_at_each_solve() -> None:
    wrapper = PolicyWrapper(MostFractional())  # as auto has one inside that it changes
    policy = as_asked(wrapper)
    _, brancher = solved("auction:60x250:202", policy)
    assert brancher.statistics.policy == {}
    wrapper.policy = Drawn()
    _, brancher = solved("auction:60x250:202", policy)
    assert brancher.statistics.policy["pseudocosts_overruled"] > 0


def test_pseudocosts_that_outweigh_poor_scores_shrink_the_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mixture, "WEIGHT", 1000.0)
    monkeypatch.setattr(mixture, "HALF", 0.1)
    alone, _ = solved("auction:60x250:202", Drawn())
    mixed, _ = solved("auction:60x250:202", MixedPolicy(Drawn()))
    assert mixed.getNTotalNodes() < 0.8 * alone.getNTotalNodes()


def test_weight_of_nothing_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mixture, "WEIGHT", 0.0)
    alone, _ = solved("auction:60x250:202", Drawn())
    mixed, brancher = solved("auction:60x250:202", MixedPolicy(Drawn()))
    assert mixed.getNTotalNodes() == alone.getNTotalNodes()
    assert brancher.statistics.policy["pseudocosts_overruled"] == 0


def test_same_solve_twice_is_the_same_tree() -> None:
    (first, _), (second, _) = (solved("setcover:300x600:205", MixedPolicy(Mixes())) for _ in range(2))
    assert first.getNTotalNodes() == second.getNTotalNodes()
    assert first.getNLPIterations() == second.getNLPIterations()


@pytest.mark.parametrize("name", sorted(OPTIMA))
def test_optimum_is_the_known_one(name: str) -> None:
    model = read(INSTANCES / name)
    attach(model, MixedPolicy(Mixes()), strict=True)
    optimize(model)
    optimum = OPTIMA[name]
    assert model.getStatus() == ("infeasible" if optimum is None else "optimal")
    assert optimum is None or model.getObjVal() == pytest.approx(optimum)


@pytest.mark.parametrize("spoil", [lambda scores: scores[:-1], lambda scores: scores * np.nan], ids=["shape", "nan"])
def test_scores_that_cannot_be_used_cost_the_node_and_nothing_else(spoil: Callable[[NDArray[np.floating]], NDArray[np.floating]]) -> None:
    class Spoils(Mixes):
        def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[np.floating]:
            return spoil(super().score(state, path))

    model = generated("auction:60x250:200")
    brancher = attach(model, MixedPolicy(Spoils()))
    optimize(model)
    assert model.getStatus() == "optimal"
    assert brancher.statistics.fallbacks > 0
    assert "PolicyError" in type(brancher.error).__name__


def test_policy_that_raises_now_and_then_is_mixed_where_it_does_not() -> None:
    class Asks(RaisesAtRandom):
        mixes_pseudocosts = True

    model = generated("auction:60x250:202")
    brancher = attach(model, MixedPolicy(Asks()))
    optimize(model)
    assert model.getStatus() == "optimal"
    assert brancher.statistics.fallbacks > 0
    assert brancher.statistics.decisions > 0
