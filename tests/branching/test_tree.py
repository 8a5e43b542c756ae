"""The recorded tree is the one that SCIP grew, with any rule, and recording changes nothing."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pyscipopt import SCIP_PARAMSETTING

from revibranch.branching._scip import search_counts
from revibranch.branching.policy import PathStep
from revibranch.branching.settings import apply_rule, apply_settings
from revibranch.branching.solving import attach, optimize
from revibranch.branching.state import BranchState
from revibranch.branching.tree import NodeOutcome, SearchTree, record_tree
from revibranch.instances import families

from .models import INSTANCES, OPTIMA, knapsack, read, set_cover
from .policies import MostFractional
from .recorded_trees import big, check, recorded

# ---- real solves -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("setting", ["clean", "default", "dfs"])
@pytest.mark.parametrize("name", [*OPTIMA])
def test_files(name: str, setting: str) -> None:
    model = read(INSTANCES / name, limits__totalnodes=400)
    apply_settings(model, setting)
    recorded(model)


@pytest.mark.parametrize("setting", ["clean", "default", "dfs"])
@pytest.mark.parametrize(("family", "size"), [("setcover", "100x150"), ("auction", "40x200"), ("facility", "10x10"), ("knapsack", "20x3")])
def test_families(family: str, size: str, setting: str) -> None:
    for seed in range(3):
        model = families.get(family).generate(size, seed).to_model()
        model.setParam("limits/totalnodes", 300)
        apply_settings(model, setting)
        recorded(model)


@pytest.mark.parametrize("setting", ["clean", "default"])
@pytest.mark.parametrize("rule", ["policy", "pscost", "random", "vanillafullstrong", "relpscost"])
def test_any_rule_is_recorded(rule: str, setting: str) -> None:
    model = knapsack(4, 16, 3)
    apply_settings(model, setting)
    if rule == "policy":
        brancher = attach(model, MostFractional(), strict=True)
    else:
        apply_rule(model, rule)
    tree = recorded(model)
    assert tree.n_created > 20
    if rule == "policy":
        assert (tree.outcome == NodeOutcome.BRANCHED).sum() == brancher.statistics.decisions
        assert tree.n_created == 1 + 2 * brancher.statistics.decisions


@settings(max_examples=40)
@given(
    kind=st.sampled_from(["knapsack", "cover"]),
    seed=st.integers(0, 2**16),
    setting=st.sampled_from(["clean", "default", "dfs"]),
    limit=st.one_of(st.just(-1), st.integers(1, 40)),
    plugin=st.booleans(),
    bare=st.booleans(),
)
def test_random_solves(kind: str, seed: int, setting: str, limit: int, plugin: bool, bare: bool) -> None:
    model = knapsack(3, 12, seed) if kind == "knapsack" else set_cover(20, 30, 0.15, seed)
    apply_settings(model, setting)
    model.setParam("limits/totalnodes", limit)
    if bare:
        model.setParams({"presolving/maxrounds": 0, "separating/maxroundsroot": 0})
    if plugin:
        attach(model, MostFractional(), strict=True)
    recorded(model)


# ---- the record ---------------------------------------------------------------------------------------------


def test_the_nodes_lp_iterations_add_up_to_those_of_the_solve() -> None:
    model = big()
    model.setHeuristics(SCIP_PARAMSETTING.OFF)  # diving has LPs of its own
    tree = recorded(model)
    assert tree.n_processed > 10
    assert (tree.lp_iterations[tree.order < 0] == 0).all()
    assert tree.lp_iterations.sum() == search_counts(model).lp_iterations > 0
    assert (tree.lp_iterations > 0).sum() > tree.n_processed / 2


def test_the_tree_so_far_is_there_in_a_callback() -> None:
    class Looks(MostFractional):
        def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[np.floating]:
            tree = recorder.tree()
            focus = int(np.argmax(tree.order))
            assert (tree.number[focus], tree.depth[focus], tree.run[focus]) == (state.node.number, state.node.depth, state.node.run)
            assert tree.outcome[focus] == NodeOutcome.UNFINISHED
            assert tree.n_processed == state.node.n_nodes
            self.looks = getattr(self, "looks", 0) + 1
            return super().score(state, path)

    model = knapsack(4, 16, 3)
    apply_settings(model, "clean")
    recorder, policy = record_tree(model), Looks()
    attach(model, policy, strict=True)
    optimize(model)
    assert policy.looks > 20


def test_recording_changes_nothing() -> None:
    counts = []
    for recording in (False, True):
        model = read(INSTANCES / "misc03.mps", limits__totalnodes=300)
        if recording:
            record_tree(model)
            record_tree(model)
        optimize(model)
        counts.append((search_counts(model), model.getStatus(), model.getObjVal()))
    assert counts[0] == counts[1]


def test_two_recorders_of_one_model_agree() -> None:
    model = big()
    recorders = [record_tree(model) for _ in range(3)]
    optimize(model)
    one, *others = (recorder.tree() for recorder in recorders)
    assert one.n_created > 100
    for other in others:
        np.testing.assert_array_equal(one.order, other.order)


def test_a_model_in_the_middle_of_its_solve_is_refused() -> None:
    model = big()
    model.setParam("limits/totalnodes", 2)
    optimize(model)
    with pytest.raises(RuntimeError, match="from before the solve on"):
        record_tree(model)


def test_threads_keep_their_trees_apart() -> None:
    def solve(seed: int) -> SearchTree:
        model = knapsack(4, 18, seed)
        apply_settings(model, "clean")
        attach(model, MostFractional(), strict=True)
        recorder = record_tree(model)
        optimize(model)
        check(recorder.tree(), model)
        return recorder.tree()

    alone = [solve(seed) for seed in range(4)]
    together: dict[int, SearchTree] = {}

    def work(seed: int) -> None:
        together[seed] = solve(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed, tree in enumerate(alone):
        np.testing.assert_array_equal(together[seed].number, tree.number)
        np.testing.assert_array_equal(together[seed].order, tree.order)


def test_tree_of_a_solve_in_another_thread() -> None:
    """The solve holds no lock of Python's: the tree grows, and its room moves, while it is read."""
    sizes = []
    for seed in range(3):
        model = knapsack(5, 40, seed)
        model.setParams({"misc/catchctrlc": False, "presolving/maxrounds": 0, "limits/totalnodes": 20_000})
        model.setHeuristics(SCIP_PARAMSETTING.OFF)
        model.setSeparating(SCIP_PARAMSETTING.OFF)
        apply_rule(model, "random")
        recorder = record_tree(model)
        thread = threading.Thread(target=model.optimizeNogil)
        thread.start()
        while thread.is_alive():
            tree = recorder.tree()
            assert (tree.parent < np.arange(len(tree.parent))).all()
            sizes.append(len(tree.number))
        thread.join()
        check(recorder.tree(), model)
    assert len(set(sizes)) > 20


def test_models_and_trees_are_freed() -> None:
    process = psutil.Process()

    def solve(times: int) -> None:
        for _ in range(times):
            model = read(INSTANCES / "lseu.mps", limits__totalnodes=20, presolving__maxrounds=0, separating__maxroundsroot=0)
            freed = weakref.ref(model)
            recorder = record_tree(model)
            optimize(model)
            assert recorder.tree().n_processed > 1
            del model
            assert freed() is None
            assert recorder.tree().n_processed > 1

    solve(20)
    before = process.memory_info().rss
    solve(100)
    # A leaked model is 9 MB: one in ten of them would be seen here.
    assert process.memory_info().rss - before < 20 * 2**20


# ---- the arrays --------------------------------------------------------------------------------------------------


def small_tree() -> dict[str, np.ndarray]:
    model = knapsack(4, 16, 3)
    recorder = record_tree(model)
    optimize(model)
    return recorder.tree().to_arrays()


def test_arrays_make_the_same_tree() -> None:
    arrays = small_tree()
    again = SearchTree.from_arrays(arrays).to_arrays()
    for name, array in arrays.items():
        assert again[name].dtype == array.dtype
        np.testing.assert_array_equal(again[name], array)


def test_arrays_that_are_no_tree_are_refused() -> None:
    arrays = small_tree()
    n = len(arrays["run"])
    changes: list[tuple[str, np.ndarray, str]] = [
        ("run", arrays["run"][1:], "lengths"),
        ("run", np.arange(n, dtype=np.int32), "hang together"),
        ("parent", np.roll(arrays["parent"], -1), "hang together"),
        ("parent", np.full(n, -2, dtype=np.int32), "hang together"),
        ("depth", arrays["depth"] + 1, "hang together"),
        ("outcome", np.full(n, len(NodeOutcome), dtype=np.int8), "impossible"),
        ("order", np.zeros(n, dtype=np.int64), "impossible"),
        ("order", arrays["order"] + 1, "impossible"),
        ("lower_bound", np.full(n, np.nan), "impossible"),
        ("lp_iterations", np.full(n, -1, dtype=np.int64), "impossible"),
        ("number", arrays["number"].astype(np.float64), "float64"),
        ("depth", arrays["depth"].reshape(1, -1), "dimensions"),
    ]
    for name, value, message in changes:
        with pytest.raises(ValueError, match=message):
            SearchTree.from_arrays({**arrays, name: value})
    with pytest.raises(ValueError, match="lacks parent"):
        SearchTree.from_arrays({name: array for name, array in arrays.items() if name != "parent"})


def test_numbers_that_do_not_fit_are_refused_not_wrapped() -> None:
    arrays = small_tree()
    for name, value in (("parent", 2**32), ("outcome", 256), ("depth", 0.9), ("lp_iterations", 2.0**70)):
        changed = [*arrays[name].tolist()[:-1], value]
        with pytest.raises(ValueError, match=f"{name} are integers"):
            SearchTree(**{**arrays, name: changed})
