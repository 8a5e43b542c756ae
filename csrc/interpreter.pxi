# Included by _scip.pyx: where SCIP and the interpreter meet, messages that Python writes and exceptions that signals raise.

import sys as _sys


cdef class _Witness:
    """Stands in for a stream and notes whether anybody writes to it."""

    cdef bint written

    def write(self, text):
        self.written = True

    def flush(self):
        pass


cdef bint _python_writes(SCIP* scip) except -1:
    """Whether Python code writes a model's messages, or SCIP's errors of the whole process: see ``python_writes``.

    SCIP does not tell whose its message handlers are, so each is given an empty message. No byte code runs meanwhile, so no
    other thread sees the witness.
    """
    cdef _Witness witness = _Witness()
    output, errors = _sys.stdout, _sys.stderr
    _sys.stdout = _sys.stderr = witness
    try:
        scip_api.SCIPmessagePrintInfo(scip_api.SCIPgetMessagehdlr(scip), "%s", "")
        scip_api.SCIPmessagePrintError("%s", "")
    finally:
        _sys.stdout, _sys.stderr = output, errors
    return witness.written


def python_writes(model):
    """Whether Python code writes what SCIP has to say, as after ``Model.redirectOutput()``.

    PySCIPOpt's code does so without asking for the interpreter's lock. So who lets SCIP go on without the lock must see first that
    this is not so. A model that is silent (``hideOutput``) has no messages to be written. Errors have one handler in the whole
    process: after one model was redirected, the answer is yes for all.

    Raises:
        RuntimeError: the model was freed.
    """
    return _python_writes(_pointer(model))


def shielded(escape):
    """Decorator of a plugin's callback that SCIP calls: no exception leaves it, for that would end the solve.

    Python runs signal handlers where a function begins, before any ``try`` in it, so that what they raise could not be caught
    there. This shell is none of Python's byte code.

    Args:
        escape: called as ``escape(plugin, exception, callback)`` where the callback raised; what it returns is the answer to SCIP.
    """

    def shell(callback):
        def shield(self, *arguments):
            try:
                return callback(self, *arguments)
            except BaseException as error:
                return escape(self, error, callback)

        shield.__doc__ = callback.__doc__
        return shield

    return shell
