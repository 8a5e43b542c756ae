"""The file into which ``revibranch solve --solution`` writes the best solution."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from ..benchmarks.run import WITHOUT_OPTIMUM
from ..branching.files import write_atomically

if TYPE_CHECKING:
    from pyscipopt import Model

__all__ = ["SolutionFile"]


class SolutionFile:
    """Where the best solution goes; what is there already stays until there is a better thing to put in its place.

    Raises:
        ValueError: it is one of the files that are read or that the command prints into, or cannot be written.
    """

    def __init__(self, path: Path, *read: str | Path) -> None:
        self._path = path
        self.complaint = ""
        """Why nothing was written."""
        if path.exists() and (not path.is_file() or any(Path(other).exists() and path.samefile(other) for other in read)):
            raise ValueError(f"cannot write the solution to {path}: it is no regular file, or one of those that are read")
        if path.exists() and any(_is_open_as(descriptor, path) for descriptor in (1, 2)):
            raise ValueError(f"cannot write the solution to {path}: that is where standard output or standard error goes")
        try:
            self._target = path.resolve()
            writable = os.access(self._target.parent, os.W_OK) and not self._target.is_symlink()
        except RuntimeError:  # links that lead round in a circle; Python 3.13 gives back the link
            writable = False
        if not writable:
            raise ValueError(f"cannot write the solution to {path}: its folder is not there, or nothing may be written there")

    def keep(self, model: Model) -> None:
        """Write the best solution as SCIP writes it: a line for each variable of the problem's file, zeros too.

        Whatever fails is the ``complaint``: the solve is done, and its result is still to be told.
        """
        if model.getStatus() in WITHOUT_OPTIMUM or not model.getNSols():
            self.complaint = f"there is no solution to write to {self._path}"
            return
        try:
            write_atomically(self._target, _text(model))
        except Exception as error:
            self.complaint = f"the solution could not be written: {error}"


def _is_open_as(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:  # it is closed
        return False


def _text(model: Model) -> bytes:
    best = model.getBestSol()
    status = f"solution status: {model.getStatus()}\n".encode()
    try:
        lines = [f"{variable.name} {model.getSolVal(best, variable):.17g}" for variable in model.getVars()]
    except UnicodeDecodeError:  # names of another encoding reach Python not at all: SCIP writes them as they are, to 15 digits
        with TemporaryDirectory() as folder:
            path = Path(folder) / "best.sol"
            model.writeBestSol(str(path), write_zeros=True)
            return status + path.read_bytes()
    return status + ("\n".join([f"objective value: {model.getSolObjVal(best):.17g}", *lines]) + "\n").encode()
