"""How the columns of a state enter a network; read without torch."""

from __future__ import annotations

__all__ = ["LIMIT", "LOGARITHMIC_COLUMNS", "MISSING_COLUMNS"]

LOGARITHMIC_COLUMNS = frozenset(
    {
        "solution_value",
        "incumbent_value",
        "average_incumbent_value",
        "root_solution_value",
        "bias",
        "pseudocost_down",
        "pseudocost_up",
        "pseudocost_count_down",
        "pseudocost_count_up",
        "inferences_down",
        "inferences_up",
        "conflict_length_down",
        "conflict_length_up",
    }
)
"""Columns without a natural bound: ``sign(x) log(1 + |x|)`` is normalised in place of x."""

MISSING_COLUMNS = frozenset({"incumbent_value", "average_incumbent_value", "root_solution_value"})
"""Columns that are NaN where there is nothing to tell; each brings a flag column along."""

LIMIT = 10.0
"""Normalised values are clipped here: one column far outside the fitted data must not drown the others."""
