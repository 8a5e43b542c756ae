"""What a brancher counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._scip import Search

__all__ = ["BrancherStatistics", "NodesOnce"]


class NodesOnce:
    """Counts a node once, however often SCIP asks there.

    A rule may tighten a node's domains in place of branching; then SCIP asks all rules again, at the same node.
    Each solve needs one anew.
    """

    def __init__(self) -> None:
        self._last = (0, 0)

    def first(self, search: Search) -> bool:
        """Whether the focus node is another one than at the last call; True outside a solve."""
        if not search.solving:
            return True
        last, self._last = self._last, (search.run, search.focus)
        return last != self._last


class _Reporting:
    """Keeps the reporter, which is no field: ``dataclasses.asdict`` copies fields, and SCIP's side of a policy has no copy."""

    __slots__ = ("reporter",)

    reporter: Callable[[], Mapping[str, float | str]]
    """Tells what the policy has to say; nothing before it began."""

    def __post_init__(self) -> None:
        self.reporter = dict


@dataclass(slots=True)
class BrancherStatistics(_Reporting):
    """What a brancher did so far, over all solves of its model. Seconds are wall clock.

    A pickle or a copy holds what the policy says when it is made, and nothing of the policy itself.
    """

    decisions: int = 0
    """Nodes branched on the policy's choice."""
    passes: int = 0
    """Nodes the policy chose to leave to SCIP's next rule (``score`` returned None, or ``skip`` True)."""
    fallbacks: int = 0
    """Nodes left to SCIP's next rule because the policy failed."""
    forgotten: int = 0
    """Decisions, among those above, that their descendants do not see because the policy failed to remember them."""
    extraction_seconds: float = 0.0
    """Spent in writing states."""
    inference_seconds: float = 0.0
    """Spent in the policy, ``begin`` and ``skip`` included."""
    other_seconds: float = 0.0
    """Spent in the rest of the callback: the path, the choice, SCIP's branching."""

    @property
    def policy(self) -> dict[str, float | str]:
        """What the policy says of the last solve (``Policy.report``), such as what ``auto`` chose and why; nothing where it fails."""
        with suppress(Exception):
            return dict(self.reporter())
        return {}

    def settle(self) -> None:
        """Keep what the policy says now: it goes on to another model's solve, which what it fails to say shall not spoil."""
        report = self.policy
        self.reporter = lambda: report

    def __getstate__(self) -> dict[str, Any]:
        return {"counts": self._counts(), "policy": self.policy}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, count in state["counts"].items():
            setattr(self, name, count)
        report = state["policy"]
        self.reporter = lambda: report

    @property
    def total_seconds(self) -> float:
        """All time spent in the callback."""
        return self.extraction_seconds + self.inference_seconds + self.other_seconds

    def as_dict(self) -> dict[str, float | str]:
        """Counts and seconds by name, and behind them what the policy says of the last solve."""
        return self._counts() | self.policy

    def _counts(self) -> dict[str, float | str]:
        return {column.name: getattr(self, column.name) for column in fields(self)}
