"""Starting processes that are deaf to signals: they reach the whole group, and the parent decides what they mean."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker

__all__ = ["deaf_to"]


@contextmanager
def deaf_to(*numbers: signal.Signals) -> Iterator[None]:
    """Processes that are started in it inherit a mask of these signals, and are deaf to them from their first instruction on.

    One that masked them by itself would still hear them while it starts. They are blocked and not ignored, since SCIP would put a
    handler of its own in place of the latter.
    """
    resource_tracker.ensure_running()  # it changes the mask when it starts
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
