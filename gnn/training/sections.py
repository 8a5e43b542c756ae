"""Sections that recipes are made of, as strict models: an unknown key is an error, nothing is ever ignored in silence."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from ...branching.settings import SETTINGS

__all__ = [
    "Natural",
    "OptimiserSettings",
    "Positive",
    "PositiveFloat",
    "Probability",
    "SampleSettings",
    "Section",
    "SettingsNames",
    "settings_of",
]


def _known_settings(names: str | tuple[str, ...]) -> str | tuple[str, ...]:
    several = (names,) if isinstance(names, str) else names
    if not several:
        raise ValueError("settings need at least one name")
    for name in several:
        if name not in SETTINGS:
            raise ValueError(f"unknown settings {name!r}; known are {', '.join(SETTINGS)}")
    return names


Positive = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Probability = Annotated[float, Field(ge=0, le=1)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
SettingsNames = Annotated[str | tuple[str, ...], AfterValidator(_known_settings)]
"""Name of a set of SCIP parameters, or names of several, of which every instance gets one (``settings_of``)."""

_SEED_SETTINGS = 5
"""Sets these draws apart from others of the same seed and instance."""


def settings_of(names: str | tuple[str, ...], seed: int, number: int) -> str:
    """The set of SCIP parameters of an instance: where there are several, one is drawn.

    Args:
        names: ``SettingsNames`` of a recipe.
        seed: the recipe's.
        number: of the instance. Taking turns would go in step with the kinds of a mixture, so it is drawn.
    """
    if isinstance(names, str):
        return names
    return names[int(np.random.default_rng((seed, _SEED_SETTINGS, number)).integers(len(names)))]


class Section(BaseModel):
    """Base of all sections: no unknown keys, no conversions, no changes."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class SampleSettings(Section):
    """How an expert's decisions are collected."""

    expert: Literal["strong-branching", "constraint-by-constraint"] = "strong-branching"
    """Whose decisions: those of full strong branching, or of ``branching.expert.ConstraintByConstraint``, which costs nothing."""
    training: Positive = 2000
    """Least number of training samples; the last instance is sampled in full."""
    validation: Positive = 400
    """Least number of validation samples, from instances of their own."""
    per_instance: Positive = 25
    """Most samples of one instance; its solve stops there."""
    probability: Probability = 0.12
    """Probability that the expert is asked at a node."""
    shallow_probability: Probability = 0.5
    """The same at depths below ``shallow_depth``."""
    shallow_depth: Natural = 4
    iteration_limit: Annotated[int, Field(ge=-1)] = -1
    """Simplex iterations of each LP of strong branching; -1 for no limit."""
    settings: SettingsNames = "clean"
    """Name of the set of SCIP parameters, or names of several, of which one is drawn for every instance."""
    node_limit: Positive = 2000
    """Nodes after which a solve stops."""
    time_limit: PositiveFloat = 120.0
    """CPU seconds after which a solve stops: a safety net, for a solve that meets it is not reproducible."""


class OptimiserSettings(Section):
    """Adam under a one-cycle learning rate."""

    epochs: Positive = 12
    batch: Positive = 32
    """Samples of a gradient step."""
    learning_rate: PositiveFloat = 1e-3
    """The highest, reached after ``warm_up`` of all steps."""
    warm_up: Annotated[float, Field(gt=0, lt=1)] = 0.3
    clip: PositiveFloat = 1.0
    """Largest norm of the gradient."""
    samples_per_tree: Positive = 1
    """Samples of one tree that stay together when an epoch is shuffled: they share ancestors, whose graphs are encoded
    once per batch. 1 is an even shuffle."""
