"""``auto``: the policy that fits the model, chosen when the model is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from typing import TYPE_CHECKING

from ..branching.policy import Policy, PolicyWrapper
from .recognition import read_structure, recognise

if TYPE_CHECKING:
    from pyscipopt import Model

__all__ = ["GENERAL", "AutoPolicy", "choose"]

GENERAL = "general"
"""Name and family of the policy for models of no family."""


def choose(family: str | None, families: Mapping[str, str | None]) -> tuple[str, str]:
    """The policy for a model of a family, and why.

    A policy of that family; of several, the one that bears its name, otherwise the first by name. Where there is none, the
    policy for models in general: by its name, or by its description. Where there is none either, the first by name of all.

    Args:
        family: the model's; None where it belongs to none.
        families: name of every policy and the family that it was trained on.

    Raises:
        ValueError: there is no policy at all.
    """
    if not families:
        raise ValueError("no pretrained policy ships with this version; give a checkpoint file")
    model = f"looks like {family}" if family else "looks like none of the families"
    if family is not None and (fitting := _of(family, families)):
        return fitting, model
    if general := _of(GENERAL, families):
        return general, f"{model}; the policy for all others" if family is None else f"{model}, for which no policy ships"
    return min(families), f"{model}; no policy ships for it, nor for models in general: the first by name"


def _of(family: str, families: Mapping[str, str | None]) -> str | None:
    fitting = [name for name, trained in families.items() if trained == family]
    return family if family in families else min(fitting, default=None)


class AutoPolicy(PolicyWrapper):
    """Looks at each model once, before its first branching, and asks the policy that fits (``recognition``, ``choose``).

    It follows one solve at a time: models whose solves overlap need one each, as ``include`` makes them.

    Args:
        families: name of every policy and the family that it was trained on.
        load: makes a policy by its name; called once for each that is needed.

    Raises:
        ValueError: there is no policy at all.
    """

    def __init__(self, families: Mapping[str, str | None], load: Callable[[str], Policy]) -> None:
        self._families = dict(families)
        self._load = load
        self._loaded: dict[str, Policy] = {}
        self._facts = ""
        super().__init__(self._choose(None))

    def fresh(self) -> AutoPolicy:
        """Another one, for a model of its own, whose solve may overlap; what is loaded is shared."""
        other = copy(self)
        other._facts = ""
        return other

    def begin(self, model: Model) -> None:
        """Look at the model and choose."""
        family, self._facts = recognise(read_structure(model))
        self.policy = self._choose(family)
        super().begin(model)

    def report(self) -> dict[str, float | str]:
        """Which policy was chosen for the last model, why, and what was seen of it; empty before a first model."""
        if not self._facts:
            return {}
        return {
            "auto_policy": self.name,
            "auto_family": self._family or "none",
            "auto_reason": f"the model {self.reason}",
            "auto_facts": self._facts,
            **super().report(),
        }

    def _choose(self, family: str | None) -> Policy:
        """The policy for a model of this family, made where it is needed for the first time."""
        self._family = family
        self.name, self.reason = choose(family, self._families)
        if self.name not in self._loaded:
            self._loaded[self.name] = self._load(self.name)
        return self._loaded[self.name]
