"""What every problem family is: a name, sizes, parameters and a generator."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from ..branching.complaints import first_complaint
from .build import build_model
from .draws import Draws
from .milp import Milp

if TYPE_CHECKING:
    from pyscipopt import Model

__all__ = ["MAX_SEED", "Family", "Instance", "Parameters", "Size", "check_seed"]

MAX_SEED = 2**63 - 1


def check_seed(seed: int) -> None:
    """Raise ValueError where a seed is out of range."""
    if not 0 <= seed <= MAX_SEED:
        raise ValueError(f"seed {seed} is outside 0 .. {MAX_SEED}")


_SEPARATOR = re.compile(r"[x/,]")


class Size(tuple[int, ...]):
    """The dimensions of an instance, e.g. rows and columns; printed as ``500x1000``."""

    __slots__ = ()

    def __str__(self) -> str:
        return "x".join(str(dimension) for dimension in self)


class Parameters(BaseModel):
    """A family's parameters beyond its size: all with the literature's defaults, misspelt ones refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


P = TypeVar("P", bound=Parameters)


@dataclass(frozen=True)
class Instance:
    """One generated problem.

    Attributes:
        name: as of ``Family.instance_name``, e.g. ``setcover-500x1000-s0``.
        family: the family's name.
        size: dimensions.
        seed: the seed it was drawn with.
        problem: the problem's arrays.
    """

    name: str
    family: str
    size: Size
    seed: int
    problem: Milp

    def to_model(self) -> Model:
        """Build a silent SCIP model of it."""
        return build_model(self.problem, self.name)


@dataclass(frozen=True)
class Family(Generic[P]):
    """A problem family.

    Attributes:
        name: as the command line and recipes spell it.
        title: one line for help texts.
        source: the publication that defines it.
        number: enters the random stream; never reused, never changed.
        version: rises whenever the same seed gives another instance.
        dimensions: what the size's numbers count, and the least allowed of each.
        default_size: the size the literature trains at.
        published_sizes: sizes of published experiments by name.
        parameters: the model of its parameters.
        draw: fills the arrays.
    """

    name: str
    title: str
    source: str
    number: int
    version: int
    dimensions: Mapping[str, int]
    default_size: Size
    published_sizes: Mapping[str, Size]
    parameters: type[P]
    draw: Callable[[Size, P, Draws], Milp]

    def parse_size(self, text: str) -> Size:
        """Read ``500x1000`` (or ``500/1000``), or the name of a published size.

        Raises:
            ValueError: it is neither; the message says what is expected.
        """
        text = text.strip()
        if text in self.published_sizes:
            return self.published_sizes[text]
        parts = _SEPARATOR.split(text)
        if not all(part.isascii() and part.isdigit() for part in parts):
            raise ValueError(self._complaint(text))
        return self._checked(Size(int(part) for part in parts), text)

    def read_parameters(self, assignments: Iterable[str]) -> P:
        """Read texts ``name=value``; what is left out keeps the literature's default.

        Raises:
            ValueError: a text is no assignment, names no parameter, or its value does not fit; one line.
        """
        values: dict[str, str] = {}
        for assignment in assignments:
            name, equals, value = (part.strip() for part in assignment.partition("="))
            if not equals:
                raise ValueError(f"a parameter is written NAME=VALUE, not {assignment!r}")
            if name in values:
                raise ValueError(f"parameter {name} is given twice")
            values[name] = value
        known = self.parameters.model_fields
        for name in values:
            if name not in known:
                raise ValueError(f"{self.name} has no parameter {name!r} (known: {', '.join(known)})")
        try:
            return self.parameters.model_validate_strings(values)
        except ValidationError as error:
            raise ValueError(first_complaint(error)) from None

    def instance_name(self, size: Size, seed: int, parameters: P) -> str:
        """Family, size, seed, and between them the parameters that are not the literature's: one problem, one name."""
        special = parameters.model_dump(mode="json", exclude_defaults=True)
        return "-".join([self.name, str(size), *(f"{key}={special[key]}" for key in sorted(special)), f"s{seed}"])

    def generate(self, size: Size | str, seed: int, parameters: P | None = None) -> Instance:
        """Generate one instance; the same arguments give the same instance on any machine.

        Args:
            size: dimensions, or text as for :meth:`parse_size`.
            seed: 0 .. 2^63 - 1.
            parameters: of the type ``self.parameters``; the literature's defaults if None.

        Raises:
            ValueError: size, seed or parameters do not fit the family.
        """
        size = self.parse_size(size) if isinstance(size, str) else self._checked(Size(size), str(Size(size)))
        check_seed(seed)
        if parameters is None:
            parameters = self.parameters()
        elif not isinstance(parameters, self.parameters):
            raise ValueError(f"{self.name} takes {self.parameters.__name__}, not {type(parameters).__name__}")
        problem = self.draw(size, parameters, Draws((self.number, *size, seed)))
        return Instance(self.instance_name(size, seed, parameters), self.name, size, seed, problem)

    def _checked(self, size: Size, text: str) -> Size:
        if len(size) != len(self.dimensions) or any(got < least for got, least in zip(size, self.dimensions.values(), strict=True)):
            raise ValueError(self._complaint(text))
        return size

    def _complaint(self, text: str) -> str:
        wanted = "x".join(f"<{label}>" for label in self.dimensions)
        least = ", ".join(f"{label} >= {count}" for label, count in self.dimensions.items())
        named = ", ".join(self.published_sizes)
        return f"{self.name} has sizes {wanted} ({least}), e.g. {self.default_size}, or one of {named}; not {text!r}"
