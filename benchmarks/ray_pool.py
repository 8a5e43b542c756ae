"""The pool on a Ray cluster, or on a Ray of this machine alone; needs ``pip install revibranch[ray]``.

Jobs, results and files must make sense everywhere: problem files lie under the same path on every machine, or are generated
from family, size and seed.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from ..branching.complaints import one_line
from ..branching.processes import ONE_THREAD
from .pool import CAUSE_LENGTH, Outcome

__all__ = ["RayPool"]

J = TypeVar("J")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class _Running:
    job: Any
    deadline: float
    patience: float


class RayPool:
    """Ray tasks, one CPU and one thread each; a process does one job and ends, as in ``ProcessPool``.

    Args:
        address: ``ray://HOST:PORT`` or ``HOST:PORT`` of a cluster; None starts Ray on this machine.
        workers: most jobs at a time; None for as many as the cluster has CPUs.

    Raises:
        ModuleNotFoundError: Ray is not installed.
        ConnectionError: no cluster answers at the address.
    """

    def __init__(self, address: str | None = None, workers: int | None = None) -> None:
        import ray

        self._ray = ray
        self._started = not ray.is_initialized()
        if self._started:
            local: dict[str, Any] = {"num_cpus": workers, "include_dashboard": False} if address is None else {}
            ray.init(address=address or "local", log_to_driver=False, logging_level="ERROR", **local)
        self._count = workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
        self._running: dict[Any, _Running] = {}
        self._cancelled = False

    @property
    def running(self) -> int:
        """Jobs being worked on at this moment."""
        return len(self._running)

    def cancel(self) -> None:
        """Start nothing more and give up what runs."""
        self._cancelled = True

    def close(self) -> None:
        """Leave the cluster, or stop the Ray that this pool started."""
        if self._started:
            self._ray.shutdown()

    def run(self, function: Callable[[J], R], jobs: Sequence[J], limit: Callable[[J], float]) -> Iterator[Outcome[J, R] | None]:
        """See ``Pool.run``. A job's patience begins when it is handed to Ray, which may let it wait for a machine."""
        # Retried by nobody: a job that kills its worker would kill the next one too.
        task = self._ray.remote(num_cpus=1, max_retries=0, max_calls=1, runtime_env={"env_vars": ONE_THREAD})(function)
        waiting = deque(jobs)
        try:
            while waiting or self._running:
                while waiting and len(self._running) < self._count and not self._cancelled:
                    job = waiting.popleft()
                    patience = limit(job)
                    self._running[task.remote(job)] = _Running(job, time.monotonic() + patience, patience)
                yield from self._collect(0.0 if self._cancelled else 0.2)
                if self._cancelled:
                    return
                yield None
        finally:
            for reference in self._running:
                self._ray.cancel(reference, force=True)
            self._running = {}
            self._cancelled = False

    def _collect(self, timeout: float) -> Iterator[Outcome[Any, Any]]:
        references = list(self._running)
        ended, _ = self._ray.wait(references, num_returns=len(references), timeout=timeout)
        for reference in ended:
            yield self._outcome(self._running.pop(reference).job, reference)
        now = time.monotonic()
        for reference, running in list(self._running.items()):
            if now > running.deadline:
                self._ray.cancel(reference, force=True)
                del self._running[reference]
                yield Outcome(running.job, None, f"gave no answer within {running.patience:g} s of wall time and was killed")

    def _outcome(self, job: Any, reference: Any) -> Outcome[Any, Any]:
        try:
            return Outcome(job, self._ray.get(reference), None)
        except self._ray.exceptions.RayTaskError as error:
            cause = error.cause or error
            return Outcome(job, None, one_line(f"{type(cause).__name__}: {cause}")[:CAUSE_LENGTH])
        except self._ray.exceptions.RayError as error:
            return Outcome(job, None, one_line(f"worker lost: {type(error).__name__}: {error}")[:CAUSE_LENGTH])
