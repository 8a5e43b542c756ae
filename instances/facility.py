"""Capacitated facility location after Cornuejols et al.

G. Cornuejols, R. Sridharan and J. M. Thizy, "A comparison of heuristics and relaxations for the capacitated plant
location problem", European Journal of Operational Research 50, 1991; ranges as in Gasse et al. 2019.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from .draws import Draws
from .family import Family, Parameters, Size
from .milp import INFINITY, Milp, rows_from_entries

__all__ = ["FAMILY", "FacilityParameters"]

_DECIMALS = 6  # so that 15 digits in a file hold every cost exactly


class FacilityParameters(Parameters):
    """Total capacity as a multiple of the total demand, and whether a customer may be shared among facilities."""

    ratio: float = Field(default=5.0, gt=1.0)
    continuous_assignment: bool = True


def draw(size: Size, parameters: FacilityParameters, draws: Draws) -> Milp:
    """Draw the arrays.

    Variables are the openings y_j, then the shares x_ij, customer by customer. Rows: every customer served, capacity of
    every facility, total capacity at least total demand, and x_ij <= y_j.
    """
    n_customers, n_facilities = size
    demands = draws.integers(5, 35, n_customers)
    raw_capacities = draws.integers(10, 160, n_facilities)
    fixed_costs = draws.integers(100, 110, n_facilities) * np.sqrt(raw_capacities) + draws.integers(0, 90, n_facilities)
    customers, facilities = draws.uniform(n_customers, 1, 2), draws.uniform(1, n_facilities, 2)
    squares = (customers - facilities) ** 2
    transport = 10.0 * np.sqrt(squares[..., 0] + squares[..., 1]) * demands[:, None]
    total_demand = float(demands.sum())
    # The factor is above one, but rounding could still leave the total a little short.
    capacities = np.rint(raw_capacities * (parameters.ratio * total_demand / float(raw_capacities.sum())))
    capacities[0] += max(0.0, total_demand - float(capacities.sum()))

    customer = np.repeat(np.arange(n_customers), n_facilities)
    facility = np.tile(np.arange(n_facilities), n_customers)
    n_shares = n_customers * n_facilities
    share = n_facilities + np.arange(n_shares)
    capacity_rows = n_customers + np.arange(n_facilities)
    total_row = n_customers + n_facilities
    tight_rows = total_row + 1 + np.arange(n_shares)
    m = total_row + 1 + n_shares
    offsets, columns, values = rows_from_entries(
        np.concatenate([customer, n_customers + facility, capacity_rows, np.full(n_facilities, total_row), tight_rows, tight_rows]),
        np.concatenate([share, share, np.arange(n_facilities), np.arange(n_facilities), share, facility]),
        np.concatenate(
            [
                np.ones(n_shares),
                demands[customer].astype(np.float64),
                -capacities,
                capacities,
                np.ones(n_shares),
                -np.ones(n_shares),
            ]
        ),
        m,
    )
    lhs, rhs = np.full(m, -INFINITY), np.zeros(m)
    lhs[:n_customers] = rhs[:n_customers] = 1.0
    lhs[total_row], rhs[total_row] = total_demand, INFINITY
    types = np.full(n_facilities + n_shares, b"C" if parameters.continuous_assignment else b"B", dtype="S1")
    types[:n_facilities] = b"B"
    return Milp(
        objective=np.round(np.concatenate([fixed_costs, transport.ravel()]), _DECIMALS),
        lower=np.zeros(types.size),
        upper=np.ones(types.size),
        types=types,
        row_offsets=offsets,
        columns=columns,
        values=values,
        lhs=lhs,
        rhs=rhs,
    )


_SMALL = Size((100, 100))

FAMILY = Family(
    name="facility",
    title="capacitated facility location: customers x facilities",
    source="Cornuejols, Sridharan & Thizy 1991, as in Gasse et al. 2019",
    number=3,
    version=1,
    dimensions={"customers": 1, "facilities": 1},
    default_size=_SMALL,
    published_sizes={
        "small": _SMALL,
        "medium": Size((200, 100)),
        "large": Size((400, 100)),
        "rl2branch": Size((35, 35)),
        "rl2branch-transfer": Size((60, 35)),
    },
    parameters=FacilityParameters,
    draw=draw,
)
