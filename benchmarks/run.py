"""One run: a model, a policy or one of SCIP's rules, a seed; what it took becomes a row.

The single place that measures: ``revibranch solve`` shows one row, an evaluation collects thousands.
"""

from __future__ import annotations

import json
import math
import resource
import sys
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import pyscipopt
from pyscipopt import Model

from ..branching import _scip
from ..branching.files import json_value
from ..branching.policy import Policy
from ..branching.settings import apply_limits, apply_rule, apply_seed, apply_settings
from ..branching.solving import attach, optimize
from ..instances.reading import instance_name, read_model
from .policies import RULE_PREFIX, load, scip_rule
from .recorder import Recorder, SolveProgress, from_scip
from .rows import RunRow

if TYPE_CHECKING:
    from ..branching.brancher import LearnedBrancher

__all__ = ["WITHOUT_OPTIMUM", "Problem", "SolveProgress", "error_row", "load", "run", "scip_rule"]

WITHOUT_OPTIMUM = ("infeasible", "unbounded", "inforunbd")
"""SCIP's statuses with which the solution that it holds is no answer."""

Problem = str | Path | Callable[[], Model]
"""A problem file, or a function that builds a new model."""


def run(
    source: Problem,
    policy: str | Policy,
    *,
    settings: str = "default",
    seed: int = 0,
    time_limit: float = math.inf,
    threads: int = 1,
    on_progress: Callable[[SolveProgress], None] | None = None,
    on_end: Callable[[Model], None] | None = None,
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
        seed: shift of SCIP's random seeds, at most ``branching.settings.LARGEST_SEED``.
        time_limit: SCIP's limit on the solving time, in CPU seconds.
        threads: threads of a network that is loaded here.
        on_progress: called about ten times a second while SCIP solves. It must not raise.
        on_end: called with the model when the solve has ended; the model is freed soon after.
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

    apply_settings(model, settings)
    apply_seed(model, seed)
    apply_limits(model, seconds=time_limit)
    brancher: LearnedBrancher | None = None
    if isinstance(chosen, str):
        apply_rule(model, chosen.removeprefix(RULE_PREFIX))
    else:
        brancher = attach(model, chosen)
    recorder = Recorder(model, on_progress)
    try:
        optimize(model)
    finally:
        recorder.stop()
    wall_seconds = time.perf_counter() - began
    if on_end is not None:
        on_end(model)
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
        wall_seconds=wall_seconds,
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
        scip_version=_scip.scip_release(),
        pyscipopt_version=pyscipopt.__version__,
        revibranch_version=version("revibranch"),
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
    has_optimum = status not in WITHOUT_OPTIMUM
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
        primal_bound=from_scip(model.getPrimalbound()),
        dual_bound=from_scip(model.getDualbound()),
        gap=from_scip(model.getGap()) if has_optimum else None,
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
        scip_version=_scip.scip_release(),
        pyscipopt_version=pyscipopt.__version__,
        revibranch_version=version("revibranch"),
        report=_as_json(statistics.policy) if statistics else None,
    )


def _as_json(report: Mapping[str, object]) -> str:
    """What is no JSON goes as text."""
    return json.dumps(json_value(report), default=str)


def _primal_dual_integral(model: Model) -> float | None:
    if not hasattr(model, "getPrimalDualIntegral"):  # PySCIPOpt 5 has none
        return None
    return float(model.getPrimalDualIntegral())


def _peak_memory() -> int:
    """Peak resident set in bytes; the kernel counts kibibytes, but bytes on macOS."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
