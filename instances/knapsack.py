"""Multiple knapsack after Fukunaga.

A. S. Fukunaga, "A branch-and-bound algorithm for hard multiple knapsack problems", Annals of Operations Research 184,
2011; with the ranges of Scavuzzo et al. 2022: weights in 10 .. 19, profits within ten of the weight, and capacities that
hold half of the total weight.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from .draws import Draws
from .family import Family, Parameters, Size
from .milp import INFINITY, FloatArray, LongArray, Milp

__all__ = ["FAMILY", "KnapsackParameters"]

_ATTEMPTS = 1000


class KnapsackParameters(Parameters):
    """Range of the weights (``high`` itself is left out, as in the published generator) and how profits follow them."""

    low: int = Field(default=10, ge=1)
    high: int = Field(default=20, ge=2)
    scheme: Literal["uncorrelated", "weakly-correlated", "strongly-correlated", "subset-sum"] = "weakly-correlated"

    @model_validator(mode="after")
    def _ordered(self) -> KnapsackParameters:
        if self.low >= self.high:
            raise ValueError(f"low {self.low} must be below high {self.high}")
        return self


def draw(size: Size, parameters: KnapsackParameters, draws: Draws) -> Milp:
    """Draw the arrays: variable ``item + items * knapsack`` puts the item there; a row per knapsack, then one per item.

    Raises:
        ValueError: half of the weight, shared among the knapsacks, leaves one that holds no item.
    """
    n_items, n_knapsacks = size
    weights = draws.integers(parameters.low, parameters.high - 1, n_items)
    profits = _profits(weights, parameters, draws)
    capacities = _capacities(weights, n_knapsacks, size, draws)
    n, m = n_items * n_knapsacks, n_knapsacks + n_items
    items = np.arange(n_items, dtype=np.int32)
    by_item = (items[:, None] + n_items * np.arange(n_knapsacks, dtype=np.int32)).ravel()
    offsets = np.concatenate([np.arange(n_knapsacks) * n_items, n + np.arange(n_items + 1) * n_knapsacks])
    return Milp(
        objective=np.tile(profits, n_knapsacks),
        lower=np.zeros(n),
        upper=np.ones(n),
        types=np.full(n, b"B", dtype="S1"),
        row_offsets=offsets.astype(np.int64),
        columns=np.concatenate([np.arange(n, dtype=np.int32), by_item]),
        values=np.concatenate([np.tile(weights.astype(np.float64), n_knapsacks), np.ones(n)]),
        lhs=np.full(m, -INFINITY),
        rhs=np.concatenate([capacities.astype(np.float64), np.ones(n_items)]),
        maximise=True,
    )


def _profits(weights: LongArray, parameters: KnapsackParameters, draws: Draws) -> FloatArray:
    spread = parameters.high - parameters.low
    if parameters.scheme == "uncorrelated":
        return draws.integers(parameters.low, parameters.high - 1, weights.size).astype(np.float64)
    if parameters.scheme == "weakly-correlated":
        least = np.maximum(weights - spread, 1)
        return least.astype(np.float64) + np.floor(draws.uniform(weights.size) * (weights + spread - least))
    if parameters.scheme == "strongly-correlated":
        return weights.astype(np.float64) + spread / 10
    return weights.astype(np.float64)


def _capacities(weights: LongArray, n_knapsacks: int, size: Size, draws: Draws) -> LongArray:
    """Between 0.4 and 0.6 of an equal share each; the last takes what half of the weight leaves, and must hold an item.

    With many knapsacks the others can take more than half; such draws, infeasible as they stand, are made again.
    """
    total, lightest = int(weights.sum()), int(weights.min())
    low, high = 4 * total // (10 * n_knapsacks), 6 * total // (10 * n_knapsacks)
    capacities = np.zeros(n_knapsacks, dtype=np.int64)
    for _ in range(_ATTEMPTS):
        if n_knapsacks > 1 and high > low:
            capacities[:-1] = draws.integers(low, high - 1, n_knapsacks - 1)
        capacities[-1] = total // 2 - int(capacities[:-1].sum())
        if int(capacities.min()) >= lightest:
            return capacities
    raise ValueError(f"knapsack {size}: half of the total weight {total} cannot fill {n_knapsacks} knapsacks")


_SMALL, _MEDIUM = Size((100, 6)), Size((100, 12))

FAMILY = Family(
    name="knapsack",
    title="multiple knapsack: items x knapsacks",
    source="Fukunaga 2011, as in Scavuzzo et al. 2022",
    number=5,
    version=1,
    dimensions={"items": 1, "knapsacks": 1},
    default_size=_SMALL,
    published_sizes={"small": _SMALL, "medium": _MEDIUM, "rl2branch": _SMALL, "rl2branch-transfer": _MEDIUM},
    parameters=KnapsackParameters,
    draw=draw,
)
