"""How worker processes start: with one thread each, and deaf to signals that are the parent's to hear."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker

__all__ = ["ONE_THREAD", "deaf_to", "one_thread"]

ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)
"""Environment in which a process's libraries take one thread: several workers with several threads each would fight for the cores."""


@contextmanager
def one_thread() -> Iterator[None]:
    """Processes that are started in it have ``ONE_THREAD`` in their environment; this one's is as before afterwards.

    Thread pools are sized when their library is loaded: setting it in the worker's own code would come too late.
    """
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(ONE_THREAD)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def deaf_to(*numbers: signal.Signals) -> Iterator[None]:
    """Processes that are started in it inherit a mask of these signals, and are deaf to them from their first instruction on.

    Signals reach the whole group, and the parent decides what they mean. A process that masked them by itself would still hear them
    while it starts. They are blocked and not ignored, since SCIP would put a handler of its own in place of the latter.
    """
    resource_tracker.ensure_running()  # it changes the mask when it starts
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
