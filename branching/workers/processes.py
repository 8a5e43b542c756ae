"""How worker processes start: with one thread each, deaf to signals that are the parent's to hear."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import lru_cache
from multiprocessing import resource_tracker
from multiprocessing.context import SpawnProcess

__all__ = ["ONE_THREAD", "start", "starting"]

_LOCK = threading.Lock()

ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)
"""Environment in which a process's libraries take one thread: several workers with several threads each would fight for the cores."""


def start(process: SpawnProcess) -> None:
    """Start a worker that may outlive the thread that wants it.

    One thread starts them all and stays as long as this program, for the kernel ends a worker with the *thread* that started it
    (``process_worker.serve``).

    Raises:
        OSError: it cannot be started.
    """
    starting_it = _starter(os.getpid()).submit(_start, process)
    try:
        starting_it.result()
    except BaseException:
        wait((starting_it,))
        if starting_it.exception() is None:  # it was an interrupt, and nobody knows of the process
            process.kill()
            process.join()
        raise


@lru_cache(maxsize=1)
def _starter(pid: int) -> ThreadPoolExecutor:  # noqa: ARG001, a fork has none of its parent's threads
    return ThreadPoolExecutor(1, "starter-of-workers")


def _start(process: SpawnProcess) -> None:
    with starting(signal.SIGINT, signal.SIGTERM):
        process.start()


@contextmanager
def starting(*deaf_to: signal.Signals) -> Iterator[None]:
    """Processes that are started in it have ``ONE_THREAD`` in their environment, and these signals blocked from their first instruction on.

    Signals reach the whole group, and the parent decides what they mean. A process that blocked them by itself would still hear them
    while it starts. They are blocked and not ignored, since SCIP would put a handler of its own in place of the latter.
    """
    with _LOCK, _one_thread():  # the environment belongs to all threads
        resource_tracker.ensure_running()  # it changes the mask when it starts
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, deaf_to)
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@contextmanager
def _one_thread() -> Iterator[None]:
    # Thread pools are sized when their library is loaded: setting it in the worker's own code would come too late.
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
