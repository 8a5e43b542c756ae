"""From arrays to a SCIP model, without a Python loop over matrix entries.

PySCIPOpt builds a row from an expression, a dictionary with one Python object per entry. Here each row goes to SCIP's
own ``SCIPcreateConsBasicLinear`` as a slice of the arrays.
"""

from __future__ import annotations

import ctypes

import numpy as np
from numpy.typing import NDArray
from pyscipopt import Model

from .libscip import OKAY, functions, pointer
from .milp import Milp

__all__ = ["build_model"]

Addresses = NDArray[np.uintp]

_VARIABLE_TYPES = {b"B": 0, b"I": 1, b"C": 3}  # enum SCIP_Vartype; 2 is implicit integer


def build_model(problem: Milp, name: str) -> Model:
    """Build a silent SCIP model.

    Args:
        problem: the arrays.
        name: the model's name.

    Raises:
        RuntimeError: SCIP refused a variable or a row.
        ImportError: libscip lacks an entry point.
    """
    model = Model(problemName=name)
    model.hideOutput()
    if problem.maximise:
        model.setMaximize()
    scip = pointer(model)
    variables = _add_variables(scip, problem)
    try:
        _add_rows(scip, problem, variables)
    finally:
        _release(scip, "SCIPreleaseVar", variables)
    return model


def _add_variables(scip: int, problem: Milp) -> Addresses:
    """Create and add all variables, (n,) addresses; the caller releases them."""
    library = functions()
    create, add = library["SCIPcreateVarBasic"], library["SCIPaddVar"]
    variables = np.zeros(problem.n_variables, dtype=np.uintp)
    address, stride = variables.ctypes.data, variables.itemsize
    names = problem.names or [f"x{index}" for index in range(problem.n_variables)]
    kinds = [_VARIABLE_TYPES[kind] for kind in problem.types.tolist()]
    columns = zip(names, problem.lower.tolist(), problem.upper.tolist(), problem.objective.tolist(), kinds, strict=True)
    slot = ctypes.c_void_p()
    place = ctypes.addressof(slot)
    for index, (label, lower, upper, cost, kind) in enumerate(columns):
        _check(create(scip, place, label.encode(), lower, upper, cost, kind), "SCIPcreateVarBasic", label)
        ctypes.memmove(address + index * stride, place, stride)
        _check(add(scip, slot), "SCIPaddVar", label)
    return variables


def _add_rows(scip: int, problem: Milp, variables: Addresses) -> None:
    library = functions()
    create, add, release = library["SCIPcreateConsBasicLinear"], library["SCIPaddCons"], library["SCIPreleaseCons"]
    pointers = np.ascontiguousarray(variables[problem.columns])
    values = np.ascontiguousarray(problem.values)
    first_pointer, first_value = pointers.ctypes.data, values.ctypes.data
    offsets, lhs, rhs = problem.row_offsets.tolist(), problem.lhs.tolist(), problem.rhs.tolist()
    slot = ctypes.c_void_p()
    place = ctypes.addressof(slot)
    for row in range(problem.n_rows):
        begin, end = offsets[row], offsets[row + 1]
        code = create(scip, place, b"c%d" % row, end - begin, first_pointer + 8 * begin, first_value + 8 * begin, lhs[row], rhs[row])
        _check(code, "SCIPcreateConsBasicLinear", f"c{row}")
        code = add(scip, slot)
        release(scip, place)
        _check(code, "SCIPaddCons", f"c{row}")


def _release(scip: int, function: str, addresses: Addresses) -> None:
    release = functions()[function]
    begin, stride = addresses.ctypes.data, addresses.itemsize
    for index in np.flatnonzero(addresses).tolist():
        release(scip, begin + index * stride)


def _check(code: int, function: str, what: str) -> None:
    if code != OKAY:
        raise RuntimeError(f"{function} failed on {what} with SCIP return code {code}")
