"""A mixed-integer linear program as arrays, before it is a solver's model or a file.

Generators fill these arrays with vectorised NumPy; :mod:`.build` is the one place that turns them into a model.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["INFINITY", "FloatArray", "IntArray", "LongArray", "Milp", "TypeArray", "ragged_ranges", "rows_from_entries"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int32]
LongArray = NDArray[np.int64]
TypeArray = NDArray[np.bytes_]

INFINITY = 1e20
"""SCIP's infinity: bounds and sides at or beyond it are absent."""

VARIABLE_TYPES = b"BIC"


@dataclass(frozen=True)
class Milp:
    """A problem ``min or max c x`` subject to ``lhs <= A x <= rhs`` and ``lower <= x <= upper``, with n variables and m rows.

    Attributes:
        objective: (n,) f8, coefficients c.
        lower: (n,) f8, lower bounds, ``-INFINITY`` where absent.
        upper: (n,) f8, upper bounds, ``INFINITY`` where absent.
        types: (n,) S1, ``B`` binary, ``I`` integer, ``C`` continuous.
        row_offsets: (m + 1,) i8, where each row begins in the entries.
        columns: (nnz,) i4, variable of each entry, rising within a row.
        values: (nnz,) f8, coefficient of each entry, never zero.
        lhs: (m,) f8, left sides, ``-INFINITY`` where absent.
        rhs: (m,) f8, right sides, ``INFINITY`` where absent.
        maximise: the sense of the objective.
        names: (n,) names of the variables, or None for ``x0, x1, ...``.
    """

    objective: FloatArray
    lower: FloatArray
    upper: FloatArray
    types: TypeArray
    row_offsets: LongArray
    columns: IntArray
    values: FloatArray
    lhs: FloatArray
    rhs: FloatArray
    maximise: bool = False
    names: tuple[str, ...] | None = field(default=None)

    def __post_init__(self) -> None:
        """Check shapes and ranges: a generator's slip should not surface inside the solver."""
        n, m, nnz = self.n_variables, self.n_rows, self.n_entries
        for label, array, dtype, length in (
            ("objective", self.objective, np.float64, n),
            ("lower", self.lower, np.float64, n),
            ("upper", self.upper, np.float64, n),
            ("types", self.types, np.dtype("S1"), n),
            ("row_offsets", self.row_offsets, np.int64, m + 1),
            ("columns", self.columns, np.int32, nnz),
            ("values", self.values, np.float64, nnz),
            ("lhs", self.lhs, np.float64, m),
            ("rhs", self.rhs, np.float64, m),
        ):
            _check_array(label, array, np.dtype(dtype), length)
        if self.row_offsets[0] != 0 or self.row_offsets[-1] != nnz or (np.diff(self.row_offsets) < 0).any():
            raise ValueError("row_offsets must rise from 0 to the number of entries")
        if nnz and (int(self.columns.min()) < 0 or int(self.columns.max()) >= n):
            raise ValueError("an entry names a variable that does not exist")
        if not np.isin(self.types, np.frombuffer(VARIABLE_TYPES, dtype="S1")).all():
            raise ValueError("types must be B, I or C")
        if (self.lower > self.upper).any() or (self.lhs > self.rhs).any():
            raise ValueError("a bound or a side is crossed")
        if self.names is not None and len(self.names) != n:
            raise ValueError(f"{len(self.names)} names for {n} variables")

    @property
    def n_variables(self) -> int:
        """Number of variables n."""
        return int(self.objective.shape[0])

    @property
    def n_rows(self) -> int:
        """Number of rows m."""
        return int(self.lhs.shape[0])

    @property
    def n_entries(self) -> int:
        """Number of non-zero coefficients."""
        return int(self.columns.shape[0])

    @property
    def density(self) -> float:
        """Share of the matrix that is not zero."""
        return self.n_entries / max(1, self.n_rows * self.n_variables)

    def checksum(self) -> str:
        """SHA-256 over all arrays (little-endian) and the sense: equal checksums, equal problems."""
        digest = hashlib.sha256(b"max" if self.maximise else b"min")
        for array in (self.objective, self.lower, self.upper, self.row_offsets, self.columns, self.values, self.lhs, self.rhs, self.types):
            contiguous: NDArray[Any] = np.ascontiguousarray(array)
            digest.update(contiguous.astype(contiguous.dtype.newbyteorder("<"), copy=False).tobytes())
        return digest.hexdigest()


def _check_array(label: str, array: NDArray[Any], dtype: np.dtype[Any], length: int) -> None:
    if array.dtype != dtype or array.shape != (length,):
        raise ValueError(f"{label} must be {dtype} of shape ({length},), not {array.dtype} of shape {array.shape}")


def rows_from_entries(
    rows: NDArray[np.integer[Any]],
    columns: NDArray[np.integer[Any]],
    values: FloatArray | float,
    n_rows: int,
) -> tuple[LongArray, IntArray, FloatArray]:
    """Sort entries by row, then by column, into compressed rows.

    Args:
        rows: (nnz,) row of each entry.
        columns: (nnz,) variable of each entry; no entry may occur twice.
        values: (nnz,) coefficients, or one for all.
        n_rows: number of rows, empty ones included.

    Returns:
        ``row_offsets`` (n_rows + 1,) i8, ``columns`` (nnz,) i4 and ``values`` (nnz,) f8.
    """
    rows64 = rows.astype(np.int64)
    width = int(columns.max()) + 1 if columns.size else 1
    keys = rows64 * width + columns
    offsets = np.zeros(n_rows + 1, dtype=np.int64)
    np.cumsum(np.bincount(rows64, minlength=n_rows), out=offsets[1:])
    if isinstance(values, float):
        keys.sort()
        return offsets, (keys % width).astype(np.int32), np.full(keys.size, values)
    order = np.argsort(keys, kind="stable")
    return offsets, columns[order].astype(np.int32), values[order]


def ragged_ranges(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Concatenate ``0 .. count - 1`` for every count: the place of each entry within its group."""
    starts = np.cumsum(counts) - counts
    return np.arange(int(counts.sum()), dtype=np.int64) - np.repeat(starts, counts)
