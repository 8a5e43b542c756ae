"""Free-format MPS text of a problem, every number exact.

SCIP's own writer cuts numbers to 15 digits and lists the variables in another order, so that the file is solved on
another way than the model it came from. Here a file read back is the model that :func:`.build.build_model` makes, number
by number and in the same order, as long as variables come binary, integer, continuous.
"""

from __future__ import annotations

import numpy as np

from .milp import INFINITY, FloatArray, Milp

__all__ = ["mps_text"]


def mps_text(problem: Milp, name: str) -> str:
    """Return the problem in free MPS format.

    Args:
        problem: the arrays.
        name: the problem's name, without blanks.

    Raises:
        ValueError: a row has no side, or an integer variable no bound.
    """
    has_left, has_right = problem.lhs > -INFINITY, problem.rhs < INFINITY
    if not (has_left | has_right).all():
        raise ValueError("a row without sides has no place in an MPS file")
    if ((problem.types != b"C") & (problem.lower <= -INFINITY) & (problem.upper >= INFINITY)).any():
        raise ValueError("an integer variable without bounds cannot be told from a continuous one in this form of MPS")
    equal = problem.lhs == problem.rhs
    senses = np.where(equal, "E", np.where(has_right, "L", "G")).tolist()
    sides = np.where(has_right, problem.rhs, problem.lhs)
    ranged = np.flatnonzero(has_left & has_right & ~equal)

    lines = [f"NAME {name}", "OBJSENSE", "    MAX" if problem.maximise else "    MIN", "ROWS", " N obj"]
    lines += [f" {sense} c{row}" for row, sense in enumerate(senses)]
    lines += ["COLUMNS", *_columns(problem), "RHS"]
    lines += [f" rhs c{row} {side}" for row, side in enumerate(_numbers(sides)) if side != "0"]
    if ranged.size:
        widths = _numbers(problem.rhs[ranged] - problem.lhs[ranged])
        lines += ["RANGES", *(f" rng c{row} {width}" for row, width in zip(ranged.tolist(), widths, strict=True))]
    lines += ["BOUNDS", *_bounds(problem), "ENDATA", ""]
    return "\n".join(lines)


def _columns(problem: Milp) -> list[str]:
    """One line per entry, variable by variable."""
    names = _names(problem)
    order = np.argsort(problem.columns, kind="stable")
    rows = np.repeat(np.arange(problem.n_rows), np.diff(problem.row_offsets))[order].tolist()
    values = _numbers(problem.values[order])
    ends = np.cumsum(np.bincount(problem.columns, minlength=problem.n_variables)).tolist()
    costs = _numbers(problem.objective)
    lines: list[str] = []
    begin = 0
    for index in range(problem.n_variables):
        name, end = names[index], ends[index]
        if costs[index] != "0" or begin == end:  # a variable without entries still has to be named
            lines.append(f" {name} obj {costs[index]}")
        lines += [f" {name} c{row} {value}" for row, value in zip(rows[begin:end], values[begin:end], strict=True)]
        begin = end
    return lines


def _bounds(problem: Milp) -> list[str]:
    """Both bounds of every variable, written out: readers differ on what a missing one means.

    The bounds' types BV, LI and UI also make a variable an integer. Markers around columns would do too, but SCIP's
    reader then changes the variables' order.
    """
    lowers, uppers = _numbers(problem.lower), _numbers(problem.upper)
    lines: list[str] = []
    for name, kind, lower, upper, low, high in zip(
        _names(problem), problem.types.tolist(), problem.lower.tolist(), problem.upper.tolist(), lowers, uppers, strict=True
    ):
        if kind == b"B" and (low, high) == ("0", "1"):
            lines.append(f" BV bnd {name}")
            continue
        low_type, high_type = ("LO", "UP") if kind == b"C" else ("LI", "UI")
        lines.append(f" {low_type} bnd {name} {low}" if lower > -INFINITY else f" MI bnd {name}")
        lines.append(f" {high_type} bnd {name} {high}" if upper < INFINITY else f" PL bnd {name}")
    return lines


def _names(problem: Milp) -> tuple[str, ...]:
    return problem.names or tuple(f"x{index}" for index in range(problem.n_variables))


def _numbers(values: FloatArray) -> list[str]:
    """Shortest text that reads back as the same float, integers without a point."""
    return [str(int(value)) if value == int(value) and abs(value) < 2**53 else repr(value) for value in values.tolist()]
