"""However a policy fails, and whatever it leaves behind, the solve ends with the right optimum."""

from __future__ import annotations

import gc
import logging
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import sleep
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pyscipopt import Model, quicksum

from revibranch.branching._scip import Search
from revibranch.branching.brancher import LearnedBrancher
from revibranch.branching.guard import GuardedPolicy
from revibranch.branching.policy import PathStep, Policy, PolicyWrapper
from revibranch.branching.shortlist import ShortlistPolicy
from revibranch.branching.solving import attach, optimize
from revibranch.branching.state import BranchState
from revibranch.instances import families

from .models import knapsack
from .policies import KnowsItsModel, MostFractional


class Panic(BaseException):
    """What some libraries raise, and no ``except Exception`` catches."""


def tree(seed: int, *, heuristics: bool = True) -> Model:
    model = knapsack(4, 20, seed)
    if not heuristics:  # so that only the tree finds the optimum
        model.setHeuristics(3)
    return model


class HalfDone(KnowsItsModel):
    """Makes one of two children by itself and gives up."""

    def __init__(self) -> None:
        self.calls = 0

    def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[np.floating]:
        self.calls += 1
        model = self.model
        candidates, values, *_ = model.getLPBranchCands()
        child = model.createChild(1.0, model.getLocalEstimate())
        model.chgVarUbNode(child, candidates[0], float(np.floor(values[0])))
        raise RuntimeError("gave up half way")


@pytest.mark.parametrize("seed", range(6))
def test_children_that_a_policy_left_unfinished_lose_no_solution(seed: int) -> None:
    plain, spoilt = tree(seed, heuristics=False), tree(seed, heuristics=False)
    optimize(plain)
    policy = HalfDone()
    brancher = attach(spoilt, policy)
    optimize(spoilt)
    assert (plain.getStatus(), spoilt.getStatus()) == ("optimal", "optimal")
    assert spoilt.getObjVal() == pytest.approx(plain.getObjVal())
    assert policy.calls == 1, "a policy that grows trees by itself is not asked again"
    assert brancher.statistics.fallbacks >= 1
    spoilt.freeTransform()
    optimize(spoilt)
    assert policy.calls == 2, "the next solve asks it again"


def test_an_interrupt_behind_a_branching_leaves_its_children_alone() -> None:
    class Interrupted(MostFractional):
        needs_path = True
        calls = 0

        def remember(self, state: BranchState, path: Sequence[PathStep], choice: int) -> object:
            self.calls += 1
            if self.calls == 3:
                raise KeyboardInterrupt
            return None

    for seed in range(4):
        plain, model = tree(seed), tree(seed)
        optimize(plain)
        attach(model, Interrupted())
        optimize(model)
        if model.getStatus() == "optimal":
            continue
        assert model.getStatus() == "userinterrupt"
        assert model.getNChildren() in (0, 2)
        optimize(model)
        assert model.getStatus() == "optimal"
        assert model.getObjVal() == pytest.approx(plain.getObjVal())


@pytest.mark.parametrize("failure", [ValueError, Panic])
def test_what_cannot_be_remembered_is_counted_and_the_decision_stands(
    failure: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    class Forgets(MostFractional):
        needs_path = True

        def remember(self, state: BranchState, path: Sequence[PathStep], choice: int) -> object:
            raise failure("as planned")

    plain, model = tree(0), tree(0)
    optimize(plain)
    brancher = attach(model, Forgets())
    optimize(model)
    statistics = brancher.statistics
    assert model.getObjVal() == pytest.approx(plain.getObjVal())
    assert statistics.forgotten == statistics.decisions > 2
    assert statistics.fallbacks == 0
    assert len(caplog.records) == 1
    assert "its descendants will not see this decision" in caplog.text


@pytest.mark.parametrize(
    ("failure", "status"), [(OSError("disk full"), "optimal"), (Panic(), "optimal"), (KeyboardInterrupt(), "userinterrupt")], ids=repr
)
def test_a_log_that_fails_ends_no_solve_in_an_error(failure: BaseException, status: str) -> None:
    class Raises(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise failure

    class Fails(MostFractional):
        def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[np.floating]:
            raise ZeroDivisionError("as planned")

    logger, handler = logging.getLogger("revibranch"), Raises()
    logger.addHandler(handler)
    try:
        model = tree(3)
        brancher = attach(model, Fails())
        optimize(model)
    finally:
        logger.removeHandler(handler)
    assert model.getStatus() == status
    assert isinstance(brancher.error, ZeroDivisionError)


@dataclass(frozen=True)
class UnchangeableError(Exception):
    """Whose attributes, its notes and its traceback among them, cannot be set."""

    reason: str

    def with_traceback(self, traceback: object) -> Any:
        raise RuntimeError("nor this way")

    @property
    def __context__(self) -> BaseException:
        raise RuntimeError("nor read")


@pytest.mark.parametrize("where", ["score", "remember"])
@pytest.mark.parametrize("plain", [False, True])
def test_an_exception_that_cannot_be_changed_is_told_like_any_other(where: str, plain: bool, caplog: pytest.LogCaptureFixture) -> None:
    class Raises(MostFractional):
        needs_path = True

        def _raise(self, here: str) -> None:
            if here == where:
                try:
                    raise UnchangeableError("as planned")
                except UnchangeableError:
                    if plain:
                        raise ValueError("on its way")  # noqa: B904
                    raise

        def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[np.floating]:
            self._raise("score")
            return super().score(state, path)

        def remember(self, state: BranchState, path: Sequence[PathStep], choice: int) -> object:
            self._raise("remember")
            return None

    model = tree(3)
    brancher = attach(model, Raises(), strict=True)
    with pytest.raises(ValueError if plain else UnchangeableError) as caught:
        optimize(model)
    assert str(caught.value) == ("on its way" if plain else "as planned")
    assert model.getStatus() == "optimal"
    assert len(caplog.records) == 1
    statistics = brancher.statistics
    assert (statistics.fallbacks > 0) == (where == "score")
    assert (statistics.forgotten > 0) == (where == "remember")


@pytest.mark.parametrize("failure", [OSError, Panic])
def test_a_policy_that_cannot_begin_is_not_asked_to_again(failure: type[BaseException]) -> None:
    class NeverBegins(MostFractional):
        calls = 0

        def begin(self, model: Model) -> None:
            self.calls += 1
            sleep(0.02)
            raise failure("no weights")

    model, policy = tree(3), NeverBegins()
    brancher = attach(model, policy)
    optimize(model)
    assert model.getStatus() == "optimal"
    assert policy.calls == 1
    assert brancher.statistics.fallbacks > 1
    assert brancher.statistics.total_seconds >= 0.02


def failed(kind: str) -> tuple[weakref.ref[Model], LearnedBrancher]:
    class Chained(KnowsItsModel):
        def score(self, state: BranchState, path: Sequence[PathStep]) -> Any:
            model = self.model  # noqa: F841  # in every traceback's frame
            try:
                raise KeyError("first")
            except KeyError as first:
                if kind == "group":
                    raise ExceptionGroup("both", [first]) from None
                raise RuntimeError("last") from ValueError("cause")

    model = tree(3)
    brancher = attach(model, Chained())
    optimize(model)
    return weakref.ref(model), brancher


@pytest.mark.parametrize("kind", ["cause and context", "group"])
def test_no_link_of_an_exception_keeps_the_model_alive(kind: str) -> None:
    reference, brancher = failed(kind)
    gc.collect()
    assert brancher.error is not None
    assert reference() is None


def test_an_unbounded_lp_is_nobodys_failure() -> None:
    generator = np.random.default_rng(1)
    for _ in range(300):
        model = Model()
        model.hideOutput()
        variables = [model.addVar(vtype="I", lb=0, ub=None) for _ in range(5)]
        for _ in range(2):
            weights = generator.integers(-30, 31, size=5)
            model.addCons(quicksum(int(w) * x for w, x in zip(weights, variables, strict=True)) == int(generator.integers(1, 200)))
        costs = generator.integers(-1, 5, size=5)
        model.setObjective(quicksum(int(c) * x for c, x in zip(costs, variables, strict=True)), "maximize")
        model.setParams({"limits/nodes": 50, "presolving/maxrounds": 0})
        model.setHeuristics(3)
        model.setSeparating(3)
        brancher = attach(model, MostFractional(), strict=True)
        optimize(model)
        assert brancher.statistics.fallbacks == 0


def test_the_warning_names_the_policy_not_its_wrappers(caplog: pytest.LogCaptureFixture) -> None:
    class Mine(MostFractional):
        def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[np.floating]:
            raise ZeroDivisionError("as planned")

    model = tree(3)
    attach(model, GuardedPolicy(ShortlistPolicy(Mine())))
    optimize(model)
    assert "branching policy Mine failed" in caplog.text


@pytest.mark.parametrize(
    ("policy", "complaint"),
    [(MostFractional, "not the class MostFractional itself"), (None, "NoneType is no policy"), (object(), "it lacks extended, needs_path")],
)
def test_what_is_no_policy_is_refused_before_the_solve(policy: Any, complaint: str) -> None:
    with pytest.raises(TypeError, match=complaint):
        attach(tree(3), policy)


def test_a_rule_that_comes_too_late_is_refused_in_words() -> None:
    model = tree(3)
    model.presolve()
    with pytest.raises(RuntimeError, match="freeTransform"):
        attach(model, MostFractional())
    model.freeTransform()
    brancher = attach(model, MostFractional())
    optimize(model)
    assert brancher.statistics.decisions > 0


@pytest.mark.parametrize("wrap", [lambda policy: policy, GuardedPolicy, ShortlistPolicy])
def test_what_a_shared_policy_said_of_a_model_stays_with_its_brancher(wrap: Callable[[Policy], Policy]) -> None:
    class Counts(MostFractional):
        def begin(self, model: Model) -> None:
            self.model_name = model.getProbName()

        def report(self) -> dict[str, float | str]:
            return {"model": self.model_name}

    policy, branchers = Counts(), []
    for name in ("first", "second"):
        model = tree(3)
        model.setProbName(name)
        branchers.append(attach(model, wrap(policy)))
        assert branchers[-1].statistics.policy == {}, "nothing is said before the first branching"
        optimize(model)
    assert [brancher.statistics.policy["model"] for brancher in branchers] == ["first", "second"]


@pytest.mark.parametrize("wrap", [lambda policy: policy, GuardedPolicy, ShortlistPolicy])
def test_a_solve_that_goes_on_after_another_models_has_its_policy_back(wrap: Callable[[Policy], Policy]) -> None:
    class Knows(MostFractional):
        def begin(self, model: Model) -> None:
            self.model_name, self.search = model.getProbName(), Search(model)

        def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[np.floating]:
            assert self.search.focus == state.node.number
            return super().score(state, path)

        def report(self) -> dict[str, float | str]:
            return {"model": self.model_name}

    policy, models, branchers = Knows(), [], []
    for seed, name in enumerate(("first", "second")):
        models.append(tree(seed))
        models[-1].setProbName(name)
        models[-1].setParam("limits/totalnodes", 3 + seed)
        branchers.append(attach(models[-1], wrap(policy), strict=True))
        optimize(models[-1])
    for model in models:
        model.setParam("limits/totalnodes", -1)
        optimize(model)
        assert model.getStatus() == "optimal"
    assert [brancher.statistics.policy["model"] for brancher in branchers] == ["first", "second"]
    assert [brancher.statistics.fallbacks for brancher in branchers] == [0, 0]
    assert all(brancher.statistics.decisions > 4 for brancher in branchers)


def test_a_solve_that_needs_no_branching_leaves_no_report_of_the_one_before() -> None:
    model = tree(3)
    brancher = attach(model, GuardedPolicy(MostFractional()))
    optimize(model)
    assert brancher.statistics.policy
    model.freeTransform()
    for variable in model.getVars():
        model.chgVarUb(variable, 0.0)
    optimize(model)
    assert brancher.statistics.policy == {}


class Fails(MostFractional):
    def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[np.floating]:
        raise ValueError("always")


class Passes(MostFractional):
    def score(self, state: BranchState, path: Sequence[PathStep]) -> None:  # type: ignore[override]
        return None


@pytest.mark.parametrize("policy", [Fails(), Passes()])
def test_nodes_at_which_scip_asks_again_count_once(policy: Policy) -> None:
    model = families.get("auction").generate("60x250", 200).to_model()  # SCIP's rule tightens domains there, and is asked again
    calls = 0

    class Counted(PolicyWrapper):
        def skip(self) -> bool:
            nonlocal calls
            calls += 1
            return super().skip()

    statistics = attach(model, Counted(policy)).statistics
    optimize(model)
    assert calls > model.getNTotalNodes() >= statistics.passes + statistics.fallbacks > 0
    assert (statistics.passes > 0, statistics.fallbacks > 0) == (isinstance(policy, Passes), isinstance(policy, Fails))
