"""The SCIP plugin: asks a policy at every node with a fractional LP solution, and never lets it spoil the solve."""

from __future__ import annotations

import logging
import traceback
import weakref
from collections.abc import Callable
from contextlib import suppress
from time import perf_counter
from typing import TYPE_CHECKING, Any

from pyscipopt import SCIP_RESULT, SCIP_STAGE, Branchrule

from ._bipartite import BipartiteBuffer
from ._scip import Search, shielded
from .path import PathMemory
from .policy import Policy, PolicyError, best_candidate, innermost
from .statistics import BrancherStatistics, NodesOnce

if TYPE_CHECKING:
    from pyscipopt import Model

__all__ = ["BrancherStatistics", "LearnedBrancher", "in_use"]

logger = logging.getLogger("revibranch")

_BRANCHED = {"result": SCIP_RESULT.BRANCHED}
_DID_NOT_RUN = {"result": SCIP_RESULT.DIDNOTRUN}
_REDUCED_DOMAIN = {"result": SCIP_RESULT.REDUCEDDOM}

_STOPS = (KeyboardInterrupt, SystemExit)
"""What asks for the end of the program: the solve is stopped in SCIP's way, which keeps the incumbent."""

_MOST_UNDONE = 100
"""How often in a row a policy may undo the LP of one node: each time SCIP solves it anew and asks again."""


# SCIP calls a plugin for the last time when its model is freed. The garbage collector may take a model's list of plugins
# apart before it frees the model, so a brancher is kept here until SCIP itself has said good-bye to it.
in_use: set[LearnedBrancher] = set()


class LearnedBrancher(Branchrule):  # type: ignore[misc]  # PySCIPOpt has no complete types
    """Branches where a ``Policy`` says. Made by ``attach`` (or ``revibranch.include``), which includes it into a model.

    The model is held weakly: PySCIPOpt never frees a model that one of its plugins refers to.
    """

    def __init__(self, model: Model, policy: Policy, *, strict: bool = False) -> None:
        self.policy = policy
        self.strict = strict
        # Methods that an object of the same shape as Policy may lack.
        self._skip: Callable[[], bool] | None = getattr(policy, "skip", None)
        self.statistics = BrancherStatistics()
        self.error: BaseException | None = None
        """The first exception of the policy in the last solve; its traceback is one of its notes."""
        self._model_reference = weakref.ref(model)
        self._search = Search(model)
        self._buffer = BipartiteBuffer(model, extended=policy.extended)
        self._paths = PathMemory(self._search)
        self._begun = False
        self._to_be_stopped = False
        """Whether the first decision of the run is to stop the solve."""
        self._trusted = True
        """Whether the policy is asked: not after it failed to begin, or changed the tree by itself, up to the next solve."""
        self._branched = False
        """Whether the plugin has branched on the focus node."""
        self._left = NodesOnce()
        """Nodes that were left to SCIP's next rule."""
        self._undone = 0
        """How often in a row the policy undid the LP of the node ``_undone_at``."""
        self._undone_at = -1

    # ---- SCIP's callbacks ----------------------------------------------------------------------------------------

    def branchfree(self, _in_use: set[LearnedBrancher] = in_use) -> None:
        """The model is being freed (bound early: at interpreter exit the module may be empty already)."""
        _in_use.discard(self)

    # Ctrl-C strikes in Python code where SCIP's own handling of it is switched off, and where SCIP does not catch it yet.

    def _struck(self, error: BaseException) -> None:
        if isinstance(error, _STOPS):
            self._interrupt()
        else:
            self._report(error, "the solve goes on")

    def _begin_again(self, error: BaseException, callback: Callable[[LearnedBrancher], None]) -> None:
        callback(self)
        self._struck(error)

    def _leave(self, error: BaseException, callback: object) -> dict[str, Any]:  # noqa: ARG002
        self._struck(error)
        return _DID_NOT_RUN

    def _give_up(self, error: BaseException, callback: object) -> dict[str, Any]:  # noqa: ARG002
        if isinstance(error, _STOPS):
            self._interrupt()
            return self._leave_clean()
        return self._hand_over(error)  # some libraries' panics and cancellations are no Exceptions

    @shielded(_begin_again)
    def branchinit(self) -> None:
        """A solve begins."""
        self._begun = False
        self._to_be_stopped = False
        self._trusted = True
        self._left = NodesOnce()
        self._undone = 0
        self.error = None
        self.statistics.reporter = dict
        self._paths.clear()

    @shielded(_begin_again)
    def branchinitsol(self) -> None:
        """A run begins (again after a restart): node numbers start anew and the variables may be others."""
        self._buffer.invalidate()
        self._paths.clear()
        self._undone = 0

    @shielded(_give_up)
    def branchexeclp(self, allowaddcons: bool) -> dict[str, Any]:  # noqa: ARG002
        """Choose a variable at a node with a fractional LP solution."""
        started, statistics = perf_counter(), self.statistics
        accounted = statistics.extraction_seconds + statistics.inference_seconds
        self._branched = False
        try:
            return self._branch()
        finally:
            elsewhere = statistics.extraction_seconds + statistics.inference_seconds - accounted
            statistics.other_seconds += perf_counter() - started - elsewhere

    @shielded(_leave)
    def branchexecext(self, allowaddcons: bool) -> dict[str, Any]:  # noqa: ARG002
        """Nonlinear branching candidates are left to SCIP."""
        return _DID_NOT_RUN

    @shielded(_leave)
    def branchexecps(self, allowaddcons: bool) -> dict[str, Any]:  # noqa: ARG002
        """Nodes without a solved LP are left to SCIP."""
        return _DID_NOT_RUN

    # ---- one decision --------------------------------------------------------------------------------------------

    def _branch(self) -> dict[str, Any]:
        statistics, policy, search = self.statistics, self.policy, self._search
        if self._to_be_stopped:
            raise KeyboardInterrupt
        if search.n_children:  # of the last call: a cut that somebody added meanwhile made SCIP solve the node's LP once more
            return _BRANCHED
        if not self._trusted:
            statistics.fallbacks += self._left.first(self._search)
            return _DID_NOT_RUN
        if not search.lp_is_optimal():  # it may be unbounded: nothing to read, and nobody's failure
            return _DID_NOT_RUN
        node = search.focus
        began = perf_counter()
        try:
            if not self._begun:
                self._begin()
            skipped = self._skip is not None and self._skip()
        finally:
            statistics.inference_seconds += perf_counter() - began
        self._check_search(node)
        if not search.lp_is_optimal():
            return self._lp_undone()
        if skipped:
            statistics.passes += self._left.first(self._search)
            return _DID_NOT_RUN
        began = perf_counter()
        try:
            state = self._buffer.update()
        finally:
            statistics.extraction_seconds += perf_counter() - began
        if len(state.candidates) == 0:
            return _DID_NOT_RUN
        path = self._paths.path() if policy.needs_path else ()

        began = perf_counter()
        try:
            scores = policy.score(state, path)
        finally:
            statistics.inference_seconds += perf_counter() - began
        self._check_search(node)
        if not search.lp_is_optimal():
            return self._lp_undone()
        if scores is None:
            statistics.passes += self._left.first(self._search)
            return _DID_NOT_RUN
        choice = best_candidate(scores, len(state.candidates))
        children = search.branch(int(state.candidates[choice]))
        self._branched = True
        statistics.decisions += 1

        # From here on the node is branched: whatever fails now must not leave it to another rule.
        if policy.needs_path:
            began = perf_counter()
            try:
                memory = policy.remember(state, path, choice)
                self._check_modes()
                self._paths.keep(state, children, memory)
            except _STOPS:
                raise
            except BaseException as error:
                statistics.forgotten += 1
                self._report(error, "its descendants will not see this decision")
                search.leave_modes()
            finally:
                statistics.inference_seconds += perf_counter() - began
        return _BRANCHED

    def _begin(self) -> None:
        model = self._model_reference()
        if model is None:
            raise RuntimeError("the model was freed")
        self._take_policy()
        try:
            self.policy.begin(model)
        except _STOPS:
            raise
        except BaseException:
            self._trusted = False
            raise
        if self._buffer.extended != self.policy.extended:  # a policy may learn what it reads from the model
            self._buffer = BipartiteBuffer(model, extended=self.policy.extended)
        self._begun = True

    def _take_policy(self) -> None:
        """A policy may serve several models, one after the other: what it said of the last one stays with that model's brancher.

        The policy itself, for guards and other wrappers are mostly made anew for each model.
        """
        policy, last = innermost(self.policy), None
        with suppress(Exception):  # an object that has no hash or a strange one, or cannot be referred to weakly
            last = _asked_by.get(policy)
            _asked_by[policy] = weakref.ref(self)
        previous = last() if last is not None else None
        if previous is not None and previous is not self and previous._at_rest():
            previous.statistics.settle()
            previous._begun = False  # should that solve go on, the policy must be told whose it is now
        self.statistics.reporter = getattr(self.policy, "report", dict)

    def _at_rest(self) -> bool:
        """Whether no solve of this model goes on, so that its wrappers have no more to say."""
        model = self._model_reference()
        # Between its runs a solve that restarts is in other stages than SOLVING. A model that was freed has no status.
        return model is None or self._search.stage <= SCIP_STAGE.PROBLEM or model.getStatus() != "unknown"

    def _lp_undone(self) -> dict[str, Any]:
        """The policy gave SCIP a solution that cuts the node off, or a tighter bound: SCIP is to solve the LP, and to ask again.

        No other rule may be asked: SCIP's own take an LP that is not solved for a fault that ends the solve.
        """
        node = self._search.focus
        self._undone = self._undone + 1 if node == self._undone_at else 1
        self._undone_at = node
        if self._undone == _MOST_UNDONE:
            self._trusted = False
            self._report(PolicyError(f"the policy undid the LP of node {node} {_MOST_UNDONE} times"), "it is not asked again")
        return _REDUCED_DOMAIN

    def _check_search(self, node: int) -> None:
        """Raise where the policy did to SCIP what only the brancher may do, since it was at this node without children."""
        if disturbance := self._search.disturbance(node):
            raise PolicyError(f"the policy {disturbance}")

    def _check_modes(self) -> None:
        """Raise where the policy left SCIP in a mode in which no rule may branch; the mode is ended."""
        if mode := self._search.leave_modes():
            raise PolicyError(f"the policy left SCIP in {mode} mode")

    # ---- failures ------------------------------------------------------------------------------------------------

    def _hand_over(self, error: BaseException) -> dict[str, Any]:
        self.statistics.fallbacks += self._left.first(self._search)
        result = self._leave_clean()
        again = result is _REDUCED_DOMAIN
        self._report(error, "SCIP solves the node's LP once more" if again else "SCIP's next rule takes the node")
        return result

    def _leave_clean(self) -> dict[str, Any]:
        """Undo what a failed policy may have left behind; tells SCIP whether the node has children already."""
        try:
            if not self._search.solving:
                return _DID_NOT_RUN
            self._search.leave_modes()
            if self._search.n_children == 0:
                return _DID_NOT_RUN if self._search.lp_is_optimal() else self._lp_undone()
            if not self._branched:
                # Children that the plugin did not make may leave out a part of the node, and SCIP has no way to take them back: a
                # child that is the node itself covers it. A policy that went on so would never come to an end.
                self._trusted = False
                self._search.cover()
            return _BRANCHED
        except RuntimeError:
            return _DID_NOT_RUN

    def _interrupt(self) -> None:
        model = self._model_reference()
        self._to_be_stopped = self._search.stage == SCIP_STAGE.INITSOLVE  # where SCIP cannot be told
        if model is not None and not self._to_be_stopped:
            model.interruptSolve()

    def _report(self, error: BaseException, consequence: str) -> None:
        """Say the first failure of a solve aloud; keep its exception for ``strict``."""
        if self.error is not None:
            return
        self.error = error
        _drop_frames(error)
        try:
            logger.warning(
                "branching policy %s failed: %s: %s; %s (further failures of this solve are counted, not reported)",
                type(innermost(self.policy)).__name__,
                type(error).__name__,
                error,
                consequence,
            )
        except _STOPS:
            self._interrupt()
        except BaseException:  # whoever listens to the log may fail too
            pass


def _drop_frames(error: BaseException) -> None:
    """Make a note of an exception's traceback in its place: frames hold their local variables, and with them the model."""
    with suppress(Exception):  # an exception may refuse to be changed, or to be printed
        error.add_note("In the solve:\n" + "".join(traceback.format_exception(error)).rstrip())
    links: list[BaseException | None] = [error]
    seen: set[int] = set()
    while links:
        link = links.pop()
        if link is None or id(link) in seen:
            continue
        seen.add(id(link))
        with suppress(Exception):
            BaseException.with_traceback(link, None)  # an assignment may be refused
            links += [link.__cause__, link.__context__, *(link.exceptions if isinstance(link, BaseExceptionGroup) else ())]


_asked_by: weakref.WeakKeyDictionary[Any, weakref.ref[LearnedBrancher]] = weakref.WeakKeyDictionary()
"""The brancher that each policy began for last."""
