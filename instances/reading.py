"""A problem file becomes a SCIP model, and what goes wrong on the way becomes one sentence."""

from __future__ import annotations

import re
from pathlib import Path

from pyscipopt import Model

from .native_output import capture

__all__ = ["SUFFIXES", "ReadingError", "instance_name", "is_instance_name", "is_text", "read_model"]

SUFFIXES: tuple[str, ...] = (".mps", ".lp", ".cip")
"""Formats that are read, each also with ``.gz`` behind it."""

_SCIP_ERROR = re.compile(r"^\[[^\]]*\] ERROR: (.*)$", re.MULTILINE)


class ReadingError(ValueError):
    """The file is missing, or SCIP cannot make a problem of it. The message is one sentence that names the file."""


def instance_name(path: Path) -> str:
    """Return the file's name without its format, ``misc03`` for ``data/misc03.mps.gz``."""
    name = path.name.removesuffix(".gz")
    return name[: -len(suffix)] if (suffix := _suffix(name)) else name


def is_instance_name(name: str) -> bool:
    """Whether a file of this name can be read. The format may be in capitals, but not ``.gz``, by which SCIP knows what to unpack."""
    return _suffix(name.removesuffix(".gz")) is not None


def _suffix(name: str) -> str | None:
    return next((suffix for suffix in SUFFIXES if name.lower().endswith(suffix)), None)


def is_text(name: str) -> bool:
    """Whether a name can be written as UTF-8; bytes that could not be read as such are lone surrogates in it."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def read_model(path: Path) -> Model:
    """Read a problem file into a silent model.

    SCIP's reader reports its errors on the process's standard error; they are caught and become part of the exception.

    Args:
        path: ``.mps``, ``.lp`` or ``.cip``, also gzipped (``.mps.gz``).

    Raises:
        ReadingError: the file is missing or unreadable, of another format, damaged, or holds no problem.
    """
    _check_file(path)
    model = Model(problemName=instance_name(path))
    model.hideOutput()
    failure: Exception | None = None
    with capture() as output:
        try:
            model.readProblem(str(path.resolve()))
        except Exception as error:  # PySCIPOpt raises OSError, MemoryError or a bare Exception, by SCIP's return code
            failure = error
    if failure is not None:
        causes = _SCIP_ERROR.findall(output.text)
        cause = causes[0].strip().rstrip(".") if causes else str(failure)
        raise ReadingError(f"cannot read {path}: {cause}") from failure
    if not model.getNVars() and not model.getNConss():
        # SCIP's LP reader takes any text without a keyword for an empty problem.
        raise ReadingError(f"cannot read {path}: it holds neither variables nor constraints")
    return model


def _check_file(path: Path) -> None:
    if not path.exists():
        raise ReadingError(f"cannot read {path}: there is no such file")
    if not path.is_file():
        raise ReadingError(f"cannot read {path}: it is not a file")
    if not is_text(str(path.resolve())):  # PySCIPOpt takes names as UTF-8
        raise ReadingError(f"cannot read {str(path)!r}: its name, with those of its folders, must be valid UTF-8")
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise ReadingError(f"cannot read {path}: {error.strerror}") from error
    if not is_instance_name(path.name):
        known = ", ".join(SUFFIXES)
        raise ReadingError(f"cannot read {path}: its name must end in {known}, or in one of these and .gz")
