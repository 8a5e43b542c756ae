"""Rows of runs that never were."""

from __future__ import annotations

from dataclasses import replace

from revibranch.benchmarks.rows import RunRow

_ROW = RunRow(
    instance="a",
    family="setcover",
    seed=0,
    policy="p",
    settings="clean",
    time_limit=100.0,
    status="optimal",
    error=None,
    objective=1.0,
    primal_bound=1.0,
    dual_bound=1.0,
    gap=0.0,
    nodes=100,
    fair_nodes=110,
    lp_iterations=1000,
    strong_branching_lp_iterations=500,
    solve_seconds=10.0,
    wall_seconds=11.0,
    first_solution_seconds=0.5,
    primal_dual_integral=3.25,
    decisions=None,
    fallbacks=None,
    passes=None,
    extraction_seconds=None,
    inference_seconds=None,
    peak_memory_bytes=2**33,
    scip_version="10.0.0",
    pyscipopt_version="6.3.0",
    revibranch_version="0.1.0",
)


NUMBERS = (
    *("objective", "primal_bound", "dual_bound", "gap", "nodes", "fair_nodes", "lp_iterations", "strong_branching_lp_iterations"),
    *("solve_seconds", "wall_seconds", "first_solution_seconds", "primal_dual_integral", "peak_memory_bytes"),
)


def run_row(instance: str = "a", seed: int = 0, policy: str = "p", **changes: object) -> RunRow:
    if "nodes" in changes:  # a rule that does not probe
        changes = {"fair_nodes": changes["nodes"], **changes}
    return replace(_ROW, instance=instance, seed=seed, policy=policy, **changes)  # type: ignore[arg-type]


def error_row(instance: str = "a", seed: int = 0, policy: str = "p", cause: str = "worker killed by SIGKILL") -> RunRow:
    numbers = dict.fromkeys(NUMBERS)
    return run_row(instance, seed, policy, status="error", error=cause, **numbers)


def timeout_row(instance: str = "a", seed: int = 0, policy: str = "p", **changes: object) -> RunRow:
    return run_row(instance, seed, policy, **{"status": "timelimit", "solve_seconds": 100.4, "dual_bound": 0.5, "gap": 1.0, **changes})
