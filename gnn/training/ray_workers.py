"""Tasks on a Ray cluster, or on a Ray of this machine; needs ``pip install revibranch[ray]``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from time import monotonic
from typing import Any, Generic, TypeVar

from ...branching.processes import ONE_THREAD
from .tasks import Outcome, described

__all__ = ["RayTasks"]

T = TypeVar("T")
S = TypeVar("S")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class _Running:
    task: Any
    deadline: float


class RayTasks(Generic[T, S, R]):
    """Ray tasks of one CPU each; what they share is put into Ray's object store once.

    Args:
        function: importable by name, on every machine of the cluster.
        address: ``ray://HOST:PORT`` of a cluster; None starts Ray on this machine.
        timeout: wall seconds of one task, waiting for a machine included.

    Raises:
        ModuleNotFoundError: Ray is not installed.
        ConnectionError: no cluster answers at the address.
    """

    def __init__(self, function: Callable[[T, S], R], address: str | None, timeout: float) -> None:
        import ray

        self._ray = ray
        self._started = not ray.is_initialized()
        if self._started:
            local: dict[str, Any] = {"include_dashboard": False} if address is None else {}
            ray.init(address=address or "local", log_to_driver=False, logging_level="ERROR", **local)
        # Retried by nobody: a task that kills its worker would kill the next one too.
        self._remote = ray.remote(num_cpus=1, max_retries=0, runtime_env={"env_vars": ONE_THREAD})(function)
        self._timeout = timeout
        self._shared: tuple[Any, Any] | None = None

    def run(self, tasks: Iterable[T], shared: S) -> Iterator[Outcome[T, R]]:
        """See ``Tasks.run``."""
        count = max(1, int(self._ray.cluster_resources().get("CPU", 1)))
        reference = self._put(shared)
        queue = iter(tasks)
        running: dict[Any, _Running] = {}
        ended = False
        try:
            while not ended or running:
                while not ended and len(running) < count:
                    try:
                        task = next(queue)
                    except StopIteration:
                        ended = True
                        break
                    running[self._remote.remote(task, reference)] = _Running(task, monotonic() + self._timeout)
                if not running:
                    continue
                done, _ = self._ray.wait(list(running), num_returns=1, timeout=1.0)
                for handle in done:
                    yield self._outcome(running.pop(handle).task, handle)
                for handle, job in list(running.items()):
                    if monotonic() > job.deadline:
                        self._ray.cancel(handle, force=True)
                        del running[handle]
                        yield Outcome(job.task, None, "the worker hung and was ended")
        finally:
            for handle in running:
                self._ray.cancel(handle, force=True)

    def close(self) -> None:
        """Leave the cluster, or stop the Ray that was started here."""
        if self._started:
            self._ray.shutdown()

    def _put(self, shared: S) -> Any:
        if self._shared is None or self._shared[0] is not shared:
            self._shared = (shared, self._ray.put(shared))
        return self._shared[1]

    def _outcome(self, task: T, handle: Any) -> Outcome[T, R]:
        try:
            return Outcome(task, self._ray.get(handle), None)
        except self._ray.exceptions.RayTaskError as error:
            return Outcome(task, None, described(error.cause or error))
        except self._ray.exceptions.RayError as error:
            return Outcome(task, None, described(error))
