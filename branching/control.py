"""A solve that stops at every branching decision and waits for an answer: the brancher's control turned inside out.

SCIP runs in a thread of its own. Two queues lead there and back, and one side runs at a time: SCIP's thread puts a state and
waits for a choice, the caller's thread puts the choice and waits for the next state or the end.
"""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from queue import SimpleQueue  # in C, and quicker than a pair of locks: 15 microseconds there and back
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pyscipopt import SCIP_STAGE

from .policy import PathStep, Policy
from .reward_functions import Progress
from .settings import INFINITY
from .solving import attach, run_scip
from .state import BranchState
from .statistics import BrancherStatistics

if TYPE_CHECKING:
    from pyscipopt import Model

__all__ = ["ControlledSolve", "Ending"]

_INTERRUPTIBLE = (SCIP_STAGE.PRESOLVING, SCIP_STAGE.SOLVING)
_PATIENCE = 0.05  # seconds between two interrupts: SCIP forgets one that comes before its solve has begun


@dataclass(frozen=True, slots=True)
class Ending:
    """How a solve ended."""

    status: str
    """SCIP's status; ``unknown`` where the solve raised."""
    error: BaseException | None = None
    """What the solve raised."""


class _Handover(Policy):
    """Gives the state to the other thread and waits for its choice.

    The brancher, and with it this policy, lives as long as the model: no strong reference leads from here to it.
    """

    needs_path = False

    def __init__(self, model: Model, name: str, extended: bool) -> None:
        self.extended = extended
        self.states: SimpleQueue[BranchState | Ending] = SimpleQueue()
        self.choices: SimpleQueue[int] = SimpleQueue()
        self.finished = threading.Event()
        self.stopping = False
        self.thread: int | None = None
        self.process: int | None = None
        self.resumed = 0.0
        self._model = weakref.ref(model)
        self._kept: BranchState | None = None
        maximises = model.getObjectiveSense() == "maximize"
        worst = -INFINITY if maximises else INFINITY
        self.progress = Progress(name, 0, 0, 0.0, worst, -worst, maximises)

    def begin(self, model: Model) -> None:
        """Nothing to prepare."""

    def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[np.floating]:  # noqa: ARG002
        """One for the candidate that the other side chooses, zero for all others."""
        choice = 0
        if not self.stopping:
            self.take_stock()
            self.states.put(self._own(state))
            choice = self.choices.get()
            self.resumed = perf_counter()
        if self.stopping:
            # The node is branched all the same: that is quicker than what SCIP's own rule would do before SCIP stops.
            self.interrupt()
            choice = 0
        scores = np.zeros(len(state.candidates))
        scores[choice] = 1.0
        return scores

    def _own(self, state: BranchState) -> BranchState:
        """A state with arrays of its own; states of one structure share its (read-only) arrays.

        Made in SCIP's thread, whose processor has just written them.
        """
        kept = self._kept
        if kept is None or kept.structure_id != state.structure_id:
            self._kept = kept = state.copy()
            for array in (kept.row_offsets, kept.edge_variables, kept.edge_values, kept.variable_offsets, kept.edge_rows, kept.edge_order):
                array.flags.writeable = False
            return kept
        return BranchState(
            state.variable_features.copy(),
            state.row_features.copy(),
            kept.row_offsets,
            kept.edge_variables,
            kept.edge_values,
            kept.variable_offsets,
            kept.edge_rows,
            kept.edge_order,
            state.candidates.copy(),
            state.structure_id,
            state.node,
        )

    @property
    def forked(self) -> bool:
        """Whether this is a fork of the solve's process: it took no thread of SCIP's along, and the solve is the parent's."""
        return os.getpid() != self.process

    def take_stock(self) -> None:
        """Note how far the solve has come."""
        model = self._model()
        if model is None:
            return
        last = self.progress
        self.progress = Progress(
            last.instance,
            model.getNTotalNodes(),
            model.getNLPIterations(),
            last.seconds + perf_counter() - self.resumed,
            model.getPrimalbound(),
            model.getDualbound(),
            last.maximises,
        )

    def interrupt(self) -> None:
        """Ask SCIP to stop; nothing where it is too early or too late for that, of which SCIP would complain aloud."""
        model = self._model()
        if model is not None and model.getStage() in _INTERRUPTIBLE:
            with contextlib.suppress(Exception):
                model.interruptSolve()


def _solve(models: list[Model], handover: _Handover) -> None:
    """The thread's work. The model comes in a list: nothing in the thread holds it when the solve is over."""
    model = models.pop()
    ending = Ending("unknown")
    handover.thread = threading.get_ident()
    handover.resumed = perf_counter()
    try:
        run_scip(model)
        ending = Ending(model.getStatus())
        if not handover.stopping:
            handover.take_stock()
    except BaseException as error:
        ending = Ending("unknown", error.with_traceback(None))
    finally:
        del model
        handover.finished.set()
        handover.states.put(ending)


def _end(handover: _Handover) -> None:
    """Stop the solve and wait until SCIP has returned. Runs also where a solve is garbage, and before the interpreter's end."""
    if handover.forked:
        return
    handover.stopping = True
    handover.choices.put(0)
    # Garbage may be collected in any thread, this solve's own included, and while that thread holds one of the threading
    # module's locks: the event belongs to this solve alone, whereas ``Thread.join`` could wait for such a lock.
    if threading.get_ident() == handover.thread:
        return
    while not handover.finished.is_set():
        handover.interrupt()
        handover.finished.wait(_PATIENCE)


class ControlledSolve:
    """One solve of a model under the caller's control. It ends when it is done, by ``stop``, or when this object is garbage.

    All methods are for one thread at a time; none but ``stop`` after the end.

    Args:
        model: a model whose solve has not begun. Its Ctrl-C handling is switched off: Ctrl-C is for the thread that waits.
        name: name of the instance.
        extended: give all columns of ``VARIABLE_COLUMNS``, not only Ecole's 19.
    """

    def __init__(self, model: Model, name: str, *, extended: bool = True) -> None:
        self.model: Model | None = model
        """The model; None after ``stop``. It may be read while SCIP waits, and changed only as in a branching callback."""
        self.ending: Ending | None = None
        """How the solve ended; None before the end."""
        self._handover = _Handover(model, name, extended)
        model.setParam("misc/catchctrlc", False)
        self._brancher = attach(model, self._handover)
        self._thread = threading.Thread(target=_solve, args=([model], self._handover), name=f"revibranch {name}", daemon=True)
        self._finalizer: weakref.finalize[[_Handover], Any] | None = None

    @property
    def progress(self) -> Progress:
        """How far the solve has come: at the decision at hand, or at the end."""
        return self._handover.progress

    @property
    def statistics(self) -> BrancherStatistics:
        """What the brancher counted; its inference time is what the caller took for its choices, with the way there and back."""
        return self._brancher.statistics

    def begin(self) -> BranchState | None:
        """Start the solve; its first state, or None where it ended without a decision.

        Raises:
            Exception: what the solve raised; it is over then.
        """
        self._handover.process = os.getpid()
        # Called at the latest before the interpreter ends. The thread is a daemon, since Python would wait for others before that.
        self._finalizer = weakref.finalize(self, _end, self._handover)
        try:
            self._thread.start()
        except BaseException:
            if not self._thread.is_alive():
                self._handover.finished.set()
            self.stop()
            raise
        return self._wait()

    def branch(self, choice: int) -> BranchState | None:
        """Branch on this place among the candidates; the next state, or None at the end.

        Args:
            choice: a valid place; the caller has checked it.

        Raises:
            Exception: what the solve raised; it is over then. KeyboardInterrupt stops it too.
            RuntimeError: this process was forked during the solve.
        """
        if self._handover.forked:
            raise RuntimeError("the solve goes on in the process that began it; a fork does not take it along")
        self._handover.choices.put(choice)
        return self._wait()

    def stop(self) -> None:
        """End the solve, wait until SCIP has returned, and let go of the model. May be called at any time and again."""
        if self._finalizer is not None:
            self._finalizer()
            if self._thread.is_alive():
                self._thread.join()
        self.model = None

    def _wait(self) -> BranchState | None:
        try:
            message = self._handover.states.get()
        except BaseException:  # Ctrl-C
            self.stop()
            raise
        if isinstance(message, BranchState):
            return message
        self.ending = message
        self._thread.join()
        if message.error is not None:
            self.stop()
            raise message.error
        return None
