"""Sections that recipes are made of, as strict models: an unknown key is an error, nothing is ever ignored in silence."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from ...branching.settings import INFINITY, MOST_NODES, SETTINGS
from ...instances.family import MAX_SEED
from .run_folder import STATE_NAME

__all__ = [
    "MOST",
    "Natural",
    "NodeLimit",
    "OptimiserSettings",
    "PolicyName",
    "Positive",
    "PositiveFloat",
    "Probability",
    "SampleSettings",
    "Section",
    "Seed",
    "SettingsNames",
    "Threads",
    "Weight",
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


def _own_file(name: str) -> str:
    # Compared as file systems do that know no upper case.
    if f"{name}.safetensors".lower() == STATE_NAME:
        raise ValueError(f"a policy named {name!r} would overwrite {STATE_NAME}, the file that a run goes on from: choose another name")
    return name


MOST = 2**31 - 1
"""Of whatever is counted: the highest number of SCIP's and torch's counters. What no counter can hold would fail hours later."""

Positive = Annotated[int, Field(ge=1, le=MOST)]
Natural = Annotated[int, Field(ge=0, le=MOST)]
Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]
NodeLimit = Annotated[int, Field(ge=1, le=MOST_NODES)]
Threads = Annotated[int, Field(ge=1, le=1024)]
"""As many as a machine may have; torch itself takes any number, and starts them only when it computes."""
Probability = Annotated[float, Field(ge=0, le=1)]
PositiveFloat = Annotated[float, Field(gt=0, le=INFINITY, allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=0, le=INFINITY, allow_inf_nan=False)]
"""Of a part of a loss."""
PolicyName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=200), AfterValidator(_own_file)]
"""Name of a policy: that of its file, beside the others of its run."""
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
    iteration_limit: Annotated[int, Field(ge=-1, le=MOST)] = -1
    """Simplex iterations of each LP of strong branching; -1 for no limit."""
    settings: SettingsNames = "clean"
    """Name of the set of SCIP parameters, or names of several, of which one is drawn for every instance."""
    node_limit: NodeLimit = 2000
    """Nodes after which a solve stops."""
    time_limit: PositiveFloat = 120.0
    """CPU seconds after which a solve stops: a safety net, for a solve that meets it is not reproducible."""

    @model_validator(mode="after")
    def _asks(self) -> SampleSettings:
        if not self.probability and not (self.shallow_probability and self.shallow_depth):
            raise ValueError("the expert is asked nowhere: probability is 0, and so is shallow_probability or shallow_depth")
        return self


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
