"""Recipes: what is trained, on what, and how, as a strict TOML file.

An unknown key is an error that names the nearest known one; nothing is ever ignored in silence.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ValidationError, model_validator

from ...branching.complaints import first_complaint
from ..config import NetworkConfig
from .errors import TrainingError
from .instance_section import InstanceSettings
from .reinforcement_recipe import ReinforcementRecipe
from .run_folder import recipe_changes
from .sections import OptimiserSettings, PolicyName, SampleSettings, Section, Seed, Threads

__all__ = ["InstanceSettings", "OptimiserSettings", "Recipe", "RecipeError", "ReinforcementRecipe", "SampleSettings", "load_recipe"]


class RecipeError(TrainingError):
    """A recipe that cannot be used; the message is one line."""


class Recipe(Section):
    """A training by imitation, from the first instance to the checkpoint."""

    name: PolicyName
    """Name of the policy: that of its file."""
    learner: Literal["imitation"] = "imitation"
    seed: Seed = 0
    """Seed of the weights, of the order of the samples, and of the nodes at which the expert is asked."""
    threads: Threads = 1
    """Threads of torch."""
    mixes_pseudocosts: bool = False
    """``Policy.mixes_pseudocosts`` of the policy that is made; training itself never mixes."""
    instances: InstanceSettings
    samples: SampleSettings = SampleSettings()
    network: NetworkConfig = NetworkConfig()
    optimiser: OptimiserSettings = OptimiserSettings()

    @model_validator(mode="after")
    def _fits(self) -> Recipe:
        if self.network.classes:
            raise ValueError(f"learner imitation needs a network with one score (network.classes = 0), not {self.network.classes}")
        return self


def load_recipe(path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> Recipe | ReinforcementRecipe:
    """Read a recipe.

    Args:
        path: a TOML file.
        overrides: ``section.key=value``, the value in TOML (a bare word is a string, and so is a number where only text makes sense).
            Those that a run noted in its recipe (``run_folder.recipe_text``) come before them.

    Raises:
        RecipeError: the file cannot be read, is no TOML, or holds a key or a value that makes no sense.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        content = tomllib.loads(text)
    except OSError as error:
        raise RecipeError(f"recipe {path}: {error.strerror or error}") from error
    except ValueError as error:  # also text that is no UTF-8, and a number of thousands of digits
        raise RecipeError(f"recipe {path} is not valid TOML: {error}") from error
    for override in (*recipe_changes(text), *overrides):
        _override(content, override)
    model: type[Recipe] | type[ReinforcementRecipe] = Recipe if content.get("learner", "imitation") == "imitation" else ReinforcementRecipe
    try:
        return model.model_validate(_tuples(content))
    except ValidationError as error:
        raise RecipeError(f"recipe {path}: {_complaint(error, model)}") from error


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
    except ValueError:
        place[last] = value.strip()
    if not isinstance(place[last], str) and _is_text([*sections, last]):  # a size of 500 is no number
        place[last] = value.strip()


def _is_text(location: Sequence[str]) -> bool:
    """Whether this key of a recipe holds text and nothing else. One that no recipe has does not: its complaint comes later."""
    try:
        annotation = _model_at(ReinforcementRecipe, location[:-1]).model_fields[location[-1]].annotation
    except (KeyError, StopIteration):
        return False
    return set(get_args(annotation) or (annotation,)) <= {str, type(None)}


def _tuples(value: Any) -> Any:
    """TOML knows lists only, the models have tuples only."""
    if isinstance(value, Mapping):
        return {key: _tuples(part) for key, part in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _complaint(error: ValidationError, model: type[Recipe] | type[ReinforcementRecipe]) -> str:
    problem = error.errors(include_url=False)[0]
    if problem["type"] != "extra_forbidden":
        return first_complaint(error)
    where = ".".join(str(part) for part in problem["loc"])
    kinds: dict[type[BaseModel], str] = {Recipe: "imitation", ReinforcementRecipe: "reinforcement"}
    for other, kind in kinds.items():
        if where in other.model_fields:
            return f"{where!r} belongs into recipes of {kind}, and this is one of {kinds[model]} (by its learner)"
    known = list(_model_at(model, problem["loc"][:-1]).model_fields)
    near = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1, cutoff=0.0)
    return f"unknown key {where!r}; did you mean {near[0]!r}? (known here: {', '.join(known)})"


def _model_at(model: type[BaseModel], location: Sequence[int | str]) -> type[BaseModel]:
    """The section that a location within the recipe lies in."""
    for part in location:
        if isinstance(part, int):  # an entry of a list of sections
            continue
        annotation: Any = model.model_fields[part].annotation
        inner = [candidate for candidate in (annotation, *get_args(annotation)) if isinstance(candidate, type)]
        model = next(candidate for candidate in inner if issubclass(candidate, BaseModel))
    return model
