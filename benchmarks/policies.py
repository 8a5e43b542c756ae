"""Policies as texts: one of SCIP's rules, or a name or checkpoint with what is to stand around it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..branching.policy import Policy
from ..branching.settings import RULES

if TYPE_CHECKING:
    from ..gnn.devices import Device
    from ..gnn.plugin import Mode

__all__ = ["AUTO", "RULE_PREFIX", "load", "scip_rule", "split_policy"]

RULE_PREFIX = "scip:"
"""What the texts of SCIP's own rules begin with."""
AUTO = "auto"
"""The policy that chooses among those that ship."""
_MODIFIERS = ("guard", "nodes")


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


def split_policy(policy: str) -> tuple[str, frozenset[str]]:
    """The name or path, and what stands behind it: ``auction+guard+nodes`` is ``auction`` with ``guard`` and ``nodes``."""
    name, modifiers = policy, set()
    while (parts := name.rpartition("+"))[2] in _MODIFIERS and parts[0]:
        name = parts[0]
        modifiers.add(parts[2])
    return name, frozenset(modifiers)


def load(policy: str, *, mode: Mode = "time", guard: bool = False, device: Device = "cpu", threads: int = 1) -> str | Policy:
    """Turn a policy's text into what ``run`` takes: a rule's text stays, anything else is loaded once.

    ``+guard`` and ``+nodes`` behind a policy's name put the guard, or the shortlist of ``mode="nodes"``, around it. They say all
    there is to say: such a policy has what is named and nothing else, so that its text tells what was measured.

    Args:
        policy: ``scip:<rule>``, a pretrained policy's name or a checkpoint's path.
        mode: of a policy with nothing behind its name.
        guard: whether a policy with nothing behind its name is guarded.
        device: of a network; tables compare what one core does.
        threads: of a network that torch runs.

    Raises:
        ValueError: no such rule or policy, or weights that cannot be used.
        OSError: the weights cannot be read.
    """
    if scip_rule(policy) is not None:
        return policy
    from ..gnn.plugin import equip
    from ..gnn.policy import load_policy

    name, modifiers = split_policy(policy)
    if modifiers:
        mode, guard = "nodes" if "nodes" in modifiers else "time", "guard" in modifiers
    return equip(load_policy(name, device=device, threads=threads), mode=mode, guard=guard)
