# Textually included by every module that calls SCIP: each extension module fills a table of its own at import, and
# reaches SCIP only through a handle that knows whether its model still lives.

import os as _os
import weakref as _weakref

from cpython.pycapsule cimport PyCapsule_GetPointer
from cpython.weakref cimport PyWeakref_NewRef

SUPPORTED_SCIP_MAJORS = (9, 10)


def _load_table():
    import pyscipopt

    host = pyscipopt.scip.__file__
    missing = revi_scip_load(_os.fsencode(host))
    if missing != NULL:
        if missing[0] == 0:
            raise ImportError(f"PySCIPOpt's extension module {host} is not loaded in this process")
        raise ImportError(
            f"the SCIP library behind {host} (PySCIPOpt {pyscipopt.__version__}) has no function {missing.decode()}; "
            f"revibranch supports SCIP {min(SUPPORTED_SCIP_MAJORS)} to {max(SUPPORTED_SCIP_MAJORS)}"
        )
    major = scip_api.SCIPmajorVersion()
    if major not in SUPPORTED_SCIP_MAJORS:
        raise ImportError(
            f"SCIP {major}.{scip_api.SCIPminorVersion()} behind PySCIPOpt {pyscipopt.__version__} is not supported; "
            f"revibranch supports SCIP {min(SUPPORTED_SCIP_MAJORS)} to {max(SUPPORTED_SCIP_MAJORS)}"
        )


_load_table()


cdef class _Handle:
    """SCIP's pointer of a model, held without keeping the model alive."""

    cdef SCIP* pointer
    cdef object model

    def __init__(self, model):
        self.model = PyWeakref_NewRef(model, None)
        self.pointer = _pointer(model)

    cdef SCIP* get(self) except NULL:
        model = self.model()
        if model is None or _pointer(model) != self.pointer:
            raise RuntimeError("the model was freed")
        return self.pointer

    cdef SCIP* solving(self, str what) except NULL:
        cdef SCIP* scip = self.get()
        cdef int stage = scip_api.SCIPgetStage(scip)
        if stage != REVI_STAGE_SOLVING:
            raise RuntimeError(f"{what} needs SCIP's solving stage; the model is in stage {stage}")
        return scip


cdef SCIP* _pointer(model) except NULL:
    """SCIP's pointer of a model."""
    try:
        capsule = model.to_ptr(give_ownership=False)
    except ValueError:  # Model.free() leaves the object without SCIP, and no capsule holds NULL
        raise RuntimeError("the model was freed") from None
    return <SCIP*> PyCapsule_GetPointer(capsule, "scip")


cdef int _check(int code, str what) except -1:
    if code != REVI_OKAY:
        raise RuntimeError(f"{what} failed with SCIP return code {code}")
    return 0
