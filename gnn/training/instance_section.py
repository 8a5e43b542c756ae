"""The section of a recipe that names its instances: a family, a mixture of families, or files."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from ...instances.families import Family, get
from ...instances.family import MAX_SEED
from ...instances.files import InstanceSource, ParameterValue, resolve_all
from .sections import Positive, Section, Seed

__all__ = ["InstanceSettings", "Kind"]


def _single(value: Any) -> Any:
    # Else pydantic would complain once for each type that it could be, at a place of that type's name.
    if not isinstance(value, ParameterValue):
        raise ValueError("a parameter is a number, a text, true or false")
    return value


_Value = Annotated[ParameterValue, BeforeValidator(_single)]


class Kind(Section):
    """One family at one size."""

    family: str
    """Name of a family of ``instances``."""
    size: str
    """Size as the family reads it, e.g. ``300x600``."""
    parameters: dict[str, _Value] = Field(default_factory=dict)
    """Parameters of the family; the literature's where left out."""

    @model_validator(mode="after")
    def _fits(self) -> Kind:
        try:
            self.source(0)
        except ValidationError as error:
            raise _of_parameters(error, get(self.family)) from None
        return self

    def source(self, seed: int, size: str | None = None) -> InstanceSource:
        """The instance of this seed, of this size or of another one."""
        family = get(self.family)
        return InstanceSource.generated(family, family.parse_size(size or self.size), seed, family.parameters(**self.parameters))


class InstanceSettings(Section):
    """The problems, by number: those of training and those of validation, which are never the same.

    One of three: ``family`` and ``size`` (with ``parameters``), whose instances follow each other by seed; ``mixture``, whose
    kinds take turns; ``training_files`` and ``validation_files``, in their natural order and, behind the last, from the first
    again.
    """

    family: str | None = None
    """Name of a family of ``instances``."""
    size: str | None = None
    """Size as the family reads it, e.g. ``300x600``."""
    parameters: dict[str, _Value] = Field(default_factory=dict)
    """Parameters of the family; the literature's where left out."""
    mixture: tuple[Kind, ...] = ()
    """Families and sizes that take turns."""
    training_files: tuple[str, ...] = ()
    """Folders, patterns, manifests or files."""
    validation_files: tuple[str, ...] = ()
    """The same, for validation."""
    training_seed: Seed = 1_000_000
    """Seed of the first training instance that is generated; the next ones follow."""
    validation_seed: Seed = 2_000_000
    """Seed of the first validation instance that is generated."""
    limit: Positive = 10_000
    """Most instances for either purpose; of files, the most solves."""

    @model_validator(mode="after")
    def _fits(self) -> InstanceSettings:
        named = self.family is not None or self.size is not None or bool(self.parameters)
        files = bool(self.training_files or self.validation_files)
        if named + bool(self.mixture) + files != 1:
            raise ValueError("instances are either family and size, or mixture, or training_files and validation_files")
        if named and (self.family is None or self.size is None):
            raise ValueError("instances of a family need both family and size")
        if files:
            if not (self.training_files and self.validation_files):
                raise ValueError("instances from files need both training_files and validation_files")
            if seeds := self.model_fields_set & {"training_seed", "validation_seed"}:
                raise ValueError(f"instances from files have no seeds: leave out {min(seeds)}")
            trained, validated = (set(map(_origin, _sources(specs))) for specs in (self.training_files, self.validation_files))
            if common := trained & validated:
                raise ValueError(f"{len(common)} instances are in both training_files and validation_files, such as {min(common)}")
        elif abs(self.training_seed - self.validation_seed) < self.limit:
            raise ValueError(f"training and validation seeds are less than the limit of {self.limit} instances apart")
        elif (last := max(self.training_seed, self.validation_seed) + self.limit - 1) > MAX_SEED:
            raise ValueError(f"the last of {self.limit} instances would have the seed {last}, above {MAX_SEED}")
        if named:
            self._kinds()
        return self

    @property
    def label(self) -> str | None:
        """The family, where all instances are of one."""
        families = {kind.family for kind in self._kinds()} if not self.training_files else set()
        return families.pop() if len(families) == 1 else None

    def training(self, number: int, size: str | None = None) -> InstanceSource:
        """The training instance of this number, from 0; behind the limit they begin again.

        Args:
            number: 0, 1, ...
            size: another size than that of the section, for instances of one family.
        """
        return self._source(self.training_files, self.training_seed, number % self.limit, size)

    def validation(self, number: int) -> InstanceSource:
        """The validation instance of this number, from 0."""
        return self._source(self.validation_files, self.validation_seed, number % self.limit, None)

    def validations(self, count: int) -> Iterator[InstanceSource]:
        """The first validation instances: so many, or all that there are if they are fewer."""
        most = len(_sources(self.validation_files)) if self.validation_files else count
        return (self.validation(number) for number in range(min(count, most, self.limit)))

    def content(self) -> str:
        """Checksum of all problems that the section names, by what they are and not by their names alone; 64 hexadecimal digits."""
        if self.training_files:
            purposes = {"training": self.training_files, "validation": self.validation_files}
            lines = [f"{purpose} {source.name} {source.content()}" for purpose, files in purposes.items() for source in _sources(files)]
        else:
            lines = [f"{kind.family} {kind.source(0).content()}" for kind in self._kinds()]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def _kinds(self) -> tuple[Kind, ...]:
        if self.mixture:
            return self.mixture
        assert self.family is not None
        assert self.size is not None
        return (Kind(family=self.family, size=self.size, parameters=self.parameters),)

    def _source(self, files: tuple[str, ...], first_seed: int, number: int, size: str | None) -> InstanceSource:
        if files:
            sources = _sources(files)
            turn, place = divmod(number, len(sources))
            source = sources[place]
            return replace(source, name=f"{source.name}-turn{turn}") if turn else source
        kinds = self._kinds()
        return kinds[number % len(kinds)].source(first_seed + number, size)


def _of_parameters(error: ValidationError, family: Family[Any]) -> ValidationError:
    """What is wrong with a family's parameters, at their place in the recipe and in terms of the family.

    As it is, pydantic would take their names for keys of the section that they are checked in.
    """
    known = list(family.parameters.model_fields)

    def details(problem: Any) -> InitErrorDetails:
        text = problem["msg"]
        if problem["type"] == "extra_forbidden":
            name = str(problem["loc"][-1])
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            text = f"{family.name} has no parameter {name!r}{hint} (known: {', '.join(known)})"
        kind = PydanticCustomError("family_parameter", "{text}", {"text": text})
        return InitErrorDetails(type=kind, loc=("parameters", *problem["loc"]), input=problem["input"])

    return ValidationError.from_exception_data(error.title, [details(problem) for problem in error.errors()])


def _origin(source: InstanceSource) -> str:
    return source.name if source.path is None else str(Path(source.path).resolve())


@lru_cache(maxsize=16)
def _sources(specs: tuple[str, ...]) -> tuple[InstanceSource, ...]:
    return tuple(resolve_all(specs))
