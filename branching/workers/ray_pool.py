"""The pool on a Ray cluster, or on a Ray of this machine alone; needs ``pip install revibranch[ray]``.

Tasks, results and files must make sense everywhere: problem files lie under the same path on every machine, or are generated
from family, size and seed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any

from .pool import Outcome, Pool, described, gave_no_answer
from .processes import ONE_THREAD

__all__ = ["RayPool"]


@dataclass(frozen=True, slots=True)
class _Running:
    task: Any
    deadline: float
    patience: float


class RayPool(Pool):
    """Ray tasks, one CPU and one thread each. A task's patience begins when it is handed to Ray, which may let it wait for a machine.

    Args:
        address: ``ray://HOST:PORT`` or ``HOST:PORT`` of a cluster; None starts Ray on this machine.
        workers: most tasks at a time; None for as many as the cluster has CPUs.
        stay: whether a process may do further tasks, as in ``ProcessPool``.

    Raises:
        ModuleNotFoundError: Ray is not installed.
        ConnectionError: no cluster answers at the address.
    """

    def __init__(self, address: str | None = None, workers: int | None = None, *, stay: bool = False) -> None:
        import ray

        super().__init__()
        self._ray = ray
        self._started = not ray.is_initialized()
        if self._started:
            local: dict[str, Any] = {"num_cpus": workers, "include_dashboard": False} if address is None else {}
            ray.init(address=address or "local", log_to_driver=False, logging_level="ERROR", **local)
        self._workers = workers
        self._stay = stay
        self._running: dict[Any, _Running] = {}
        self._remote: tuple[Any, Any] | None = None
        self._stored: list[tuple[Any, Any]] = []

    @property
    def running(self) -> int:
        """Tasks being worked on at this moment."""
        return len(self._running)

    def close(self) -> None:
        """End what runs; leave the cluster, or stop the Ray that this pool started."""
        super().close()
        if self._started:
            self._ray.shutdown()

    def _capacity(self) -> int:
        return self._workers or max(1, int(self._ray.cluster_resources().get("CPU", 1)))

    def _give_up(self) -> None:
        while self._running:
            self._ray.cancel(self._running.popitem()[0], force=True)

    def _hand_out(self, function: Callable[..., Any], shared: tuple[Any, ...], task: Any, patience: float) -> str | None:
        remote, references = self._remote_of(function), self._references_of(shared)
        try:
            reference = remote.remote(task, *references)
        except Exception as error:  # pickle's are many
            return described(error)
        self._running[reference] = _Running(task, monotonic() + patience, patience)
        return None

    def _remote_of(self, function: Callable[..., Any]) -> Any:
        if self._remote is None or self._remote[0] is not function:
            # Retried by nobody: a task that kills its worker would kill the next one too.
            options: dict[str, Any] = {"num_cpus": 1, "max_retries": 0, "runtime_env": {"env_vars": ONE_THREAD}}
            self._remote = (function, self._ray.remote(**options, **({} if self._stay else {"max_calls": 1}))(function))
        return self._remote[1]

    def _references_of(self, shared: tuple[Any, ...]) -> list[Any]:
        """What is shared, in Ray's object store; what was there for the last task is not put there again."""
        known = {id(thing): reference for thing, reference in self._stored}
        self._stored = [(thing, known[id(thing)] if id(thing) in known else self._ray.put(thing)) for thing in shared]
        return [reference for _, reference in self._stored]

    def _collect(self, timeout: float) -> list[Outcome[Any, Any]]:
        self._ray.wait(list(self._running), num_returns=1, timeout=timeout)
        ended, _ = self._ray.wait(list(self._running), num_returns=len(self._running), timeout=0.0)
        outcomes = [self._outcome(self._running.pop(reference).task, reference) for reference in ended]
        now = monotonic()
        for reference in [reference for reference, running in self._running.items() if now > running.deadline]:
            late = self._running.pop(reference)
            self._ray.cancel(reference, force=True)
            outcomes.append(Outcome(late.task, None, gave_no_answer(late.patience)))
        return outcomes

    def _outcome(self, task: Any, reference: Any) -> Outcome[Any, Any]:
        try:
            return Outcome(task, self._ray.get(reference), None)
        except self._ray.exceptions.RayTaskError as error:
            return Outcome(task, None, described(error.cause or error))
        except self._ray.exceptions.RayError as error:
            return Outcome(task, None, f"worker lost: {described(error)}")
