"""From a policy's name to a branching rule inside a model, in one call."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal, get_args

from ..branching.brancher import LearnedBrancher
from ..branching.guard import GuardedPolicy
from ..branching.mixture import as_asked
from ..branching.policy import Policy, check_policy
from ..branching.settings import BRANCHER_PRIORITY
from ..branching.shortlist import ShortlistPolicy
from ..branching.solving import attach
from .automatic import AutoPolicy
from .devices import Device

if TYPE_CHECKING:
    from pyscipopt import Model

__all__ = ["MODES", "Mode", "equip", "include"]

Mode = Literal["time", "nodes"]
MODES: tuple[Mode, ...] = get_args(Mode)
"""What a policy is to save."""


def include(
    model: Model,
    policy: str | os.PathLike[str] | Policy = "auto",
    *,
    mode: Mode = "time",
    guard: bool = True,
    priority: int = BRANCHER_PRIORITY,
    strict: bool = False,
    device: Device = "auto",
    threads: int = 1,
) -> LearnedBrancher:
    """Let a learned policy choose the branching variables of a model.

    Call it before ``model.optimize()``. Where the policy fails, SCIP's next rule takes the node and the solve goes on. Copies of the
    model, those of ``solveConcurrent`` among them, do not have the rule.

    Args:
        model: a PySCIPOpt model, its problem built or read.
        policy: name of a pretrained policy (``auto`` picks the one of the model's family), path of a checkpoint, or any object
            with the attributes and methods of :class:`~revibranch.Policy`.
        mode: ``time`` branches where the policy says. ``nodes`` lets strong branching decide among the policy's best candidates
            (:class:`~revibranch.branching.shortlist.ShortlistPolicy`): fewer nodes, for more time at most of them. For LPs that
            are cheap, or a tree that must fit into memory.
        guard: leave the nodes to SCIP's next rule while the policy gains less in the dual bound than SCIP's pseudocosts promise; take
            turns with it where the policy is not after the bound (:class:`~revibranch.branching.guard.GuardedPolicy`).
        priority: priority among SCIP's branching rules; by default above all that choose a variable. Of several policies that are
            included into one model with the same priority the last one decides.
        strict: keep the first exception of the policy; ``revibranch.optimize(model)`` raises it after the solve.
        device: where a policy that is named runs: ``cpu``, ``cuda``, or ``auto`` for the GPU where there is one and the model's
            graph is large enough (:func:`~revibranch.load_policy`).
        threads: torch's threads, where torch runs the network; the native network takes one core.

    Returns:
        The plugin, with ``statistics`` of its decisions and ``error``, the policy's first exception.

    Raises:
        TypeError: no policy.
        ValueError: no such policy, mode or device, or weights that cannot be used.
        RuntimeError: the model is being solved, or was and is not freed of its transformed problem.
        CheckpointError: a ValueError: the weights cannot be read, or do not fit this version.
        ImportError: the network needs torch (a width that the native module cannot run), which is not installed.
    """
    if isinstance(policy, (str, os.PathLike)):
        from .policy import load_policy  # only now: a policy object needs no checkpoint reader

        policy = load_policy(os.fspath(policy), device=device, threads=threads)
    check_policy(policy)
    if isinstance(policy, AutoPolicy):
        policy = policy.fresh()
    return attach(model, equip(policy, mode=mode, guard=guard), priority=priority, strict=strict)


def equip(policy: Policy, *, mode: Mode = "time", guard: bool = True) -> Policy:
    """A policy as ``include`` attaches it: mixed with pseudocosts if it asks for that, with a shortlist where nodes matter, and a guard.

    Raises:
        ValueError: there is no such mode.
    """
    if mode not in MODES:
        raise ValueError(f"unknown mode {mode!r}; known are {', '.join(MODES)}")
    policy = as_asked(policy)
    if mode == "nodes":
        policy = ShortlistPolicy(policy)
    return GuardedPolicy(policy) if guard else policy
