"""Models with a policy: including its rule, and solving."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pyscipopt import SCIP_STAGE

from ._scip import Search, python_writes
from .brancher import LearnedBrancher, in_use
from .policy import Policy, check_policy
from .settings import BRANCHER_PRIORITY, TOP_PRIORITY

if TYPE_CHECKING:
    from pyscipopt import Model

__all__ = ["attach", "optimize", "run_scip"]

_CATCH_CTRL_C = "misc/catchctrlc"

_branchers: weakref.WeakKeyDictionary[Any, list[LearnedBrancher]] = weakref.WeakKeyDictionary()
"""Those of each model, in the order in which they came."""


def attach(model: Model, policy: Policy, *, priority: int = BRANCHER_PRIORITY, strict: bool = False) -> LearnedBrancher:
    """Include a brancher that asks this policy into the model.

    Args:
        model: a model that is not being solved. It is held weakly, so this object must live as long as the solve.
        policy: who scores the candidates.
        priority: SCIP's priority of the rule; the rules of lower priority take over where the policy fails. Of several in one model with
            the same priority the last one decides; those before it move down by one each, until SCIP's parameters are reset.
        strict: ``optimize`` raises the policy's first exception after the solve.

    Raises:
        TypeError: no policy.
        ValueError: the priority is outside SCIP's range.
        RuntimeError: the model is being solved, or was and is not freed of its transformed problem; or the whole model was freed.
    """
    check_policy(policy)
    if not -TOP_PRIORITY <= priority <= TOP_PRIORITY:
        raise ValueError(f"priority {priority} is outside SCIP's range of +-{TOP_PRIORITY}")
    if Search(model).stage > SCIP_STAGE.PROBLEM:
        raise RuntimeError(
            "a branching rule is included before the model is presolved or solved; afterwards call model.freeTransform() first"
        )
    brancher = LearnedBrancher(model, policy, strict=strict)
    names = _names(model)
    _make_way(model, names, priority)
    name, description = _name(len(names)), "learned branching on revived trajectories"
    model.includeBranchrule(brancher, name, description, priority=priority, maxdepth=-1, maxbounddist=1.0)
    # PySCIPOpt sets this reference and never drops it; with it the model would never be freed.
    brancher.model = None
    in_use.add(brancher)
    _branchers.setdefault(model, []).append(brancher)
    return brancher


def _name(place: int) -> str:
    """Name of a model's first, second, ... rule."""
    return f"revibranch{place + 1}" if place else "revibranch"


def _names(model: Model) -> Sequence[str]:
    """Names of the rules that the model has. SCIP is asked, for several Python objects may stand for one model of its."""
    names: list[str] = []
    with suppress(KeyError):  # there is no such parameter
        while True:
            model.getParam(f"branching/{_name(len(names))}/priority")
            names.append(_name(len(names)))
    return names


def _make_way(model: Model, rules: Sequence[str], priority: int) -> None:
    """Move so many of these rules down that one of this priority comes before those that have it: of equals SCIP asks the first."""
    names = [f"branching/{rule}/priority" for rule in rules]
    below = sorted((-model.getParam(name), name) for name in names if model.getParam(name) <= priority)
    for negative, name in below:
        if -negative < priority:
            break
        priority = max(priority - 1, -TOP_PRIORITY)
        model.setParam(name, priority)


def optimize(model: Model) -> None:
    """Solve the model, then raise what a strict brancher's policy raised.

    PySCIPOpt cannot carry an exception through a solve, so ``strict`` needs this helper in place of ``model.optimize()``.
    Other threads run meanwhile, up to the callbacks; where Python writes SCIP's messages (``Model.redirectOutput``), they wait.
    Ctrl-C stops a solve in the main thread. Elsewhere SCIP is kept from catching it: its handler is the whole process's, and solves
    that overlap would leave it in place for good.

    Raises:
        RuntimeError: the model was freed.
    """
    try:
        _optimize(model)
    except Exception as failure:
        for brancher in _branchers.get(model, ()):
            if brancher.error is not None:  # the likely cause, which SCIP's message does not tell
                raise failure from brancher.error
        raise
    for brancher in _branchers.get(model, ()):
        if brancher.strict and brancher.error is not None:
            # A raised exception holds the frames it passes, and with them the model: the brancher must not hold it too.
            error, brancher.error = brancher.error, None
            raise error


def _optimize(model: Model) -> None:
    Search(model)  # raises of a model that was freed, on which PySCIPOpt crashes
    if threading.current_thread() is threading.main_thread():
        run_scip(model)
        return
    catching = model.getParam(_CATCH_CTRL_C)
    model.setParam(_CATCH_CTRL_C, False)
    try:
        run_scip(model)
    finally:
        model.setParam(_CATCH_CTRL_C, catching)


def run_scip(model: Model) -> None:
    """SCIP's solve, with the interpreter free for other threads, unless Python writes what SCIP has to say.

    PySCIPOpt writes it without asking for the interpreter, and without the interpreter's lock the process would crash.
    """
    if python_writes(model):
        model.optimize()
    else:
        model.optimizeNogil()
