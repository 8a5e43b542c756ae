"""The recorded tree is the one that SCIP grew: with any rule, over restarts, limits and repeated solves."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable, Sequence

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pyscipopt import SCIP_EVENTTYPE, SCIP_PARAMSETTING, Eventhdlr, Model

from revibranch.branching._scip import search_counts
from revibranch.branching.brancher import attach, optimize
from revibranch.branching.policy import PathStep
from revibranch.branching.settings import apply_rule, apply_settings
from revibranch.branching.state import BranchState
from revibranch.branching.tree import NodeOutcome, SearchTree, record_tree
from revibranch.instances import families

from .models import INSTANCES, OPTIMA, knapsack, read, set_cover
from .policies import MostFractional


class Witness(Eventhdlr):  # type: ignore[misc]
    """Notes what PySCIPOpt's events say, in Python: (run, number, parent's number, kind) in their order."""

    NAMES = ("NODEFOCUSED", "NODEBRANCHED", "NODEFEASIBLE", "NODEINFEASIBLE", "NODEDELETE")

    def __init__(self, model: Model) -> None:
        self.owner = weakref.ref(model)
        self.kinds = {int(getattr(SCIP_EVENTTYPE, name)): name for name in self.NAMES}
        self.seen: list[tuple[int, int, int, str]] = []
        self.run = 0
        model.includeEventhdlr(self, "witness", "")
        self.model = None

    def eventinit(self) -> None:
        self.seen.clear()
        for kind in self.kinds:
            self.owner().catchEvent(kind, self)

    def eventinitsol(self) -> None:
        self.run += 1

    def eventexec(self, event: object) -> None:
        node = event.getNode()  # type: ignore[attr-defined]
        parent = node.getParent()
        kind = self.kinds[event.getType()]  # type: ignore[attr-defined]
        if node.getType() != 1:  # a probing node
            self.seen.append((self.run, node.getNumber(), -1 if parent is None else parent.getNumber(), kind))


def check(tree: SearchTree, model: Model) -> None:
    """What holds for the tree of any solve."""
    assert tree.n_processed == model.getNTotalNodes() == search_counts(model).nodes
    n = tree.n_created
    assert (tree.parent < np.arange(n)).all()
    inner = tree.parent >= 0
    above = tree.parent[inner]
    assert (tree.run[inner] == tree.run[above]).all()
    assert (tree.depth[inner] == tree.depth[above] + 1).all()
    assert (tree.depth[~inner] == 0).all()
    assert (tree.number[inner] > tree.number[above]).all()
    assert len({*zip(tree.run.tolist(), tree.number.tolist(), strict=True)}) == n
    roots = tree.run[~inner].tolist()
    assert len(set(roots)) == len(roots)  # one root a run
    # Children are processed after their parent, if at all; only branched nodes have children, and all of them do.
    processed = tree.order >= 0
    assert (processed[above]).all()
    both = processed[inner]
    assert (tree.order[inner][both] > tree.order[above][both]).all()
    has_child = np.zeros(n, dtype=bool)
    has_child[above] = True
    assert ((tree.outcome == NodeOutcome.BRANCHED) == has_child).all()
    unprocessed = np.isin(tree.outcome, (NodeOutcome.CUT_OFF, NodeOutcome.NEVER_PROCESSED))
    assert (unprocessed == ~processed).all()
    assert not (np.abs(tree.lower_bound[np.isfinite(tree.lower_bound)]) >= 1e20).any()
    # A child is never better than its parent was when it branched.
    assert (tree.lower_bound[inner] >= tree.lower_bound[above] - 1e-6 * (1 + np.abs(tree.lower_bound[above]))).all()
    sizes = tree.subtree_sizes()
    assert sizes[~inner].sum() == n
    summed = np.ones(n, dtype=np.int64)
    for child in range(n - 1, -1, -1):
        if tree.parent[child] >= 0:
            summed[tree.parent[child]] += summed[child]
    np.testing.assert_array_equal(sizes, summed)
    if model.getStatus() in ("optimal", "infeasible"):
        last = tree.run == tree.run.max(initial=0)
        assert not (tree.outcome[last] == NodeOutcome.NEVER_PROCESSED).any()


def check_against(tree: SearchTree, witness: Witness) -> None:
    """Node for node what Python's own events said."""
    place = {key: index for index, key in enumerate(zip(tree.run.tolist(), tree.number.tolist(), strict=True))}
    first_run = int(tree.run.min(initial=1))  # a restart within presolving has no tree
    order = 0
    deleted = set()
    for run, number, parent, kind in witness.seen:
        key = (run - 1 + first_run, number)
        if kind == "NODEDELETE":
            deleted.add(key)
            continue
        index = place[key]
        assert tree.parent[index] == (-1 if parent < 0 else place[key[0], parent])
        if kind == "NODEFOCUSED":
            assert tree.order[index] == order
            order += 1
        else:
            assert tree.outcome[index] == NodeOutcome[kind.removeprefix("NODE")]
    assert order == tree.n_processed
    results = {(run - 1 + first_run, number) for run, number, _, kind in witness.seen if kind not in ("NODEFOCUSED", "NODEDELETE")}
    for key, index in place.items():
        if tree.order[index] >= 0 and key not in results:
            # SCIP gives no result where a restart comes, not even of a node that has just been branched.
            children = tree.outcome[tree.parent == index]
            assert tree.outcome[index] == (NodeOutcome.BRANCHED if len(children) else NodeOutcome.UNFINISHED)
            assert (children == NodeOutcome.NEVER_PROCESSED).all()
        if tree.outcome[index] == NodeOutcome.CUT_OFF:
            assert key in deleted


def recorded(model: Model) -> SearchTree:
    recorder, witness = record_tree(model), Witness(model)
    optimize(model)
    tree = recorder.tree()
    check(tree, model)
    check_against(tree, witness)
    return tree


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


# ---- ends of a solve ---------------------------------------------------------------------------------------------


def big() -> Model:
    model = knapsack(4, 30, 3)
    apply_settings(model, "clean")
    return model


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


def test_the_nodes_lp_iterations_add_up_to_those_of_the_solve() -> None:
    model = big()
    model.setHeuristics(SCIP_PARAMSETTING.OFF)  # diving has LPs of its own
    tree = recorded(model)
    assert tree.n_processed > 10
    assert (tree.lp_iterations[tree.order < 0] == 0).all()
    assert tree.lp_iterations.sum() == search_counts(model).lp_iterations > 0
    assert (tree.lp_iterations > 0).sum() > tree.n_processed / 2


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
