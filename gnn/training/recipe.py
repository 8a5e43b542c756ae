"""Recipes: what is trained, on what, and how, as a strict TOML file.

An unknown key is an error that names the nearest known one; nothing is ever ignored in silence.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ...branching.settings import SETTINGS
from ...instances.families import Instance, get
from ..network import NetworkConfig

__all__ = ["InstanceSettings", "OptimiserSettings", "Recipe", "RecipeError", "SampleSettings", "load_recipe"]

Positive = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Probability = Annotated[float, Field(ge=0, le=1)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class RecipeError(ValueError):
    """A recipe that cannot be used; the message is one line."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class InstanceSettings(_Section):
    """The problems: one family, one size, and seeds that training and validation do not share."""

    family: str
    """Name of a family of ``instances``."""
    size: str
    """Size as the family reads it, e.g. ``300x600``."""
    parameters: dict[str, bool | int | float | str] = {}
    """Parameters of the family; the literature's where left out."""
    training_seed: Natural = 1_000_000
    """Seed of the first training instance; the next ones follow."""
    validation_seed: Natural = 2_000_000
    """Seed of the first validation instance."""
    limit: Positive = 10_000
    """Most instances for either purpose."""

    @model_validator(mode="after")
    def _fits(self) -> InstanceSettings:
        family = get(self.family)
        family.parse_size(self.size)
        family.parameters(**self.parameters)
        if abs(self.training_seed - self.validation_seed) < self.limit:
            raise ValueError(f"training and validation seeds are less than the limit of {self.limit} instances apart")
        return self

    def generate(self, seed: int) -> Instance:
        """The instance of this seed."""
        family = get(self.family)
        return family.generate(self.size, seed, family.parameters(**self.parameters))


class SampleSettings(_Section):
    """How an expert's decisions are collected."""

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
    """Simplex iterations of each of the expert's LPs; -1 for no limit."""
    settings: str = "clean"
    """Name of the set of SCIP parameters."""
    node_limit: Positive = 2000
    """Nodes after which a solve stops."""
    time_limit: PositiveFloat = 120.0
    """CPU seconds after which a solve stops: a safety net, for a solve that meets it is not reproducible."""

    @model_validator(mode="after")
    def _known(self) -> SampleSettings:
        if self.settings not in SETTINGS:
            raise ValueError(f"unknown settings {self.settings!r}; known are {', '.join(SETTINGS)}")
        return self


class OptimiserSettings(_Section):
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


class Recipe(_Section):
    """A training from the first instance to the checkpoint."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    """Name of the policy: that of its file."""
    learner: Literal["imitation"] = "imitation"
    seed: Natural = 0
    """Seed of the weights, of the order of the samples, and of the nodes at which the expert is asked."""
    threads: Positive = 1
    """Threads of torch."""
    instances: InstanceSettings
    samples: SampleSettings = SampleSettings()
    network: NetworkConfig = NetworkConfig()
    optimiser: OptimiserSettings = OptimiserSettings()


def load_recipe(path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe.

    Args:
        path: a TOML file.
        overrides: ``section.key=value``, the value in TOML (a bare word is a string).

    Raises:
        RecipeError: the file cannot be read, is no TOML, or holds a key or a value that makes no sense.
    """
    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(f"recipe {path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"recipe {path} is not valid TOML: {error}") from error
    for override in overrides:
        _override(content, override)
    try:
        return Recipe.model_validate(_tuples(content))
    except ValidationError as error:
        raise RecipeError(f"recipe {path}: {_first_complaint(error)}") from error


def _override(content: dict[str, Any], text: str) -> None:
    key, equals, value = text.partition("=")
    *sections, last = key.strip().split(".")
    if not equals or not last or not all(sections):
        raise RecipeError(f"cannot read {text!r}: expected key=value, such as optimiser.epochs=3")
    place = content
    for section in sections:
        place = place.setdefault(section, {})
        if not isinstance(place, dict):
            raise RecipeError(f"cannot set {key.strip()!r}: {section!r} is no section")
    try:
        place[last] = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        place[last] = value.strip()


def _tuples(value: Any) -> Any:
    """TOML knows lists only, the models have tuples only."""
    if isinstance(value, Mapping):
        return {key: _tuples(part) for key, part in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _first_complaint(error: ValidationError) -> str:
    problem = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] != "extra_forbidden":
        message = problem["msg"].removeprefix("Value error, ").splitlines()
        return f"{where}: {' '.join(message)}" if where else " ".join(message)
    known = list(_model_at(problem["loc"][:-1]).model_fields)
    near = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1, cutoff=0.0)
    return f"unknown key {where!r}; did you mean {near[0]!r}? (known here: {', '.join(known)})"


def _model_at(location: Sequence[int | str]) -> type[BaseModel]:
    model: type[BaseModel] = Recipe
    for part in location:
        annotation = model.model_fields[str(part)].annotation
        assert isinstance(annotation, type)
        assert issubclass(annotation, BaseModel)
        model = annotation
    return model
