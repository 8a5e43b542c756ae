"""Workers by number or address."""

from __future__ import annotations

from .pool import Pool
from .process_pool import ProcessPool

__all__ = ["open_pool"]


def open_pool(workers: int | str, *, stay: bool = False) -> Pool:
    """Workers as options name them.

    Args:
        workers: a number of processes of this machine; ``ray`` for a Ray of this machine, or ``ray://HOST:PORT`` for a cluster.
        stay: whether a process stays for further tasks.

    Raises:
        ValueError: no worker.
        ModuleNotFoundError: Ray is asked for and not installed.
        ConnectionError: no cluster answers.
    """
    if isinstance(workers, int):
        return ProcessPool(workers, stay=stay)
    from .ray_pool import RayPool

    return RayPool(None if workers == "ray" else workers, stay=stay)
