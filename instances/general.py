"""A mixture of random mixed-integer programs: what a rule trained on many kinds of problems should have seen.

No published source: rows of five kinds over binary, integer and continuous variables, some negative, all bounded. A
random point that satisfies every type and bound is drawn first and the sides are set around it, so every instance is
feasible; objective and matrix are integers or have few decimals, so files hold them exactly.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from .draws import Draws
from .family import Family, Parameters, Size
from .milp import INFINITY, FloatArray, LongArray, Milp, TypeArray, rows_from_entries

__all__ = ["FAMILY", "GeneralParameters"]

PACKING, COVERING, RANGED, EQUALITY, CHOICE = range(5)


class GeneralParameters(Parameters):
    """The mixture.

    Attributes:
        density: share of non-zero entries; no row has fewer than three, but for rows of the kind ``choice``, which have as many as were
            drawn on binary variables.
        binary: share of binary variables.
        integer: share of general integer variables; what is left is continuous.
        packing: weight of rows ``a x <= b`` with positive coefficients.
        covering: weight of rows ``a x >= b`` with positive coefficients.
        ranged: weight of rows ``b1 <= a x <= b2`` with coefficients of both signs.
        equality: weight of rows ``a x = b`` with coefficients of both signs, at least one on a continuous variable.
        choice: weight of rows that take exactly one of some binary variables.
    """

    density: float = Field(default=0.08, gt=0.0, le=1.0)
    binary: float = Field(default=0.5, gt=0.0, lt=1.0)
    integer: float = Field(default=0.25, ge=0.0, lt=1.0)
    packing: float = Field(default=0.35, ge=0.0)
    covering: float = Field(default=0.25, ge=0.0)
    ranged: float = Field(default=0.15, ge=0.0)
    equality: float = Field(default=0.15, ge=0.0)
    choice: float = Field(default=0.1, ge=0.0)

    @model_validator(mode="after")
    def _adds_up(self) -> GeneralParameters:
        if self.binary + self.integer >= 1.0:
            raise ValueError("binary and integer shares must leave room for continuous variables")
        if sum(self.weights) <= 0.0:
            raise ValueError("at least one kind of row needs a positive weight")
        return self

    @property
    def weights(self) -> tuple[float, ...]:
        """Weights of the kinds of rows, in the order of their numbers."""
        return (self.packing, self.covering, self.ranged, self.equality, self.choice)


def draw(size: Size, parameters: GeneralParameters, draws: Draws) -> Milp:
    """Draw the arrays.

    Raises:
        ValueError: too few variables for the shares of the types.
    """
    n_rows, n_variables = size
    types = _types(n_variables, parameters)
    lower, upper, point = _bounds_and_point(types, draws)
    kinds = np.searchsorted(np.cumsum(parameters.weights), draws.uniform(n_rows) * sum(parameters.weights), side="right").astype(np.int64)
    kinds = np.minimum(kinds, CHOICE)
    chosen = _support(kinds, types, point, parameters.density, draws)
    rows, columns = np.nonzero(chosen)
    values = draws.integers(1, 20, rows.size).astype(np.float64)
    values[(draws.uniform(rows.size) < 0.5) & np.isin(kinds[rows], (RANGED, EQUALITY))] *= -1.0
    values[kinds[rows] == CHOICE] = 1.0
    offsets, columns32, values = rows_from_entries(rows, columns, values, n_rows)

    activity = np.bincount(rows, weights=values * point[columns], minlength=n_rows)
    mass = np.bincount(rows, weights=np.abs(values) * (upper - lower)[columns], minlength=n_rows)
    slack_below, slack_above = (np.floor(0.1 * draws.uniform(n_rows) * mass) for _ in range(2))
    exact = np.isin(kinds, (EQUALITY, CHOICE))
    lhs = np.where(exact, activity, np.where(kinds == PACKING, -INFINITY, activity - slack_below))
    rhs = np.where(exact, activity, np.where(kinds == COVERING, INFINITY, activity + slack_above))
    return Milp(
        objective=_objective(kinds[rows], columns, n_variables, draws),
        lower=lower,
        upper=upper,
        types=types,
        row_offsets=offsets,
        columns=columns32,
        values=values,
        lhs=lhs,
        rhs=rhs,
    )


def _types(n_variables: int, parameters: GeneralParameters) -> TypeArray:
    """Exact shares, at least three binary variables and one continuous; in SCIP's own order, which files then keep."""
    n_binary = max(3, round(parameters.binary * n_variables))
    n_integer = min(round(parameters.integer * n_variables), n_variables - n_binary - 1)
    if n_integer < 0:
        raise ValueError(f"{n_variables} variables are too few for {n_binary} binary ones and a continuous one")
    return np.repeat(np.array([b"B", b"I", b"C"]), [n_binary, n_integer, n_variables - n_binary - n_integer])


def _bounds_and_point(types: TypeArray, draws: Draws) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Bounds, some of them negative, and an integral point within them: the sides then are integers."""
    n = types.size
    lower = np.where(draws.uniform(n) < 0.3, -draws.integers(1, 10, n), 0)
    upper = lower + draws.integers(2, 20, n)
    binary = types == b"B"
    lower[binary], upper[binary] = 0, 1
    point = lower + np.floor(draws.uniform(n) * (upper - lower + 1))
    point[binary] = draws.uniform(int(binary.sum())) < 0.4
    if not point[binary].any():
        point[np.flatnonzero(binary)[0]] = 1.0  # a choice needs one that is taken
    return lower.astype(np.float64), upper.astype(np.float64), point


def _support(kinds: LongArray, types: TypeArray, point: FloatArray, density: float, draws: Draws) -> NDArray[np.bool_]:
    """Which variables each row holds, (rows, variables)."""
    n_rows, n_variables = kinds.size, types.size
    ranks = draws.uniform(n_rows, n_variables)
    chosen = ranks < density
    nearest = np.argsort(ranks, axis=1, kind="stable")
    chosen[np.arange(n_rows)[:, None], nearest[:, :3]] = True
    continuous = np.flatnonzero(types == b"C")
    equality = np.flatnonzero(kinds == EQUALITY)
    chosen[equality, continuous[draws.integers(0, continuous.size - 1, equality.size)]] = True

    # A choice: one binary variable that the point takes, and binary ones that it leaves.
    choice = np.flatnonzero(kinds == CHOICE)
    left, taken = np.flatnonzero((types == b"B") & (point == 0.0)), np.flatnonzero((types == b"B") & (point == 1.0))
    chosen[choice] = False
    chosen[np.ix_(choice, left)] = ranks[np.ix_(choice, left)] < max(density, min(1.0, 4.0 / max(1, left.size)))
    chosen[choice, taken[draws.integers(0, taken.size - 1, choice.size)]] = True
    return chosen


def _objective(entry_kinds: LongArray, columns: LongArray, n_variables: int, draws: Draws) -> FloatArray:
    """Costs that pull against the rows: down where packing rows hold a variable back, up where covering rows push it."""
    packed = np.bincount(columns[entry_kinds == PACKING], minlength=n_variables)
    covered = np.bincount(columns[entry_kinds == COVERING], minlength=n_variables)
    pull = np.where(packed == covered, np.where(draws.uniform(n_variables) < 0.5, -1, 1), np.sign(covered - packed))
    return (pull * draws.integers(1, 50, n_variables)).astype(np.float64)


_SMALL = Size((60, 80))

FAMILY = Family(
    name="general",
    title="mixture of random mixed-integer programs: rows x variables",
    source="none; feasible by construction",
    number=6,
    version=1,
    dimensions={"rows": 1, "variables": 4},
    default_size=_SMALL,
    published_sizes={"small": _SMALL, "medium": Size((100, 150)), "large": Size((200, 300))},
    parameters=GeneralParameters,
    draw=draw,
)
