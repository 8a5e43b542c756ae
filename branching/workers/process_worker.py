"""A worker process from the inside."""

from __future__ import annotations

import ctypes
import faulthandler
import multiprocessing
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from .pool import described

__all__ = ["LOADED", "UP", "serve"]

UP, LOADED = b"up", b"loaded"
"""What a worker says before its answer: that it has started, and that it has all that the task needs, so that the task begins."""


def serve(pipe: Connection, log: str, stays: bool) -> None:
    """Life of a worker: tasks come in, results or the errors for which there are none go out.

    A task comes as a pickled pair: the function with what its tasks share, pickled, or None where the worker has them; and the task,
    pickled.

    Args:
        pipe: connection to the parent.
        log: file to which what a crash leaves behind is written, and all output unless it stays.
        stays: whether it waits for further tasks after the first.
    """
    _die_with_parent()
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND)
    if not stays:
        sys.stdout.flush()
        sys.stderr.flush()
        for stream in (1, 2):  # what a solver prints is for the cause of a crash, not for the terminal
            os.dup2(descriptor, stream)
    faulthandler.enable(descriptor)
    worker = _Worker(pipe)
    with suppress(EOFError, OSError):  # the parent is gone, or waits no longer
        pipe.send_bytes(UP)
        while True:
            pipe.send_bytes(worker.answer(pipe.recv_bytes()))


class _Worker:
    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._function: Callable[..., Any]
        self._shared: list[Any]

    def answer(self, message: bytes) -> bytes:
        """A pickled result and None, or None and a line on why there is no result."""
        try:
            program, task = pickle.loads(message)
            if program is not None:
                self._function, *self._shared = pickle.loads(program)
            self._pipe.send_bytes(LOADED)
            return pickle.dumps((self._function(pickle.loads(task), *self._shared), None))
        except Exception as error:
            return pickle.dumps((None, described(error)))


def _die_with_parent() -> None:
    """End this process when its parent ends: nobody waits for its answer."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
    # The thread has no turn while a solve holds the interpreter, for hours perhaps. The kernel needs none; what it watches is the
    # thread that started this process, see ``processes.start``.
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
        if os.getppid() != parent.pid:
            os._exit(1)
