"""What is heard of a solve while it runs: where it stands, and when its first solution came."""

from __future__ import annotations

import math
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyscipopt import SCIP_EVENTTYPE, SCIP_STAGE, Eventhdlr, Model

from ..branching.settings import INFINITY

if TYPE_CHECKING:
    from pyscipopt.scip import Event

__all__ = ["Recorder", "SolveProgress", "from_scip"]

_PROGRESS_INTERVAL = 0.1


@dataclass(frozen=True, slots=True)
class SolveProgress:
    """Where a solve stands. Bounds are in the problem's own space, infinite ones ``+-inf``."""

    seconds: float
    """SCIP's solving time, CPU clock."""
    nodes: int
    """Nodes processed, over all restarts."""
    open_nodes: int
    """Nodes still open."""
    lp_iterations: int
    """Simplex iterations, strong branching left out."""
    primal_bound: float
    dual_bound: float
    gap: float
    """SCIP's relative gap."""


class Recorder(Eventhdlr):  # type: ignore[misc]
    """Notes when the first solution came, and tells how the solve goes.

    It holds the model weakly, and PySCIPOpt's own reference is cut: SCIP holds the plugin, so a plugin that held the
    model would keep it alive for ever.
    """

    def __init__(self, model: Model, on_progress: Callable[[SolveProgress], None] | None) -> None:
        self.first_solution_seconds: float | None = None
        self._owner = weakref.ref(model)
        self._on_progress = on_progress
        self._last = -math.inf
        self._caught: list[int] = []
        self._events = [SCIP_EVENTTYPE.BESTSOLFOUND]
        if on_progress is not None:
            self._events += [SCIP_EVENTTYPE.NODESOLVED, SCIP_EVENTTYPE.LPSOLVED]
        model.includeEventhdlr(self, "revibranch_recorder", "first solution and progress")
        self.model = None

    def eventinit(self) -> None:
        """Called by SCIP before it solves: listen."""
        model = self._owner()
        if model is not None:
            for event in self._events:
                model.catchEvent(event, self)
                self._caught.append(event)

    def stop(self) -> None:
        """Stop listening. Called once the solve is over: PySCIPOpt 5 keeps a model alive while an event is caught on it."""
        model = self._owner()
        while model is not None and self._caught:
            model.dropEvent(self._caught.pop(), self)

    def eventexec(self, event: Event) -> None:
        """Called by SCIP at each event."""
        model = self._owner()
        if model is None:
            return
        if self.first_solution_seconds is None and event.getType() == SCIP_EVENTTYPE.BESTSOLFOUND:
            self.first_solution_seconds = model.getSolvingTime()
        if self._on_progress is None:
            return
        now = time.monotonic()
        if now - self._last >= _PROGRESS_INTERVAL and model.getStage() == SCIP_STAGE.SOLVING:
            self._last = now
            self._on_progress(
                SolveProgress(
                    seconds=model.getSolvingTime(),
                    nodes=model.getNTotalNodes(),
                    open_nodes=model.getNLeaves() + model.getNChildren() + model.getNSiblings(),
                    lp_iterations=model.getNLPIterations(),
                    primal_bound=from_scip(model.getPrimalbound()),
                    dual_bound=from_scip(model.getDualbound()),
                    gap=from_scip(model.getGap()),
                )
            )


def from_scip(value: float) -> float:
    """SCIP's 1e20 and beyond become ``inf``."""
    return value if abs(value) < INFINITY else math.copysign(math.inf, value)
