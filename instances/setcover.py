"""Set cover after Balas and Ho.

E. Balas and A. Ho, "Set covering algorithms using cutting planes, heuristics, and subgradient optimization: a
computational study", Mathematical Programming Study 12, 1980; with the density and costs of Gasse et al. 2019.

Every column covers at least two rows, every row is covered by at least one column, the matrix has exactly
``int(rows * columns * density)`` entries, and costs are integers from 1 to ``max_cost``.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from .draws import Draws
from .family import Family, Parameters, Size
from .milp import INFINITY, LongArray, Milp, ragged_ranges, rows_from_entries

__all__ = ["FAMILY", "SetCoverParameters"]


class SetCoverParameters(Parameters):
    """Share of non-zero entries and the highest cost."""

    density: float = Field(default=0.05, gt=0.0, le=1.0)
    max_cost: int = Field(default=100, ge=1)


def draw(size: Size, parameters: SetCoverParameters, draws: Draws) -> Milp:
    """Draw the arrays.

    Columns get two entries each and the rest at random. Their rows come off one list, column by column: a permutation
    of all rows first, so that every row occurs, and uniformly random rows behind it.

    Raises:
        ValueError: the density leaves fewer than two entries for a column, or no entry for a row.
    """
    n_rows, n_columns = size
    n_entries = int(n_rows * n_columns * parameters.density)
    if n_entries < max(2 * n_columns, n_rows):
        raise ValueError(
            f"set cover {size} at density {parameters.density:g} has {n_entries} entries; "
            f"two for every column and one for every row need {max(2 * n_columns, n_rows)}"
        )
    extra = draws.sample(n_columns * (n_rows - 2), n_entries - 2 * n_columns) % n_columns
    counts = 2 + np.bincount(extra, minlength=n_columns)
    columns = np.repeat(np.arange(n_columns, dtype=np.int64), counts)
    keys = columns * n_rows

    # The first rows in the list are all different, so they cannot clash; behind them, clashing draws are made again.
    keys[:n_rows] += draws.permutation(n_rows)
    keys = _distinct_rows(keys, n_rows, columns, draws)

    offsets, entry_columns, values = rows_from_entries(keys % n_rows, columns, 1.0, n_rows)
    return Milp(
        objective=draws.integers(1, parameters.max_cost, n_columns).astype(np.float64),
        lower=np.zeros(n_columns),
        upper=np.ones(n_columns),
        types=np.full(n_columns, b"B", dtype="S1"),
        row_offsets=offsets,
        columns=entry_columns,
        values=values,
        lhs=np.ones(n_rows),
        rhs=np.full(n_rows, INFINITY),
    )


def _distinct_rows(keys: LongArray, n_rows: int, columns: LongArray, draws: Draws) -> LongArray:
    """Fill in random rows behind the fixed first ``n_rows`` entries, no row twice in a column.

    Args:
        keys: (nnz,) column times ``n_rows``, plus the row for the entries that are fixed.
        n_rows: number of rows.
        columns: (nnz,) column of each entry, rising.
        draws: random stream.

    Returns:
        (nnz,) column times ``n_rows`` plus row, all different.
    """
    n_entries = keys.size
    counts = np.bincount(columns)
    if 2 * int(counts.max()) > n_rows:
        # Columns that take most of the rows would be redrawn for long: rank all rows instead, the fixed ones first.
        ranks = draws.words(counts.size * n_rows) | np.uint64(1)
        ranks[keys[:n_rows]] = 0
        order = np.argsort(ranks.reshape(counts.size, n_rows), axis=1, kind="stable")
        return columns * n_rows + order[columns, ragged_ranges(counts)]
    keys = keys.copy()
    keys[n_rows:] += draws.integers(0, n_rows - 1, n_entries - n_rows)
    positions = np.arange(n_entries, dtype=np.int64)
    while True:
        order = keys * n_entries + positions  # equal keys stand in the order in which they were drawn
        order.sort()
        ordered_keys, places = np.divmod(order, n_entries)
        again = places[1:][ordered_keys[1:] == ordered_keys[:-1]]
        if again.size == 0:
            return keys
        again.sort()
        keys[again] = columns[again] * n_rows + draws.integers(0, n_rows - 1, again.size)


_SMALL, _LARGE = Size((500, 1000)), Size((1000, 1000))

FAMILY = Family(
    name="setcover",
    title="set cover: rows x columns",
    source="Balas & Ho 1980, as in Gasse et al. 2019",
    number=1,
    version=1,
    dimensions={"rows": 3, "columns": 1},
    default_size=_SMALL,
    published_sizes={
        "small": _SMALL,
        "medium": _LARGE,
        "large": Size((2000, 1000)),
        "rl2branch": Size((400, 750)),
        "rl2branch-transfer": _SMALL,
    },
    parameters=SetCoverParameters,
    draw=draw,
)
