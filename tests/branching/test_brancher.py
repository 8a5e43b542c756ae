"""The plugin branches where its policy says, and no policy can spoil a solve."""

from __future__ import annotations

import gc
import logging
import signal
import threading
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pyscipopt import SCIP_PRESOLTIMING, SCIP_RESULT, Model, Presol

from revibranch.branching.path import PathMemory
from revibranch.branching.policy import PathStep, Policy, best_candidate
from revibranch.branching.settings import apply_settings
from revibranch.branching.solving import attach, optimize
from revibranch.branching.state import BranchState

from .models import INSTANCES, knapsack, read
from .policies import MostFractional, RaisesAtRandom, Recorder


def tree(seed: int = 3) -> Model:
    """A knapsack whose tree has some hundreds of nodes."""
    model = knapsack(4, 20, seed)
    apply_settings(model, "clean")
    return model


def solved_without_plugin() -> float:
    model = tree()
    model.optimize()
    assert model.getStatus() == "optimal"
    return float(model.getObjVal())


class Bad(MostFractional):
    """Answers with whatever it was made with."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def score(self, state: BranchState, path: Sequence[PathStep]) -> Any:
        return self.answer(state) if callable(self.answer) else self.answer


def test_policy_decides_every_branching() -> None:
    model = tree()
    brancher = attach(model, Recorder())
    optimize(model)
    assert model.getStatus() == "optimal"
    assert model.getObjVal() == pytest.approx(solved_without_plugin())
    statistics = brancher.statistics
    assert statistics.decisions > 5
    assert (statistics.fallbacks, statistics.passes) == (0, 0)
    assert statistics.extraction_seconds > 0
    assert statistics.inference_seconds > 0
    assert statistics.other_seconds > 0
    assert len(brancher.policy.decisions) == statistics.decisions


def test_paths_are_the_real_ancestry() -> None:
    model = tree()
    recorder = Recorder()
    attach(model, recorder)
    optimize(model)
    by_number = {number: (index, depth, position) for index, (number, depth, _, position) in enumerate(recorder.decisions)}
    for _, depth, path, _ in recorder.decisions:
        # Every ancestor was branched on by the plugin, so the path is complete, root first.
        assert [step.depth for step in path] == list(range(depth))
        for step in path:
            assert step.memory == by_number[step.node][0]
            assert step.child in (0, 1)
    deep = max(recorder.decisions, key=lambda decision: decision[1])
    assert deep[1] >= 3


def test_forgetting_what_lies_above_no_open_node_changes_no_path(monkeypatch: pytest.MonkeyPatch) -> None:
    def solve() -> tuple[Recorder, int, list[int]]:
        model, recorder, kept = tree(), Recorder(), []
        brancher = attach(model, recorder)
        keep = brancher._paths.keep
        monkeypatch.setattr(brancher._paths, "keep", lambda *given: (keep(*given), kept.append(len(brancher._paths))))
        optimize(model)
        return recorder, model.getNTotalNodes(), kept

    everything, nodes, grown = solve()
    monkeypatch.setitem(PathMemory.__init__.__kwdefaults__, "first_pruning", 4)
    forgetful, forgetful_nodes, pruned = solve()
    assert forgetful.decisions == everything.decisions
    assert forgetful_nodes == nodes
    assert grown == sorted(grown)
    assert pruned != sorted(pruned)
    assert pruned[-1] < grown[-1]


@pytest.mark.parametrize(
    "answer",
    [
        lambda state: np.full(len(state.candidates), np.nan),
        lambda state: np.zeros(len(state.candidates) + 1),
        lambda state: np.zeros((len(state.candidates), 1)),
        lambda state: ["x"] * len(state.candidates),
        lambda state: 1 // 0,
        [],
    ],
    ids=["nan", "too-many", "wrong-shape", "no-numbers", "raises", "empty"],
)
def test_bad_answer_costs_nothing_but_a_warning(answer: Any, caplog: pytest.LogCaptureFixture) -> None:
    model = tree()
    brancher = attach(model, Bad(answer))
    with caplog.at_level(logging.WARNING, logger="revibranch"):
        optimize(model)
    assert model.getStatus() == "optimal"
    assert model.getObjVal() == pytest.approx(solved_without_plugin())
    assert brancher.statistics.decisions == 0
    assert brancher.statistics.fallbacks > 0
    assert len(caplog.records) == 1
    assert type(brancher.error).__name__ in caplog.text


def test_policy_may_pass_nodes_on() -> None:
    model = tree()
    brancher = attach(model, Bad(None))
    optimize(model)
    assert model.getStatus() == "optimal"
    assert brancher.statistics.passes > 0
    assert (brancher.statistics.decisions, brancher.statistics.fallbacks) == (0, 0)
    assert brancher.error is None


def test_strict_raises_the_original_exception_after_the_solve() -> None:
    model = tree()
    attach(model, RaisesAtRandom(), strict=True)
    with pytest.raises(ZeroDivisionError, match="as planned"):
        optimize(model)
    assert model.getStatus() == "optimal"
    assert model.getObjVal() == pytest.approx(solved_without_plugin())


def test_failure_in_begin_is_a_fallback() -> None:
    class NeverBegins(MostFractional):
        def begin(self, model: Model) -> None:
            raise OSError("no weights")

    model = tree()
    brancher = attach(model, NeverBegins())
    optimize(model)
    assert model.getStatus() == "optimal"
    assert isinstance(brancher.error, OSError)
    assert brancher.statistics.decisions == 0


def test_failure_in_remember_leaves_the_branching_valid() -> None:
    class Forgets(Recorder):
        def remember(self, state: BranchState, path: Sequence[PathStep], choice: int) -> object:
            raise KeyError("gone")

    model = tree()
    brancher = attach(model, Forgets())
    optimize(model)
    assert model.getStatus() == "optimal"
    assert model.getObjVal() == pytest.approx(solved_without_plugin())
    assert isinstance(brancher.error, KeyError)
    assert brancher.statistics.decisions > 0


def test_keyboard_interrupt_in_a_policy_stops_the_solve_like_ctrl_c() -> None:
    class Interrupted(MostFractional):
        def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[np.floating]:
            raise KeyboardInterrupt

    model = tree()
    attach(model, Interrupted())
    optimize(model)
    assert model.getStatus() == "userinterrupt"
    assert model.getNSols() > 0


def test_same_seed_same_tree() -> None:
    runs = []
    for _ in range(2):
        model = tree()
        recorder = Recorder()
        attach(model, recorder)
        optimize(model)
        runs.append((model.getNTotalNodes(), model.getNLPIterations(), [(n, d, p) for n, d, _, p in recorder.decisions]))
    assert runs[0] == runs[1]


def test_a_second_solve_of_the_same_model_begins_afresh() -> None:
    model = tree()
    recorder = Recorder()
    attach(model, recorder)
    optimize(model)
    first = model.getObjVal()
    model.freeTransform()
    recorder.decisions.clear()
    optimize(model)
    assert model.getStatus() == "optimal"
    assert model.getObjVal() == pytest.approx(first)
    assert recorder.decisions[0][:3] == (1, 0, ())
    for _, depth, path, _ in recorder.decisions:
        assert [step.depth for step in path] == list(range(depth))


def test_statistics_survive_a_report_that_fails() -> None:
    class Silent(MostFractional):
        def report(self) -> dict[str, float | str]:
            raise RuntimeError("nothing to say")

    model = tree()
    brancher = attach(model, Silent())
    optimize(model)
    assert brancher.statistics.policy == {}
    assert brancher.statistics.as_dict()["decisions"] == brancher.statistics.decisions > 0


def test_a_failure_does_not_keep_the_model_alive() -> None:
    class Fails(MostFractional):
        def begin(self, model: Model) -> None:
            local = model
            raise OSError(f"cannot begin {local.getProbName()}")

    model = tree()
    brancher = attach(model, Fails())
    optimize(model)
    assert isinstance(brancher.error, OSError)
    reference = weakref.ref(model)
    del model
    gc.collect()
    assert reference() is None
    assert "cannot begin" in str(brancher.error)


def test_a_model_in_a_reference_cycle_is_freed_safely() -> None:
    # The collector clears such a model's plugins before it frees the model, which calls them.
    class HoldsItsModel(MostFractional):
        pass

    model = tree()
    policy = HoldsItsModel()
    attach(model, policy)
    model.data = [model]
    optimize(model)
    reference = weakref.ref(model)
    del model, policy
    gc.collect()
    assert reference() is None


def test_model_is_freed_while_its_brancher_lives() -> None:
    model = read(INSTANCES / "lseu.mps")
    brancher = attach(model, MostFractional())
    optimize(model)
    reference = weakref.ref(model)
    del model
    gc.collect()
    assert reference() is None
    with pytest.raises(RuntimeError, match="freed"):
        brancher._buffer.update()


def test_threads_with_a_model_each() -> None:
    results: list[tuple[str, int, float]] = []

    def work() -> None:
        model = tree()
        attach(model, MostFractional())
        optimize(model)
        results.append((model.getStatus(), model.getNTotalNodes(), round(model.getObjVal(), 6)))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    assert len(set(results)) == 1
    # Ctrl-C is Python's again, though the solves overlapped.
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_several_models_at_once() -> None:
    models = [tree(seed) for seed in (3, 4)]
    branchers = [attach(model, MostFractional()) for model in models]
    for model in models:
        optimize(model)
    assert all(model.getStatus() == "optimal" for model in models)
    assert all(brancher.statistics.decisions > 0 for brancher in branchers)


def test_restart_clears_what_was_remembered() -> None:
    # A restart numbers its nodes anew: a path must never mix two runs.
    model = tree(5)
    model.setParam("presolving/maxrestarts", -1)

    runs: set[int] = set()

    class RestartsOnce(Recorder):
        def begin(self, model: Model) -> None:
            self.model = weakref.ref(model)

        def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[np.floating]:
            runs.add(state.node.run)
            if state.node.run == 1 and state.node.n_nodes == 6:
                self.model().restartSolve()  # type: ignore[union-attr]
            assert all(step.depth < state.node.depth for step in path)
            assert len(path) <= state.node.depth
            return super().score(state, path)

    brancher = attach(model, RestartsOnce(), strict=True)
    optimize(model)
    assert model.getStatus() == "optimal"
    assert runs == {1, 2}
    assert brancher.statistics.decisions > 0


def test_a_solve_that_restarts_keeps_its_policy_while_another_model_is_solved() -> None:
    begun: list[str] = []
    runs: set[int] = set()

    class Shared(MostFractional):
        def begin(self, model: Model) -> None:
            begun.append(model.getProbName())

        def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[np.floating]:
            runs.add(state.node.run)
            if begun == ["first"] and state.node.run == 1 and state.node.n_nodes == 6:
                restarting().restartSolve()  # type: ignore[union-attr]
            return super().score(state, path)

    class SolvesAnother(Presol):
        """As another thread would, while the restart is being presolved."""

        def presolexec(self, nrounds: int, presoltiming: Any) -> dict[str, Any]:
            if begun == ["first"]:
                attach(second, policy)
                optimize(second)
            return {"result": SCIP_RESULT.DIDNOTFIND}

    policy, first, second = Shared(), tree(5), tree(4)
    restarting = weakref.ref(first)
    for model, name in ((first, "first"), (second, "second")):
        model.setProbName(name)
    first.setParams({"presolving/maxrestarts": -1, "presolving/maxrounds": -1})
    brancher = attach(first, policy, strict=True)
    presolver = SolvesAnother()
    first.includePresol(presolver, "another", "", 0, -1, SCIP_PRESOLTIMING.FAST)
    presolver.model = None
    optimize(first)
    assert runs == {1, 2}
    assert brancher.statistics.decisions > 6
    assert begun == ["first", "second"]
    del first
    gc.collect()
    assert restarting() is None


def test_best_candidate_takes_the_first_of_equals_and_skips_what_is_not_finite() -> None:
    assert best_candidate([1.0, 3.0, 3.0], 3) == 1
    assert best_candidate([np.nan, -np.inf, -5.0, np.inf], 4) == 2
    assert best_candidate(np.array([2], np.float32), 1) == 0


def test_policy_protocol_accepts_any_object_of_its_shape() -> None:
    class Plain:
        extended = False
        needs_path = False

        def begin(self, model: Model) -> None: ...

        def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[np.floating]:
            return np.arange(len(state.candidates), dtype=float)

        def remember(self, state: BranchState, path: Sequence[PathStep], choice: int) -> object: ...

    policy: Policy = Plain()
    model = tree()
    brancher = attach(model, policy)
    optimize(model)
    assert brancher.statistics.decisions > 0
