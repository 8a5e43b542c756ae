"""How solves are counted, by every room: when one is settled, and the mean of many."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["SETTLED", "shifted_geometric_mean"]

SETTLED = frozenset({"optimal", "infeasible", "unbounded", "inforunbd"})
"""SCIP's statuses of a solve that came to its end; all others are limits, interrupts and failures."""


def shifted_geometric_mean(values: NDArray[np.float64] | Sequence[float], shift: float) -> float:
    """exp(mean(log(x + shift))) - shift; NaN without values."""
    array = np.asarray(values, dtype=np.float64)
    return float(np.exp(np.log(array + shift).mean())) - shift if array.size else math.nan
