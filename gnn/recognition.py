"""Which problem family a model belongs to, by cheap facts of its presolved structure.

Read once, when a solve's first branching is due: types and objective of the variables, and what kinds the LP's rows are that
stem from constraints (cuts say nothing of the model). No more than ``MOST_ROWS`` rows and ``MOST_VARIABLES`` variables are
looked at, at even distances. PySCIPOpt makes an object of every variable and row first, some microseconds each: milliseconds for
most models, two seconds for a million variables.

The rule, with shares of the rows (``row_kind``) in a minimisation:

- ``setcover``: binary, almost all objective coefficients positive, almost all rows covers.
- ``independent-set`` and ``auction``: binary, almost all objective coefficients negative, almost all rows edges or cliques; an
  independent set where most of them are edges or all coefficients are equal, an auction otherwise.
- ``knapsack``: binary, almost all objective coefficients negative, almost all rows knapsacks, cliques or edges, and both
  knapsacks and cliques hold a good share of the entries (every item goes into one of several knapsacks).
- ``facility``: few binary variables and many continuous ones, almost all objective coefficients positive, most rows bounds, and
  almost all others demands, capacities and the supply.

"Almost all" is ``ALMOST_ALL``; a model with fewer than ``FEWEST_ROWS`` such rows belongs nowhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, isclose
from typing import TYPE_CHECKING, Any

from ..branching.settings import INFINITY

if TYPE_CHECKING:
    from pyscipopt import Model

__all__ = ["FAMILIES", "Structure", "read_structure", "recognise", "row_kind"]

FAMILIES = ("setcover", "auction", "independent-set", "facility", "knapsack")
"""What can be recognised."""
ALMOST_ALL = 0.95
FEWEST_ROWS = 5
MOST_ROWS = 400
MOST_VARIABLES = 2000
MOST_ENTRIES = 64
"""Entries of a row whose variables' types are asked for."""

_FROM_CONSTRAINT = 2  # SCIP_ROWORIGINTYPE_CONS
_CLOSE = 1e-6


@dataclass(frozen=True, slots=True)
class Structure:
    """What recognition looks at; shares are 0 .. 1."""

    binary: float
    """Share of binary variables."""
    integer: float
    """Share of general integer variables; the rest is continuous (implied integers included)."""
    costly: float
    """Share of variables whose objective coefficient is positive in the transformed problem, which is a minimisation."""
    profitable: float
    """Share of variables whose objective coefficient is negative there."""
    equal: bool
    """Whether all nonzero objective coefficients are the same."""
    rows: int
    """Rows looked at."""
    kinds: Mapping[str, float]
    """Share of each kind of rows, see ``row_kind``; kinds without rows are missing."""
    entries: Mapping[str, float]
    """Share of each kind in the rows' entries."""

    def share(self, *kinds: str) -> float:
        """Share of the rows that are of one of these kinds."""
        return sum(self.kinds.get(kind, 0.0) for kind in kinds)


def read_structure(model: Model) -> Structure:
    """The structure of a model whose root LP is solved.

    Args:
        model: in SCIP's solving stage.
    """
    variables = _spread(model.getVars(transformed=True), MOST_VARIABLES)
    types = Counter(str(variable.vtype()) for variable in variables)
    objective = [variable.getObj() for variable in variables]
    nonzero = [value for value in objective if value]
    pure = types["BINARY"] + types["INTEGER"] == len(variables)

    counts: Counter[str] = Counter()
    entries: Counter[str] = Counter()
    rows = [row for row in model.getLPRowsData() if row.getOrigintype() == _FROM_CONSTRAINT and not row.isRemovable() and row.getNNonz()]
    for row in _spread(rows, MOST_ROWS):
        values = row.getVals()
        lhs, rhs = (side - row.getConstant() if abs(side) < INFINITY else side for side in (row.getLhs(), row.getRhs()))
        kind = row_kind(values, lhs, rhs, None if pure else _continuous(row))
        counts[kind] += 1
        entries[kind] += len(values)
    total, mass, n = max(1, counts.total()), max(1, entries.total()), max(1, len(variables))
    return Structure(
        binary=types["BINARY"] / n,
        integer=types["INTEGER"] / n,
        costly=sum(value > 0 for value in objective) / n,
        profitable=sum(value < 0 for value in objective) / n,
        equal=bool(nonzero) and all(isclose(value, nonzero[0], rel_tol=_CLOSE) for value in nonzero),
        rows=counts.total(),
        kinds={kind: count / total for kind, count in counts.items()},
        entries={kind: count / mass for kind, count in entries.items()},
    )


def recognise(structure: Structure) -> tuple[str | None, str]:
    """The family of a model and the facts that say so; None where it resembles none of ``FAMILIES``."""
    share = structure.share
    few = f"{structure.binary:.0%} binary, {structure.costly:.0%} with a cost, {structure.profitable:.0%} with a profit"
    facts = ", ".join(f"{part:.0%} {kind}" for kind, part in sorted(structure.kinds.items(), key=lambda item: (-item[1], item[0])))
    return _family(structure, share("edge", "clique")), f"variables: {few}; rows: {facts or 'none'}"


def _family(structure: Structure, packing: float) -> str | None:
    share = structure.share
    if structure.rows < FEWEST_ROWS:
        return None
    if structure.binary == 1.0 and structure.costly >= ALMOST_ALL:
        return "setcover" if share("cover") >= ALMOST_ALL else None
    if structure.binary == 1.0 and structure.profitable >= ALMOST_ALL:
        if packing >= ALMOST_ALL:
            return "independent-set" if structure.equal or share("edge") >= 0.5 else "auction"
        both = min(structure.entries.get("knapsack", 0.0), 1.0 - structure.entries.get("knapsack", 0.0))
        return "knapsack" if packing + share("knapsack", "partition") >= ALMOST_ALL and both >= 0.15 else None
    if 0.0 < structure.binary <= 0.5 and structure.integer == 0.0 and structure.costly >= ALMOST_ALL:
        rest = share("demand", "capacity", "supply")
        if share("bound") >= 0.5 and share("bound") + rest >= ALMOST_ALL and share("demand") > 0.0:
            return "facility"
    return None


def row_kind(values: Sequence[float], lhs: float, rhs: float, continuous: Sequence[bool] | None = None) -> str:
    """The kind of a row lhs <= a x <= rhs, in whichever orientation it is written.

    Args:
        values: coefficients, none of them 0.
        lhs: left-hand side; -1e20 and below for none.
        rhs: right-hand side; 1e20 and above for none.
        continuous: which variables are continuous, of the row's first entries; None where none is.

    Returns:
        ``cover`` (sum >= 1), ``edge`` (two variables, sum <= 1), ``clique`` (more of them), ``partition`` (sum = 1),
        ``knapsack`` (positive coefficients, <=), ``supply`` (positive coefficients, >=): all of these over integral
        variables; ``bound`` (a continuous variable below a multiple of an integral one), ``demand`` (a sum of continuous
        variables >= or = a positive side), ``capacity`` (a sum of continuous variables below a multiple of an integral
        one); or ``other``.
    """
    if all(value < 0 for value in values) or (lhs > -INFINITY and rhs >= INFINITY and any(value < 0 for value in values)):
        values, lhs, rhs = [-value for value in values], -rhs, -lhs
    lower, upper = lhs > -INFINITY, rhs < INFINITY
    positive = all(value > 0 for value in values)
    if continuous is not None and any(continuous):
        if positive and all(continuous):
            return "demand" if lower and lhs > 0 else "other"
        integral = [value for value, flag in zip(values, continuous, strict=False) if not flag]
        if positive or lower or not upper or abs(rhs) > _CLOSE or len(integral) != 1 or integral[0] > 0:
            return "other"
        if sum(value < 0 for value in values) > 1:
            return "other"
        return "bound" if len(values) == 2 else "capacity"
    if not positive:
        return "other"
    unit = isclose(min(values), max(values), rel_tol=_CLOSE)
    most = rhs / values[0] if upper else inf
    least = lhs / values[0] if lower else -inf
    if unit and upper and isclose(most, 1.0, rel_tol=_CLOSE):
        if lower and isclose(least, 1.0, rel_tol=_CLOSE):
            return "partition"
        if least <= 0.0:
            return "edge" if len(values) == 2 else "clique"
    if unit and not upper and isclose(least, 1.0, rel_tol=_CLOSE):
        return "cover"
    if lower and upper:
        return "other"
    return "knapsack" if upper else "supply"


def _continuous(row: Any) -> list[bool]:
    return [column.getVar().vtype() not in ("BINARY", "INTEGER") for column in row.getCols()[:MOST_ENTRIES]]


def _spread(items: Sequence[Any], most: int) -> Sequence[Any]:
    """No more than ``most`` of the items, at even distances."""
    if len(items) <= most:
        return items
    return [items[place * len(items) // most] for place in range(most)]
