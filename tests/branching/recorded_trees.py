"""Recorded trees held against SCIP's own counts and events."""

from __future__ import annotations

import weakref

import numpy as np
from pyscipopt import SCIP_EVENTTYPE, Eventhdlr, Model

from revibranch.branching._scip import search_counts
from revibranch.branching.settings import apply_settings
from revibranch.branching.solving import optimize
from revibranch.branching.tree import NodeOutcome, SearchTree, record_tree

from .models import knapsack


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


def big() -> Model:
    model = knapsack(4, 30, 3)
    apply_settings(model, "clean")
    return model
