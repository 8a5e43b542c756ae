"""The few of SCIP's C functions that building a model needs and PySCIPOpt does not offer, through ctypes.

libscip is already loaded, as a dependency of PySCIPOpt's extension module; looking a name up through that module finds
it. The functions below have had the same signature since SCIP 8.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import TYPE_CHECKING, Any

import pyscipopt

if TYPE_CHECKING:
    from pyscipopt import Model

__all__ = ["OKAY", "functions", "pointer"]

OKAY = 1
"""SCIP's return code for success."""

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


def pointer(model: Model) -> int:
    """Return the address of the model's SCIP; the model keeps it."""
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    address = get(model.to_ptr(give_ownership=False), b"scip")
    assert isinstance(address, int)
    return address


@cache
def functions() -> dict[str, Any]:
    """Look all functions up, once.

    Raises:
        ImportError: libscip lacks one of them.
    """
    handle = ctypes.CDLL(pyscipopt.scip.__file__)
    found: dict[str, Any] = {}
    for name, arguments in _SIGNATURES.items():
        try:
            function = getattr(handle, name)
        except AttributeError:
            raise ImportError(f"the libscip of pyscipopt {pyscipopt.__version__} has no {name}") from None
        function.argtypes, function.restype = arguments, ctypes.c_int
        found[name] = function
    return found
