"""A task for worker processes; its module imports next to nothing, for every worker imports it."""

from __future__ import annotations

import os
import signal
import sys
import time


def work(task: int) -> int:
    if task == 1:
        raise ValueError("one\nis refused")
    if task == 2:
        os._exit(7)
    if task == 3:
        print("busy", flush=True)
        time.sleep(600)
    return 10 * task


def threads(task: str) -> str:
    """What tells the worker's libraries how many threads to take."""
    return os.environ["OMP_NUM_THREADS"]


def caught(task: str) -> list[str]:
    """What reaches a solver that handles signals by itself, as SCIP does, when the whole group gets them."""
    names: list[str] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: names.append(signal.Signals(number).name))
        os.kill(os.getpid(), number)
    time.sleep(0.05)
    return names


if __name__ == "__main__":
    from revibranch.gnn.training.pools import run_tasks

    outcomes = run_tasks(work, [4, 3], workers=2, timeout=900)
    next(outcomes)
    sys.stdin.read()
