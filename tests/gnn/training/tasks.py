"""A task for worker processes; its module imports next to nothing, for every worker imports it."""

from __future__ import annotations

import os
import time


def work(task: int) -> int:
    if task == 1:
        raise ValueError("one\nis refused")
    if task == 2:
        os._exit(7)
    if task == 3:
        time.sleep(600)
    return 10 * task
