"""The row of one run: what is measured when one policy or rule solves one instance with one seed."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["RunRow"]


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run. Numbers that could not be measured are None, never zero: a crash is a row with status ``error``.

    Objective and bounds are in the original space of the instance (its own sense).
    """

    instance: str
    """Name of the instance: a file's name, or family, size and seed of a generated one."""
    family: str | None
    """Family of the instance where it is known."""
    seed: int
    """Shift of SCIP's random seeds."""
    policy: str
    """Policy as it was asked for: a pretrained policy's name, a checkpoint's path, or ``scip:<rule>``."""
    settings: str
    """Name of the set of SCIP parameters."""
    time_limit: float
    """Seconds; ``inf`` without a limit."""
    status: str
    """SCIP's status (optimal, infeasible, unbounded, inforunbd, timelimit, userinterrupt, ...), or ``error``."""
    error: str | None
    """The cause where status is ``error``."""
    objective: float | None
    """Value of the best solution; None without one."""
    primal_bound: float | None
    dual_bound: float | None
    gap: float | None
    """SCIP's relative gap; ``inf`` without a solution."""
    nodes: int | None
    """Nodes processed, over all restarts (SCIPgetNTotalNodes)."""
    fair_nodes: int | None
    """nodes + 2 x (domain reductions + cutoffs found by branching rules), Gamrath & Schubert 2018."""
    lp_iterations: int | None
    """Simplex iterations of the solve, strong branching left out (SCIPgetNLPIterations)."""
    strong_branching_lp_iterations: int | None
    """Simplex iterations of strong branching, which SCIP counts apart."""
    solve_seconds: float | None
    """SCIP's solving time, CPU clock."""
    wall_seconds: float | None
    """Wall clock of the whole run: reading, solving, policy."""
    first_solution_seconds: float | None
    """SCIP's time of the first solution; None without one."""
    primal_dual_integral: float | None
    """SCIP's primal-dual integral, in per cent x seconds."""
    decisions: int | None
    """Branchings of the policy; None for SCIP's own rules."""
    fallbacks: int | None
    """Nodes that the policy had to leave to SCIP's next rule."""
    passes: int | None
    """Nodes that the policy chose to leave to SCIP's next rule."""
    extraction_seconds: float | None
    """Wall seconds spent in writing states."""
    inference_seconds: float | None
    """Wall seconds spent in the policy, its ``begin`` and ``skip`` included."""
    peak_memory_bytes: int | None
    """Peak resident set of the process that ran it."""
    scip_version: str
    pyscipopt_version: str
    revibranch_version: str
    # What has a default came later, and comes last: files from before lack it, and None also says that it is not known.
    instance_sha256: str | None = None
    """First digits of the checksum of the file that was solved; None for generated instances, whose name says it all."""
    policy_sha256: str | None = None
    """The same of the policy's checkpoint, of all that ship together for ``auto``; None for SCIP's rules."""
    report: str | None = None
    """What the policy said of the solve (``Policy.report``), a JSON object: what ``auto`` chose and why, what the guard did. None for
    SCIP's rules."""
