"""What a brancher remembers of its decisions, so that the way to a node can be revived."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .policy import PathStep

if TYPE_CHECKING:
    from ._scip import Search
    from .state import BranchState

__all__ = ["PathMemory"]

_FIRST_PRUNING = 100_000


class PathMemory:
    """The steps that decisions made possible, by the child they lead to.

    Work and memory per decision are constant, and a path takes time of its length. Steps from nodes above no open node are
    forgotten from time to time, so memory follows the open tree, not the search.
    """

    def __init__(self, search: Search, *, first_pruning: int = _FIRST_PRUNING) -> None:
        self._search = search
        self._first_pruning = first_pruning
        self._steps: dict[int, PathStep] = {}
        self._next_pruning = first_pruning

    def __len__(self) -> int:
        return len(self._steps)

    def clear(self) -> None:
        """Forget everything: a new solve or a restart numbers its nodes anew."""
        self._steps.clear()
        self._next_pruning = self._first_pruning

    def keep(self, state: BranchState, children: tuple[int, int, int], memory: object) -> None:
        """Remember that the node of this state was branched into these children (down, up, middle; -1: none)."""
        node = state.node
        for child, number in enumerate(children):
            if number >= 0:
                self._steps[number] = PathStep(node.number, node.depth, child, memory)
        if len(self._steps) >= self._next_pruning:
            self._prune(self._search.open_ancestors())
            self._next_pruning = 2 * len(self._steps) + self._first_pruning

    def path(self) -> tuple[PathStep, ...]:
        """Remembered decisions on the way from the root to the focus node, root first."""
        # A node that another rule branched again after a failure has children that were never ours, and no step leads there.
        step_to = self._steps.get
        return tuple([step for number in self._search.ancestors() if (step := step_to(number)) is not None])

    def _prune(self, alive: set[int]) -> None:
        self._steps = {number: step for number, step in self._steps.items() if step.node in alive}
