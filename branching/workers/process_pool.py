"""Worker processes that may die: a pool that knows which task a lost worker had.

``concurrent.futures`` breaks the whole pool when one worker is killed and cannot say whose task it was. Here every worker has a pipe
of its own, and one that dies or hangs costs its task and is replaced.

Where solves are compared, a process does one task and ends. SCIP's symmetry detection depends on the layout of the memory: repeated
within one process, the same solve of the Steiner triple problem stein27 takes now 85 nodes, now 111 (SCIP 10.0.2, plain PySCIPOpt,
without symmetry handling always the same). A new process, whose memory has no history, makes that rare, though not impossible, and
its peak memory is that of the one run. It costs the import of SCIP, some 0.3 s, and of torch, some 3 s, where a policy needs it. Rollouts
of a training do not pay that each time: there processes stay.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import tempfile
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from multiprocessing.util import Finalize
from operator import is_
from pathlib import Path
from time import monotonic
from typing import Any

from .pool import ERROR_LENGTH, Outcome, Pool, described, gave_no_answer
from .process_worker import LOADED, UP, serve
from .processes import start

__all__ = ["ProcessPool"]

_STARTUP_SECONDS = 900.0


class ProcessPool(Pool):
    """Processes of this machine, started afresh (spawn) with one thread each.

    Args:
        workers: how many, at least one; each starts with its first task.
        stay: whether a process stays for further tasks. One that stays prints where this process does; one that ends with its task keeps
            its output to itself, for the cause of its death.

    Raises:
        ValueError: no worker.
    """

    def __init__(self, workers: int, *, stay: bool = False) -> None:
        if workers < 1:
            raise ValueError(f"a pool needs at least one worker, not {workers}")
        super().__init__()
        self._count = workers
        self._stay = stay
        self._busy: list[_Worker] = []
        self._idle: list[_Worker] = []

    @property
    def running(self) -> int:
        """Tasks being worked on at this moment."""
        return len(self._busy)

    def close(self) -> None:
        """End all processes."""
        super().close()
        while self._idle:
            self._idle.pop().stop()

    def _capacity(self) -> int:
        return self._count

    def _give_up(self) -> None:
        while self._busy:
            self._busy.pop().stop()

    def _hand_out(self, function: Callable[..., Any], shared: tuple[Any, ...], task: Any, patience: float) -> str | None:
        worker = self._worker()
        self._busy.append(worker)
        try:
            worker.give((function, *shared), task, patience)
        except Exception as error:  # pickle's are many
            self._busy.remove(worker)
            worker.stop()
            return described(error)
        return None

    def _worker(self) -> _Worker:
        while self._idle:
            worker = self._idle.pop()
            if worker.process.is_alive():
                return worker
            worker.stop()  # it died after its last task
        return _Worker(self._stay)

    def _collect(self, timeout: float) -> list[Outcome[Any, Any]]:
        ready = set(wait([handle for worker in self._busy for handle in worker.handles], timeout))
        outcomes = []
        for worker in tuple(self._busy):
            outcome = worker.take(spoke=not ready.isdisjoint(worker.handles))
            if outcome is None:
                continue
            outcomes.append(outcome)
            self._busy.remove(worker)
            if self._stay and not worker.lost:
                self._idle.append(worker)
            else:
                worker.stop()
        return outcomes


class _Worker:
    """A process and its task, seen from the outside."""

    def __init__(self, stays: bool) -> None:
        descriptor, log = tempfile.mkstemp(prefix="revibranch-", suffix=".log")
        self._log, self._log_path = os.fdopen(descriptor, "rb"), Path(log)
        # A fork would copy torch's and SCIP's locks in whatever state they are.
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(target=serve, args=(theirs, log, stays), daemon=True)
        try:
            start(self.process)
        except BaseException:
            self._forget()
            raise
        finally:
            theirs.close()  # or the pipe would not end when the process does
        # A program that ends waits for its processes after a SIGTERM, to which these are deaf.
        Finalize(self, self.process.kill, exitpriority=0)
        self.handles = (self.pipe, self.process.sentinel)
        self.lost = False
        self._up = False
        self._unsent: bytes | None = None
        self._given: tuple[Any, ...] = ()
        self._loaded: tuple[Any, ...] = ()
        self._task: Any = None
        self._patience = 0.0
        self._limit, self._deadline = 0.0, 0.0

    def give(self, program: tuple[Any, ...], task: object, patience: float) -> None:
        """Hand over a task, and with it the function and what its tasks share, unless the worker has them."""
        self._task, self._patience, self._given = task, patience, program
        self._set_limit(_STARTUP_SECONDS)
        has_them = len(program) == len(self._loaded) and all(map(is_, program, self._loaded))
        self._unsent = pickle.dumps((None if has_them else pickle.dumps(program), pickle.dumps(task)))
        if self._up:
            self._send()

    def take(self, *, spoke: bool) -> Outcome[Any, Any] | None:
        """The outcome of the task, if there is one.

        Args:
            spoke: whether the process has said something or ended.
        """
        if spoke:
            return self._listen()
        if monotonic() > self._deadline:
            self.lost = True
            return Outcome(self._task, None, gave_no_answer(self._limit))
        return None

    def _set_limit(self, seconds: float) -> None:
        self._limit, self._deadline = seconds, monotonic() + seconds

    def _listen(self) -> Outcome[Any, Any] | None:
        try:
            while self.pipe.poll():
                message = self.pipe.recv_bytes()
                if message == UP:
                    self._up = True
                    self._log_path.unlink(missing_ok=True)  # both have it open: nothing is left behind, whatever ends them
                    self._send()
                elif message == LOADED:
                    self._loaded = self._given
                    self._set_limit(self._patience)
                else:
                    return self._outcome(message)
            if self.process.is_alive():
                return None
        except (EOFError, OSError):
            self.process.join(5.0)
        self.lost = True
        return Outcome(self._task, None, self._cause_of_death())

    def _outcome(self, message: bytes) -> Outcome[Any, Any]:
        try:
            result, error = pickle.loads(message)
        except Exception as unreadable:  # pickle's are many, and those of the result's own class
            return Outcome(self._task, None, described(unreadable))
        return Outcome(self._task, result, error)

    def _send(self) -> None:
        if self._unsent is not None:
            with suppress(OSError):  # a worker that is dead already is noticed by ``take``
                self.pipe.send_bytes(self._unsent)
            self._unsent = None

    def _cause_of_death(self) -> str:
        code = self.process.exitcode
        killed = code is not None and code < 0
        cause = f"worker killed by {signal.Signals(-(code or 0)).name}" if killed else f"worker ended with exit code {code}"
        self._log.seek(0)
        words = self._log.read().decode(errors="replace").strip()
        crash = words.find("Fatal Python error")
        words = words[crash:][:ERROR_LENGTH] if crash >= 0 else words[-ERROR_LENGTH:]
        lines = [line.strip() for line in words.splitlines() if line.strip()]
        return f"{cause}; last output: {' | '.join(lines)}" if lines else cause

    def stop(self) -> None:
        """End the process, whatever it does."""
        self.process.kill()
        self.process.join()
        self._forget()

    def _forget(self) -> None:
        self.pipe.close()
        self._log.close()
        self._log_path.unlink(missing_ok=True)
