"""A bad policy loses its office soon, a good one never; nothing else about a solve changes."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pyscipopt import Model

from revibranch.branching import _scip, guard
from revibranch.branching._scip import Search
from revibranch.branching.brancher import LearnedBrancher
from revibranch.branching.guard import FEWEST, MEMORY, Comparison, GuardedPolicy
from revibranch.branching.policy import PathStep, Policy, PolicyWrapper
from revibranch.branching.solving import attach, optimize
from revibranch.branching.state import BranchState, variable_column_names

from ..gnn.states import random_state
from .models import generated, set_cover
from .policies import MostFractional, Recorder

COLUMN = {name: place for place, name in enumerate(variable_column_names())}
amounts = st.floats(0.0, 1e6)
positive = st.floats(1e-3, 1e3)


def estimates(state: BranchState) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Gains that the state's pseudocosts expect, down and up, and whether both have been observed; (k,) each."""
    features = state.variable_features[state.candidates].astype(np.float64)
    fraction = features[:, COLUMN["solution_frac"]]
    counts = np.minimum(features[:, COLUMN["pseudocost_count_down"]], features[:, COLUMN["pseudocost_count_up"]])
    return features[:, COLUMN["pseudocost_down"]] * fraction, features[:, COLUMN["pseudocost_up"]] * (1 - fraction), counts >= 1


class Pseudocosts(Policy):
    """The best candidate by pseudocosts, or the worst."""

    needs_path = False

    def __init__(self, sign: int = 1) -> None:
        self.sign = sign

    def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[np.floating]:
        down, up, _ = estimates(state)
        scores: NDArray[np.float64] = self.sign * np.maximum(down, 1e-6) * np.maximum(up, 1e-6)
        return scores


class Random(Policy):
    extended = False
    needs_path = False

    def begin(self, model: Model) -> None:
        self.generator = np.random.default_rng(0)

    def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[np.floating]:
        return self.generator.random(len(state.candidates))


def solved(name: str, policy: Policy) -> tuple[Model, LearnedBrancher]:
    model = generated(name)
    brancher = attach(model, policy, strict=True)
    optimize(model)
    assert model.getStatus() == "optimal"
    return model, brancher


# ---- the comparison --------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(amounts, st.floats(0.0, 1.0)), max_size=300))
def test_gains_that_keep_every_promise_are_never_behind(children: list[tuple[float, float]]) -> None:
    comparison = Comparison()
    for gain, share in children:
        comparison.add(gain, share * gain)
        assert not comparison.behind
        assert comparison.mean >= 0.0


@given(st.lists(st.floats(0.5, 2.0), min_size=3 * FEWEST, max_size=3 * FEWEST))
def test_gains_of_a_twentieth_are_behind_soon_but_not_at_once(promises: list[float]) -> None:
    comparison = Comparison()
    for count, promise in enumerate(promises, start=1):
        comparison.add(promise / 20, promise)
        assert not (comparison.behind and count < FEWEST)
    assert comparison.behind


@given(st.lists(st.tuples(positive, positive), min_size=1, max_size=50), st.floats(1e-4, 1e4))
def test_unit_of_the_objective_does_not_matter(children: list[tuple[float, float]], unit: float) -> None:
    plain, scaled = Comparison(), Comparison()
    for gain, promise in children:
        plain.add(gain, promise)
        scaled.add(unit * gain, unit * promise)
    assert scaled.mean == pytest.approx(plain.mean, rel=1e-6, abs=1e-9)


def test_bounds_that_never_move_prove_nothing() -> None:
    comparison = Comparison()
    for _ in range(1000):
        comparison.add(0.0, 0.0)
    assert comparison.mean == 0.0
    assert not comparison.behind


def test_good_start_is_forgotten() -> None:
    comparison = Comparison()
    for _ in range(50 * MEMORY):
        comparison.add(1.0, 1.0)
    for _ in range(2 * MEMORY):
        comparison.add(0.1, 1.0)
    assert comparison.behind


# ---- what it compares with -------------------------------------------------------------------------------------------


def test_promise_is_that_of_the_best_observed_candidate() -> None:
    seen: list[bool] = []

    class Checks(Pseudocosts):
        def begin(self, model: Model) -> None:
            self.search = Search(model)
            self.pseudocosts = _scip.Pseudocosts(model)

        def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[np.floating]:
            down, up, observed = estimates(state)
            promise = self.pseudocosts.promise()
            seen.append(promise is not None)
            assert seen[-1] == observed.any()
            if promise is not None:
                product = np.maximum(down, 1e-6) * np.maximum(up, 1e-6)
                best = np.where(observed, product, -1.0).max()
                assert max(promise[0], 1e-6) * max(promise[1], 1e-6) == pytest.approx(best, rel=1e-4)
            assert self.search.parent == ([-1, *self.search.ancestors()])[-2]
            return super().score(state, path)

    solved("auction:60x250:200", Checks())
    assert {True, False} == set(seen)


# ---- solves ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("instance", "policy"),
    [
        ("setcover:300x600:205", Random),
        ("setcover:300x600:205", lambda: Pseudocosts(-1)),
        ("auction:60x250:202", lambda: Pseudocosts(-1)),
        ("knapsack:30x4:202", Random),
        ("knapsack:30x4:202", lambda: Pseudocosts(-1)),
    ],
    ids=["setcover-random", "setcover-worst", "auction-worst", "knapsack-random", "knapsack-worst"],
)
def test_bad_policy_hands_over_and_the_tree_shrinks(instance: str, policy: Callable[[], Policy]) -> None:
    alone, _ = solved(instance, policy())
    guarded, brancher = solved(instance, GuardedPolicy(policy()))
    report = brancher.statistics.as_dict()
    assert report["guard_handovers"] >= 1
    assert 0 < float(report["guard_gain_to_promise"]) < 0.75
    assert brancher.statistics.passes == report["guard_nodes_left"]
    assert guarded.getNTotalNodes() < alone.getNTotalNodes()
    assert guarded.getObjVal() == pytest.approx(alone.getObjVal())


@pytest.mark.parametrize("instance", ["setcover:300x600:204", "auction:60x250:200", "knapsack:30x4:202"])
def test_pseudocosts_keep_their_own_promises(instance: str) -> None:
    alone, _ = solved(instance, Pseudocosts())
    guarded, brancher = solved(instance, GuardedPolicy(Pseudocosts()))
    assert brancher.statistics.policy["guard_handovers"] == 0
    assert guarded.getNTotalNodes() == alone.getNTotalNodes() > 100
    assert guarded.getNLPIterations() == alone.getNLPIterations()


def test_same_solve_twice_is_the_same_tree() -> None:
    policy = GuardedPolicy(Pseudocosts(-1))
    runs = []
    for _ in range(2):  # one guard, two solves: nothing is left of the first
        model, brancher = solved("auction:60x250:202", policy)
        runs.append((model.getNTotalNodes(), model.getNLPIterations(), brancher.statistics.policy))
    assert runs[0] == runs[1]


def test_policy_is_tried_again_and_rests_twice_as_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "FIRST_REST", 8)
    calls: list[str] = []

    class Noted(GuardedPolicy):
        def skip(self) -> bool:
            skipped = super().skip()
            calls.append("-" if skipped else "p")
            return skipped

    _, brancher = solved("knapsack:30x4:201", Noted(Pseudocosts(-1)))
    rests = [len(run) for run in "".join(calls).split("p") if run]
    handovers = int(brancher.statistics.policy["guard_handovers"])
    assert handovers >= 3
    assert rests[: handovers - 1] == [8 * 2**turn for turn in range(handovers - 1)]


class SeeksSolutions(MostFractional):
    raises_bound = False


def test_policy_that_does_not_raise_the_bound_takes_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "FIRST_TURN", 3)
    skipped: list[bool] = []
    nodes_left: set[int] = set()

    class Noted(GuardedPolicy):
        def begin(self, model: Model) -> None:
            super().begin(model)
            self.search = Search(model)

        def skip(self) -> bool:
            skipped.append(super().skip())
            if skipped[-1]:
                nodes_left.add(self.search.focus)
            return skipped[-1]

    guarded = Noted(SeeksSolutions())
    for _ in range(2):  # the second solve begins with the first turn again
        skipped.clear()
        nodes_left.clear()
        _, brancher = solved("knapsack:30x4:201", guarded)
        calls = len(skipped)
        assert calls > 50
        turns = [skip for turn in (3, 6, 12, 24) for skip in [False] * turn + [True] * turn]
        assert skipped[: len(turns)] == turns[:calls]
        facts = brancher.statistics
        assert facts.passes == facts.policy["guard_nodes_left"] == len(nodes_left) < sum(skipped)
        assert facts.decisions == calls - sum(skipped)
        assert facts.policy["guard_handovers"] >= 3
        assert "guard_gain_to_promise" not in facts.policy


def test_turns_are_taken_through_other_wrappers_and_in_the_first_turn_nothing_changes() -> None:
    _, plain = solved("knapsack:30x4:200", SeeksSolutions())
    _, guarded = solved("knapsack:30x4:200", GuardedPolicy(PolicyWrapper(SeeksSolutions())))
    assert plain.statistics.decisions == guarded.statistics.decisions < guard.FIRST_TURN
    assert "guard_gain_to_promise" not in guarded.statistics.policy


def test_paths_and_memories_pass_through() -> None:
    plain, guarded = Recorder(), Recorder()
    solved("setcover:300x600:205", plain)
    _, brancher = solved("setcover:300x600:205", GuardedPolicy(guarded))
    before = len(guarded.decisions)
    assert brancher.statistics.decisions == before > 10
    assert guarded.decisions == plain.decisions[:before]


@pytest.mark.parametrize("answer", [np.zeros(0), np.zeros((2, 2)), ["x"], None])
def test_bad_answers_reach_the_brancher(answer: Any) -> None:
    class Bad(MostFractional):
        def score(self, state: BranchState, path: Sequence[PathStep]) -> Any:
            return answer

    model = generated("auction:60x250:200")
    brancher = attach(model, GuardedPolicy(Bad()))
    optimize(model)
    assert model.getStatus() == "optimal"
    assert brancher.statistics.decisions == 0
    assert (brancher.statistics.fallbacks > 0) == (answer is not None)
    assert (brancher.statistics.passes > 0) == (answer is None)


def test_policy_without_the_optional_methods_is_guarded_too() -> None:
    class Bare:
        """Of a policy's shape, but no subclass."""

        extended = False
        needs_path = False

        def begin(self, model: Model) -> None: ...

        def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[np.floating]:
            return MostFractional().score(state, path)

        def remember(self, state: BranchState, path: Sequence[PathStep], choice: int) -> object:
            return None

    for policy in (Bare(), GuardedPolicy(Bare())):  # type: ignore[arg-type]
        _, brancher = solved("setcover:300x600:205", policy)  # type: ignore[arg-type]
        assert brancher.statistics.decisions > 0


def test_guard_across_restarts_and_default_settings() -> None:
    optima = []
    for policy in (None, GuardedPolicy(Pseudocosts(-1))):
        model = set_cover(60, 120, 0.08, 1)
        model.setParam("presolving/restartfac", 0.001)
        if policy is not None:
            attach(model, policy, strict=True)
        optimize(model)
        optima.append(model.getObjVal())
    assert optima[0] == pytest.approx(optima[1])


@pytest.mark.parametrize("instance", ["knapsack:30x4:201", "auction:60x250:202"])
def test_node_that_comes_back_is_not_judged_again(instance: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the policy passes, SCIP's rule may raise the bound and let SCIP ask once more: that gain is not the policy's."""
    judged: list[tuple[int, int]] = []

    class Passes(MostFractional):
        def begin(self, model: Model) -> None:
            self.search, self.generator = Search(model), np.random.default_rng(0)

        def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[np.floating] | None:
            return None if self.generator.random() < 0.5 else super().score(state, path)

    policy = Passes()

    class Counts(Comparison):
        def add(self, gain: float, promise: float) -> None:
            judged.append((policy.search.run, policy.search.focus))
            super().add(gain, promise)

    monkeypatch.setattr(guard, "Comparison", Counts)
    solved(instance, GuardedPolicy(policy))
    assert len(judged) == len(set(judged)) > 10


def test_model_is_freed() -> None:
    model, brancher = solved("auction:60x250:201", GuardedPolicy(Random()))
    reference = weakref.ref(model)
    del model
    gc.collect()
    assert reference() is None
    assert brancher.statistics.policy["guard_handovers"] is not None


def test_guard_needs_a_beginning() -> None:
    with pytest.raises(RuntimeError, match="begin"):
        GuardedPolicy(MostFractional()).score(random_state(), ())
