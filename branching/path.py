"""What a brancher remembers of its decisions, so that the way to a node can be revived."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from .policy import PathStep

if TYPE_CHECKING:
    from ._scip import Search
    from .state import BranchState

__all__ = ["PathMemory"]

_FIRST_PRUNING = 50_000


class PathMemory:
    """Decisions by node number: constant work and memory per decision, a path in time of its length.

    Decisions above no open node are forgotten from time to time, so memory follows the open tree, not the search.
    """

    def __init__(self, search: Search, *, first_pruning: int = _FIRST_PRUNING) -> None:
        self._search = search
        self._first_pruning = first_pruning
        self._decisions: dict[int, tuple[int, tuple[int, int, int], object]] = {}
        self._next_pruning = first_pruning

    def __len__(self) -> int:
        return len(self._decisions)

    def clear(self) -> None:
        """Forget everything: a new solve or a restart numbers its nodes anew."""
        self._decisions.clear()
        self._next_pruning = self._first_pruning

    def keep(self, state: BranchState, children: tuple[int, int, int], memory: object) -> None:
        """Remember that the node of this state was branched into these children (down, up, middle; -1: none)."""
        self._decisions[state.node.number] = (state.node.depth, children, memory)
        if len(self._decisions) >= self._next_pruning:
            alive = self._search.open_ancestors()
            self._decisions = {number: decision for number, decision in self._decisions.items() if number in alive}
            self._next_pruning = 2 * len(self._decisions) + self._first_pruning

    def path(self) -> tuple[PathStep, ...]:
        """Remembered decisions on the way from the root to the focus node, root first."""
        numbers = self._search.ancestors()
        steps = []
        for number, entered in pairwise(numbers):
            decision = self._decisions.get(number)
            if decision is None:
                continue
            depth, children, memory = decision
            # A node that another rule branched again after a failure has children that were never ours.
            if entered in children:
                steps.append(PathStep(number, depth, children.index(entered), memory))
        return tuple(steps)
