"""From arrays to a SCIP model, without a Python loop over matrix entries.

PySCIPOpt builds a row from an expression, a dictionary with one Python object per entry. Here each row goes to SCIP's
own ``SCIPcreateConsBasicLinear`` as a slice of the arrays, through ctypes: libscip is already loaded, as a dependency
of PySCIPOpt's extension module, and the names below have had the same signature since SCIP 8.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import numpy as np
import pyscipopt
from pyscipopt import Model

from .milp import Milp

__all__ = ["build_model"]

_VARIABLE_TYPES = {b"B": 0, b"I": 1, b"C": 3}  # enum SCIP_Vartype; 2 is implicit integer
_OKAY = 1

_pointer, _double, _int, _text = ctypes.c_void_p, ctypes.c_double, ctypes.c_int, ctypes.c_char_p
_SIGNATURES: dict[str, list[Any]] = {
    # scip, &var, name, lb, ub, obj, type
    "SCIPcreateVarBasic": [_pointer, _pointer, _text, _double, _double, _double, _int],
    "SCIPaddVar": [_pointer, _pointer],
    "SCIPreleaseVar": [_pointer, _pointer],
    # scip, &cons, name, nvars, vars, vals, lhs, rhs
    "SCIPcreateConsBasicLinear": [_pointer, _pointer, _text, _int, _pointer, _pointer, _double, _double],
    "SCIPaddCons": [_pointer, _pointer],
    "SCIPreleaseCons": [_pointer, _pointer],
}


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
    scip = _scip_pointer(model)
    variables = _add_variables(scip, problem)
    try:
        _add_rows(scip, problem, variables)
    finally:
        _release(scip, "SCIPreleaseVar", variables)
    return model


def _add_variables(scip: int, problem: Milp) -> np.ndarray[Any, np.dtype[np.uintp]]:
    """Create and add all variables, (n,) addresses; the caller releases them."""
    library = _library()
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


def _add_rows(scip: int, problem: Milp, variables: np.ndarray[Any, np.dtype[np.uintp]]) -> None:
    library = _library()
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


def _release(scip: int, function: str, addresses: np.ndarray[Any, np.dtype[np.uintp]]) -> None:
    release = _library()[function]
    begin, stride = addresses.ctypes.data, addresses.itemsize
    for index in np.flatnonzero(addresses).tolist():
        release(scip, begin + index * stride)


def _check(code: int, function: str, what: str) -> None:
    if code != _OKAY:
        raise RuntimeError(f"{function} failed on {what} with SCIP return code {code}")


def _scip_pointer(model: Model) -> int:
    capsule = model.to_ptr(give_ownership=False)
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    address = get(capsule, b"scip")
    assert isinstance(address, int)
    return address


@cache
def _library() -> dict[str, Any]:
    """Look the entry points up once; dlsym on the extension module searches the libscip that it is linked to."""
    handle = ctypes.CDLL(pyscipopt.scip.__file__)
    functions: dict[str, Any] = {}
    for name, arguments in _SIGNATURES.items():
        try:
            function = getattr(handle, name)
        except AttributeError:
            raise ImportError(f"the libscip of pyscipopt {pyscipopt.__version__} has no {name}") from None
        function.argtypes, function.restype = arguments, ctypes.c_int
        functions[name] = function
    return functions
