"""Revived trajectories out of an episode: downward paths, the history of every decision, first decisions of a subtree.

Everything here works on the tree of decisions as plain arrays of d entries: ``parent`` is the decision before each one on
its way from the root, -1 for a root (restarts make several), and parents come before their children.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

__all__ = ["dfs_frontier", "dfs_frontiers", "heavy_paths", "histories", "history", "retro_paths"]


def heavy_paths(parent: NDArray[np.integer], sizes: NDArray[np.number]) -> list[NDArray[np.int64]]:
    """Heavy-path decomposition (Sleator & Tarjan 1983): a path goes on with the child decision of the largest subtree.

    Every decision is on exactly one path, so it is trained on once. If ``sizes`` are subtree sizes, the way from the root
    to any decision meets at most log2(S) + 1 paths, S being the root's.

    Args:
        parent: (d,) the decision before each, -1 for a root.
        sizes: (d,) subtree size S of each decision. On ties the first child goes on.

    Returns:
        Paths, each from its head down; ordered by head.

    Raises:
        ValueError: arrays of different length, or a parent that does not come before its child.
    """
    parents = _parents(parent, "sizes", sizes)
    weights = np.asarray(sizes).tolist()
    following = [-1] * len(parents)
    for child in reversed(range(len(parents))):
        above = parents[child]
        if above >= 0 and (following[above] < 0 or weights[child] >= weights[following[above]]):
            following[above] = child
    return _paths(parents, following)


def retro_paths(parent: NDArray[np.integer], leaf_bound: NDArray[np.floating]) -> list[NDArray[np.int64]]:
    """Paths of the retro rule (Parsonson et al. 2022): follow to the leaf of the highest bound, repeat on what is left.

    A path takes its head's whole ancestry in what is left with it, so what is left always consists of whole subtrees: the
    rule is the same as going on, everywhere, with the child above the best leaf.

    Args:
        parent: (d,) the decision before each, -1 for a root.
        leaf_bound: (d,) bound of each decision without child decisions; others are not looked at. Infinite bounds are
            compared as they are, NaN (no bound known) counts as -inf. On ties the first leaf is taken.

    Returns:
        Paths, each from its head down to a leaf; ordered by head.

    Raises:
        ValueError: arrays of different length, or a parent that does not come before its child.
    """
    parents = _parents(parent, "leaf_bound", leaf_bound)
    bounds = np.asarray(leaf_bound, dtype=np.float64)
    best = np.where(np.isnan(bounds), -np.inf, bounds).tolist()  # of the best leaf below, once its children were seen
    leaf = list(range(len(parents)))
    following = [-1] * len(parents)
    for child in reversed(range(len(parents))):
        above = parents[child]
        if above < 0:
            continue
        if following[above] < 0 or best[child] > best[above] or (best[child] == best[above] and leaf[child] < leaf[above]):
            best[above], leaf[above], following[above] = best[child], leaf[child], child
    return _paths(parents, following)


def history(parent: NDArray[np.integer], entered: NDArray[np.integer], decision: int) -> list[tuple[int, int]]:
    """The decisions on the way to a decision, root first, and which child was entered at each.

    Args:
        parent: (d,) the decision before each, -1 for a root.
        entered: (d,) which child of that decision (``PathStep.child``) leads here; not looked at for roots. A negative
            number says that none of its children does (another rule branched the node again): that step is left out, as
            the brancher leaves it out of a path.
        decision: whose history.

    Returns:
        (ancestor, child entered) of each step.

    Raises:
        ValueError: there is no such decision, arrays of different length, or a parent that does not come before its child.
    """
    parents = _parents(parent, "entered", entered)
    _check_decision(decision, len(parents))
    steps = []
    while (above := parents[decision]) >= 0:
        if (child := int(entered[decision])) >= 0:
            steps.append((above, child))
        decision = above
    return steps[::-1]


def histories(parent: NDArray[np.integer], entered: NDArray[np.integer]) -> list[list[tuple[int, int]]]:
    """``history`` of every decision, each made from its parent's by one more step.

    Raises:
        ValueError: arrays of different length, or a parent that does not come before its child.
    """
    parents = _parents(parent, "entered", entered)
    result: list[list[tuple[int, int]]] = []
    for above, child in zip(parents, np.asarray(entered).tolist(), strict=True):
        if above < 0:
            result.append([])
        else:
            result.append([*result[above], (above, child)] if child >= 0 else result[above])
    return result


def dfs_frontier(
    parent: NDArray[np.integer], order: NDArray[np.number], decision: int, k: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first k decisions of a subtree and the decisions that then stand open: a k-step return of Strang et al. (2025).

    In a tree that was searched depth first, a subtree's decisions follow each other without a gap, and the first k of them
    are k steps of BBMDP. In any other order they are the first k of this subtree, which partition its cost just as well.

    Args:
        parent: (d,) the decision before each, -1 for a root.
        order: (d,) processing order: smaller is earlier, a parent before its children.
        decision: root of the subtree.
        k: number of steps, at least 1. With 1, ``decision`` is closed and its child decisions are open.

    Returns:
        closed: at most k decisions, ``decision`` first, in processing order; open: child decisions of closed ones that are
        not closed themselves, in processing order. Open is empty where the subtree has no more than k decisions.

    Raises:
        ValueError: there is no such decision, k < 1, arrays of different length, or a parent that does not come before its
            child.
    """
    parents = _parents(parent, "order", order)
    _check_decision(decision, len(parents))
    return _frontier(_children(parents), np.asarray(order).tolist(), decision, k)


def dfs_frontiers(parent: NDArray[np.integer], order: NDArray[np.number], k: int) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """``dfs_frontier`` of every decision, for the price of the steps: the tree is looked at once.

    Raises:
        ValueError: k < 1, arrays of different length, or a parent that does not come before its child.
    """
    parents = _parents(parent, "order", order)
    children, times = _children(parents), np.asarray(order).tolist()
    return [_frontier(children, times, decision, k) for decision in range(len(parents))]


def _frontier(children: list[list[int]], order: list[float], decision: int, k: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    if k < 1:
        raise ValueError(f"a frontier is reached after at least one step, not {k}")
    closed: list[int] = []
    waiting = [(order[decision], decision)]
    while waiting and len(closed) < k:
        _, first = heapq.heappop(waiting)
        closed.append(first)
        for child in children[first]:
            heapq.heappush(waiting, (order[child], child))
    return _array(closed), _array(decision for _, decision in sorted(waiting))


def _paths(parents: list[int], following: list[int]) -> list[NDArray[np.int64]]:
    """Chains along ``following``; a head is a decision that its parent does not go on with."""
    paths = []
    for head, above in enumerate(parents):
        if above >= 0 and following[above] == head:
            continue
        path, place = [], head
        while place >= 0:
            path.append(place)
            place = following[place]
        paths.append(_array(path))
    return paths


def _children(parents: list[int]) -> list[list[int]]:
    children: list[list[int]] = [[] for _ in parents]
    for child, above in enumerate(parents):
        if above >= 0:
            children[above].append(child)
    return children


def _parents(parent: NDArray[np.integer], name: str, values: NDArray[np.number]) -> list[int]:
    """Checked, and as a list: what follows goes from decision to decision, which lists do faster than arrays."""
    parent = np.asarray(parent)
    if parent.ndim != 1 or np.shape(values) != parent.shape:
        raise ValueError(f"parent and {name} must be vectors of one length, not {list(parent.shape)} and {list(np.shape(values))}")
    wrong = np.flatnonzero((parent >= np.arange(len(parent))) | (parent < -1))
    if len(wrong):
        raise ValueError(f"decision {wrong[0]} has parent {parent[wrong[0]]}: a parent comes before its child, a root has -1")
    parents: list[int] = parent.tolist()
    return parents


def _check_decision(decision: int, count: int) -> None:
    if not 0 <= decision < count:
        raise ValueError(f"no decision {decision} among {count}")


def _array(places: Iterable[int]) -> NDArray[np.int64]:
    return np.fromiter(places, dtype=np.int64)
