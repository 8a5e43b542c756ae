"""Named sets of SCIP parameters, SCIP's own branching rules as baselines, and seeds.

``clean`` is the field's benchmark setting (Gasse et al. 2019, Scavuzzo et al. 2022, Strang et al. 2025): cuts at
the root only, no restarts, so that node counts speak of branching.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyscipopt import Model

__all__ = [
    "BRANCHER_PRIORITY",
    "INFINITY",
    "LARGEST_SEED",
    "MOST_NODES",
    "RULES",
    "SETTINGS",
    "apply_limits",
    "apply_rule",
    "apply_seed",
    "apply_settings",
]

ScipValue = bool | int | float | str

INFINITY = 1e20
"""SCIP's, and the highest time limit that it takes."""

MOST_NODES = 2**63 - 1
"""The highest node limit: SCIP counts nodes in 64 bits."""

LARGEST_SEED = 2**31 - 1_000_001
"""SCIP takes seeds up to 2^31 - 1, but plugins add to them before they set those of sub-problems (the separator rapidlearning
does), and fail where that overflows. A million keeps clear of it."""

_CPU_CLOCK = 1

_CLEAN: dict[str, ScipValue] = {"separating/maxrounds": 0, "presolving/maxrestarts": 0}

SETTINGS: Mapping[str, Mapping[str, ScipValue]] = {
    "default": {},
    "clean": _CLEAN,
    "dfs": {**_CLEAN, "nodeselection/dfs/stdpriority": 1_000_000, "nodeselection/dfs/memsavepriority": 1_000_000},
}
"""Parameter sets by name: ``default`` (SCIP as it comes), ``clean``, ``dfs`` (clean, depth first)."""

TOP_PRIORITY = 536_870_911
"""The highest priority SCIP accepts for a branching rule."""

BRANCHER_PRIORITY = TOP_PRIORITY - 1
"""Priority of a learned rule, unless told otherwise: above all that choose a variable. Where a model is reoptimised, SCIP raises its
``nodereopt``, which rebuilds the tree of the last solve, to ``TOP_PRIORITY``, and that one must come first."""

RULE_PRIORITY = TOP_PRIORITY - 2
"""Priority of one of SCIP's own rules that was asked for: above all others of SCIP's that choose a variable.

SCIP's large neighbourhood heuristics copy the parameters into their sub-MIPs and there put the rule ``inference`` in front
with ``TOP_PRIORITY``. A rule of the same priority would tie with it and change what the heuristics find: relpscost then
differs from SCIP's default, although it is the same rule.
"""

RULES: Mapping[str, Mapping[str, ScipValue]] = {
    "default": {},
    **{
        rule: {f"branching/{rule}/priority": RULE_PRIORITY}
        for rule in ("relpscost", "pscost", "vanillafullstrong", "fullstrong", "mostinf", "random", "inference")
    },
    "purestrong": {
        "branching/vanillafullstrong/priority": RULE_PRIORITY,
        "branching/vanillafullstrong/idempotent": True,
    },
}
"""SCIP's own rules that can be asked for as ``scip:<rule>``, and the parameters that put each in front. ``default`` leaves all as SCIP
has it. ``purestrong`` is full strong branching that keeps nothing of what it learns while it probes, but for nodes of which both children
are infeasible: its fair nodes (``benchmarks.rows``) say how good its choices are."""


def apply_settings(model: Model, name: str) -> None:
    """Set the parameters of the named set.

    Raises:
        ValueError: there is no such set; the message lists those there are.
    """
    try:
        parameters = SETTINGS[name]
    except KeyError:
        raise ValueError(f"unknown settings {name!r}; known are {', '.join(SETTINGS)}") from None
    if parameters:
        model.setParams(dict(parameters))


def apply_rule(model: Model, rule: str) -> None:
    """Put one of SCIP's own rules in front.

    Raises:
        ValueError: SCIP has no such rule among ``RULES``.
    """
    if rule not in RULES:
        raise ValueError(f"unknown SCIP rule {rule!r}; known are {', '.join(RULES)}")
    model.setParams(dict(RULES[rule]))


def apply_limits(model: Model, *, seconds: float = INFINITY, nodes: int | None = None) -> None:
    """Count CPU seconds, where SCIP by itself counts those of the wall, and end the solve after so many, or after so many nodes.

    On a busy machine a limit in wall seconds cuts off trees that are not the same twice.

    Args:
        model: what will be solved.
        seconds: CPU seconds; no limit from ``INFINITY`` on.
        nodes: nodes over all restarts; None for no limit.
    """
    model.setParam("timing/clocktype", _CPU_CLOCK)
    if seconds < INFINITY:
        model.setParam("limits/time", seconds)
    if nodes is not None:
        model.setParam("limits/totalnodes", nodes)


def apply_seed(model: Model, seed: int) -> None:
    """Shift all of SCIP's random seeds; 0 is SCIP as it comes.

    Raises:
        ValueError: the seed is negative or above ``LARGEST_SEED``.
    """
    if not 0 <= seed <= LARGEST_SEED:
        raise ValueError(f"seed {seed} is outside 0 .. {LARGEST_SEED}")
    model.setParams(
        {
            "randomization/randomseedshift": seed,
            "randomization/permutationseed": seed,
            "randomization/lpseed": seed,
        }
    )
