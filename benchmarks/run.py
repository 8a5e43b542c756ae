"""One run: a model, a policy or one of SCIP's rules, a seed; what it took becomes a row.

The single place that measures: ``revibranch solve`` shows one row, an evaluation collects thousands.
"""

from __future__ import annotations

import math
import resource
import sys
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import pyscipopt
from pyscipopt import SCIP_EVENTTYPE, SCIP_STAGE, Eventhdlr, Model

from ..branching import _scip
from ..branching.brancher import attach, optimize
from ..branching.policy import Policy
from ..branching.settings import RULES, apply_rule, apply_seed, apply_settings
from ..instances.reading import instance_name, read_model
from .rows import RunRow

if TYPE_CHECKING:
    from pyscipopt.scip import Event

    from ..branching.brancher import LearnedBrancher

__all__ = ["Progress", "Source", "error_row", "load", "run", "scip_rule"]

Source = str | Path | Callable[[], Model]
"""A problem file, or a function that builds a new model."""

RULE_PREFIX = "scip:"
_MODIFIERS = ("guard", "nodes")
_SCIP_INFINITY = 1e20
_CPU_CLOCK = 1
_PROGRESS_INTERVAL = 0.1


@dataclass(frozen=True, slots=True)
class Progress:
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


def scip_rule(policy: str) -> str | None:
    """Return the rule that ``scip:<rule>`` names, or None where the text does not name one of SCIP's rules.

    Raises:
        ValueError: SCIP has no such rule; the message lists those there are.
    """
    if not policy.startswith(RULE_PREFIX):
        return None
    rule = policy.removeprefix(RULE_PREFIX)
    if rule not in RULES:
        known = ", ".join(RULE_PREFIX + name for name in RULES)
        raise ValueError(f"unknown rule {policy!r}; known are {known}")
    return rule


def load(policy: str, *, threads: int = 1) -> str | Policy:
    """Turn a policy's text into what ``run`` takes: a rule's text stays, anything else is loaded once.

    ``+guard`` and ``+nodes`` behind a policy's name put the guard, or the shortlist of ``mode="nodes"``, around it; without
    them it is measured bare.

    Raises:
        ValueError: no such rule or policy, or weights that cannot be used.
        OSError: the weights cannot be read.
    """
    if scip_rule(policy) is not None:
        return policy
    from ..gnn.plugin import equip  # torch takes seconds to import, and SCIP's own rules do without
    from ..gnn.policy import load_policy

    name, modifiers = policy, set()
    while (parts := name.rpartition("+"))[2] in _MODIFIERS and parts[0]:
        name = parts[0]
        modifiers.add(parts[2])
    loaded = load_policy(name, threads=threads)
    return equip(loaded, mode="nodes" if "nodes" in modifiers else "time", guard="guard" in modifiers)


def run(
    source: Source,
    policy: str | Policy,
    *,
    settings: str = "default",
    seed: int = 0,
    time_limit: float = math.inf,
    threads: int = 1,
    on_progress: Callable[[Progress], None] | None = None,
    instance: str | None = None,
    family: str | None = None,
    label: str | None = None,
) -> RunRow:
    """Solve one problem once and measure it.

    Reading the problem and loading the policy count towards ``wall_seconds`` only, never towards ``solve_seconds``.

    Args:
        source: a problem file, or a function that builds a new model.
        policy: ``scip:<rule>``, a pretrained policy's name, a checkpoint's path, or a policy.
        settings: name of a set of SCIP parameters.
        seed: shift of SCIP's random seeds.
        time_limit: SCIP's limit on the solving time, in CPU seconds.
        threads: threads of a network that is loaded here.
        on_progress: called about ten times a second while SCIP solves. It must not raise.
        instance: name for the row; by default the file's, or the model's.
        family: the instance's family, for the row.
        label: the policy's name for the row; by default ``policy`` as text, or the class of a policy object.

    Returns:
        The row. A policy that fails is no error here: the row counts its fallbacks.

    Raises:
        ReadingError: the file cannot be read.
        ValueError: unknown rule, policy or settings, or a seed or limit that makes no sense.
    """
    if not time_limit > 0:
        raise ValueError(f"time limit {time_limit} is not a positive number of seconds")
    if label is None:
        label = policy if isinstance(policy, str) else type(policy).__name__
    began = time.perf_counter()
    chosen = load(policy, threads=threads) if isinstance(policy, str) else policy
    model = source() if callable(source) else read_model(Path(source))
    if instance is None:
        instance = model.getProbName() if callable(source) else instance_name(Path(source))

    model.setParam("timing/clocktype", _CPU_CLOCK)
    apply_settings(model, settings)
    apply_seed(model, seed)
    if time_limit < _SCIP_INFINITY:
        model.setParam("limits/time", time_limit)
    brancher: LearnedBrancher | None = None
    if isinstance(chosen, str):
        apply_rule(model, chosen.removeprefix(RULE_PREFIX))
    else:
        brancher = attach(model, chosen)
    recorder = _Recorder(model, on_progress)
    try:
        optimize(model)
    finally:
        recorder.stop()
    if brancher is not None and brancher.error is not None:
        # Its traceback leads to this very frame, which holds the model, which holds the brancher: a circle through SCIP
        # that Python cannot collect.
        brancher.error.__traceback__ = None
    return _measured(
        model,
        brancher,
        instance=instance,
        family=family,
        seed=seed,
        policy=label,
        settings=settings,
        time_limit=time_limit,
        wall_seconds=time.perf_counter() - began,
        first_solution_seconds=recorder.first_solution_seconds,
    )


def error_row(
    cause: str,
    *,
    instance: str,
    policy: str,
    settings: str,
    seed: int,
    time_limit: float,
    family: str | None = None,
) -> RunRow:
    """Return the row of a run that broke down: status ``error``, the cause, and no numbers at all."""
    return RunRow(
        instance=instance,
        family=family,
        seed=seed,
        policy=policy,
        settings=settings,
        time_limit=time_limit,
        status="error",
        error=cause,
        objective=None,
        primal_bound=None,
        dual_bound=None,
        gap=None,
        nodes=None,
        fair_nodes=None,
        lp_iterations=None,
        strong_branching_lp_iterations=None,
        solve_seconds=None,
        wall_seconds=None,
        first_solution_seconds=None,
        primal_dual_integral=None,
        decisions=None,
        fallbacks=None,
        passes=None,
        extraction_seconds=None,
        inference_seconds=None,
        peak_memory_bytes=None,
        scip_version=_scip_version(),
        pyscipopt_version=pyscipopt.__version__,
        revibranch_version=version("revibranch"),
    )


class _Recorder(Eventhdlr):  # type: ignore[misc]
    """Notes when the first solution came, and tells how the solve goes.

    It holds the model weakly, and PySCIPOpt's own reference is cut: SCIP holds the plugin, so a plugin that held the
    model would keep it alive for ever.
    """

    def __init__(self, model: Model, on_progress: Callable[[Progress], None] | None) -> None:
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
                Progress(
                    seconds=model.getSolvingTime(),
                    nodes=model.getNTotalNodes(),
                    open_nodes=model.getNLeaves() + model.getNChildren() + model.getNSiblings(),
                    lp_iterations=model.getNLPIterations(),
                    primal_bound=_number(model.getPrimalbound()),
                    dual_bound=_number(model.getDualbound()),
                    gap=_number(model.getGap()),
                )
            )


def _measured(
    model: Model,
    brancher: LearnedBrancher | None,
    *,
    instance: str,
    family: str | None,
    seed: int,
    policy: str,
    settings: str,
    time_limit: float,
    wall_seconds: float,
    first_solution_seconds: float | None,
) -> RunRow:
    status = str(model.getStatus())
    counts = _scip.search_counts(model)
    statistics = brancher.statistics if brancher is not None else None
    # SCIP's solution of an unbounded problem is any point, and its gap of a problem without an optimum is 0.
    has_optimum = status not in ("infeasible", "unbounded", "inforunbd")
    return RunRow(
        instance=instance,
        family=family,
        seed=seed,
        policy=policy,
        settings=settings,
        time_limit=time_limit,
        status=status,
        error=None,
        objective=float(model.getObjVal()) if has_optimum and model.getNSols() else None,
        primal_bound=_number(model.getPrimalbound()),
        dual_bound=_number(model.getDualbound()),
        gap=_number(model.getGap()) if has_optimum else None,
        nodes=counts.nodes,
        fair_nodes=counts.nodes + 2 * (counts.rule_domain_reductions + counts.rule_cutoffs),
        lp_iterations=counts.lp_iterations,
        strong_branching_lp_iterations=counts.strong_branching_lp_iterations,
        solve_seconds=model.getSolvingTime(),
        wall_seconds=wall_seconds,
        first_solution_seconds=first_solution_seconds,
        primal_dual_integral=_primal_dual_integral(model),
        decisions=statistics.decisions if statistics else None,
        fallbacks=statistics.fallbacks if statistics else None,
        passes=statistics.passes if statistics else None,
        extraction_seconds=statistics.extraction_seconds if statistics else None,
        inference_seconds=statistics.inference_seconds if statistics else None,
        peak_memory_bytes=_peak_memory(),
        scip_version=_scip_version(),
        pyscipopt_version=pyscipopt.__version__,
        revibranch_version=version("revibranch"),
    )


def _scip_version() -> str:
    return ".".join(str(part) for part in _scip.scip_version())


def _number(value: float) -> float:
    """SCIP's 1e20 and beyond become ``inf``."""
    return value if abs(value) < _SCIP_INFINITY else math.copysign(math.inf, value)


def _primal_dual_integral(model: Model) -> float | None:
    if not hasattr(model, "getPrimalDualIntegral"):  # PySCIPOpt 5 has none
        return None
    return float(model.getPrimalDualIntegral())


def _peak_memory() -> int:
    """Peak resident set in bytes; the kernel counts kibibytes, but bytes on macOS."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
