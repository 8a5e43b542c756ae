"""Paths partition the decisions, histories are ancestries, frontiers cut a subtree in two."""

from __future__ import annotations

import math
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from revibranch.branching.trajectory import dfs_frontier, dfs_frontiers, heavy_paths, histories, history, retro_paths

from .trees import Tree, trees

#        0
#      1   2
#    3  4   5
#        6   7     8: a second root
PARENT = np.array([-1, 0, 0, 1, 1, 2, 4, 5, -1])
SIZES = np.array([17, 9, 7, 3, 5, 5, 3, 3, 3])


def as_lists(paths: list[np.ndarray]) -> list[list[int]]:
    return [path.tolist() for path in paths]


def assert_partition_into_chains(tree: Tree, paths: list[np.ndarray]) -> None:
    assert sorted(place for path in paths for place in path) == list(range(len(tree)))
    for path in paths:
        assert path.dtype == np.int64
        np.testing.assert_array_equal(tree.parent[path[1:]], path[:-1])
    heads = [path[0] for path in paths]
    assert heads == sorted(heads)


def test_heavy_paths_by_hand() -> None:
    assert as_lists(heavy_paths(PARENT, SIZES)) == [[0, 1, 4, 6], [2, 5, 7], [3], [8]]


def test_on_ties_the_first_child_goes_on() -> None:
    assert as_lists(heavy_paths(np.array([-1, 0, 0, 0]), np.array([7, 1, 2, 2]))) == [[0, 2], [1], [3]]


@given(trees())
def test_heavy_paths_partition_the_decisions_and_are_light_on_the_way_down(tree: Tree) -> None:
    sizes = np.array([len(tree.subtree(decision)) for decision in range(len(tree))])
    paths = heavy_paths(tree.parent, sizes)
    assert_partition_into_chains(tree, paths)
    path_of = {int(place): number for number, path in enumerate(paths) for place in path}
    for decision in range(len(tree)):
        assert len({path_of[ancestor] for ancestor in tree.ancestors(decision)}) <= math.log2(len(tree)) + 1
    for path in paths:
        for place, following in zip(path, [*path[1:], None], strict=True):
            children = np.flatnonzero(tree.parent == place)
            assert (following is None) == (len(children) == 0)
            assert following is None or sizes[following] == sizes[children].max()


def test_retro_paths_by_hand() -> None:
    bounds = np.array([99.0, 99, 99, 4, 99, 99, 6, 5, 1])
    assert as_lists(retro_paths(PARENT, bounds)) == [[0, 1, 4, 6], [2, 5, 7], [3], [8]]
    bounds[3], bounds[7] = np.nan, np.inf
    assert as_lists(retro_paths(PARENT, bounds)) == [[0, 2, 5, 7], [1, 4, 6], [3], [8]]


def retro_by_definition(tree: Tree, bounds: np.ndarray) -> list[list[int]]:
    """Literally: follow to the leaf of the highest bound, take the path away, repeat on what is left."""
    left, paths = set(range(len(tree))), []
    while left:
        leaves = [place for place in sorted(left) if not any(tree.parent[other] == place for other in left)]
        best = max(leaves, key=lambda leaf: (-math.inf if math.isnan(bounds[leaf]) else bounds[leaf], -leaf))
        path = [place for place in tree.ancestors(best) if place in left]
        paths.append(path)
        left -= set(path)
    return sorted(paths)


@given(trees(), st.integers(0, 2**16))
def test_retro_paths_are_those_of_the_rule(tree: Tree, seed: int) -> None:
    bounds = np.random.default_rng(seed).choice([-np.inf, 0.0, 1.0, 2.0, 3.0, np.inf, np.nan], len(tree))
    paths = retro_paths(tree.parent, bounds)
    assert_partition_into_chains(tree, paths)
    assert as_lists(paths) == retro_by_definition(tree, bounds)


@given(trees())
def test_histories_are_the_ancestry(tree: Tree) -> None:
    everything = histories(tree.parent, tree.entered)
    for decision in range(len(tree)):
        way = tree.ancestors(decision)
        expected = [(above, tree.entered[below]) for above, below in pairwise(way) if tree.entered[below] >= 0]
        assert history(tree.parent, tree.entered, decision) == everything[decision] == expected


@given(trees(), st.integers(1, 50), st.data())
def test_a_frontier_cuts_a_subtree(tree: Tree, k: int, data: st.DataObject) -> None:
    decision = data.draw(st.integers(0, len(tree) - 1))
    subtree = tree.subtree(decision)
    closed, opened = dfs_frontier(tree.parent, tree.order, decision, k)
    assert closed.dtype == opened.dtype == np.int64
    first = sorted(subtree, key=lambda place: tree.order[place])[:k]
    assert closed.tolist() == first
    assert set(opened) == {place for place in subtree if place not in first and tree.parent[place] in first}
    # Nothing is lost: the cost of a subtree is what its closed decisions opened themselves, plus the open subtrees.
    own = tree.sizes.copy()
    np.subtract.at(own, tree.parent[tree.parent >= 0], tree.sizes[tree.parent >= 0])
    assert own[closed].sum() + tree.sizes[opened].sum() == tree.sizes[decision]
    for ours, theirs in zip(dfs_frontiers(tree.parent, tree.order, k)[decision], (closed, opened), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_one_step_closes_the_decision() -> None:
    closed, opened = dfs_frontier(PARENT, np.array([0, 5, 1, 7, 6, 2, 8, 3, 9]), 0, 1)
    assert (closed.tolist(), opened.tolist()) == ([0], [2, 1])


def test_no_decisions_no_paths() -> None:
    nothing = np.zeros(0, dtype=np.int64)
    assert heavy_paths(nothing, nothing) == retro_paths(nothing, nothing.astype(float)) == histories(nothing, nothing) == []


def test_arguments_that_are_no_tree_are_refused() -> None:
    order = np.arange(3)
    with pytest.raises(ValueError, match="decision 1 has parent 1"):
        heavy_paths(np.array([-1, 1, 0]), order)
    with pytest.raises(ValueError, match="decision 0 has parent -2"):
        retro_paths(np.array([-2, 0, 0]), order.astype(float))
    with pytest.raises(ValueError, match=r"parent and entered must be vectors of one length, not \[2\] and \[3\]"):
        histories(np.array([-1, 0]), order)
    with pytest.raises(ValueError, match="no decision 3 among 3"):
        dfs_frontier(np.array([-1, 0, 0]), order, 3, 1)
    with pytest.raises(ValueError, match="no decision -1 among 3"):
        history(np.array([-1, 0, 0]), order, -1)
    with pytest.raises(ValueError, match="at least one step"):
        dfs_frontier(np.array([-1, 0, 0]), order, 0, 0)


def test_neither_torch_nor_scip_is_needed() -> None:
    code = """
import sys
import revibranch.branching.rewards, revibranch.branching.trajectory
sys.exit("torch" in sys.modules or "pyscipopt" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
