"""Workers may die; the pool says of which task, and goes on."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest

from revibranch.branching.workers.pool import Outcome
from revibranch.branching.workers.process_pool import ProcessPool

from . import work

Capture = pytest.CaptureFixture[str]
either = pytest.mark.parametrize("stay", [False, True], ids=["one task a process", "processes stay"])


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever becomes of workers, they leave no file and no process."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield
    assert list(tmp_path.iterdir()) == []
    assert multiprocessing.active_children() == []


def outcomes(
    tasks: Iterable[Any], workers: int = 2, patience: float = 60.0, function: Callable[..., Any] = work.act, *, stay: bool = False
) -> dict[Any, Outcome[Any, Any]]:
    found: dict[Any, Outcome[Any, Any]] = {}
    with contextlib.closing(ProcessPool(workers, stay=stay)) as pool:
        for outcome in pool.run(function, tasks, lambda _: patience):
            if outcome is not None:
                assert outcome.task not in found
                found[outcome.task] = outcome
        assert pool.running == 0
    return found


@either
def test_lost_workers_cost_their_own_task_only_and_the_error_is_told(stay: bool) -> None:
    words = ["first", "exit", "kill", "raise", "segfault", "unpicklable", "last"]
    found = outcomes(words, stay=stay)
    assert set(found) == set(words)
    for word in ("first", "last"):
        assert (found[word].result, found[word].error) == (word, None)
    assert found["exit"].error == "worker ended with exit code 3"
    assert found["kill"].error == "worker killed by SIGKILL"
    assert str(found["segfault"].error).startswith("worker killed by SIGSEGV; last output: Fatal Python error: Segmentation fault")
    assert str(found["raise"].error).startswith("ValueError: no such column (work.py:")
    assert "pickle" in str(found["unpicklable"].error)


def test_output_is_kept_for_the_cause_of_a_death(capfd: Capture) -> None:
    found = outcomes(["mute", "exit loudly"])
    assert found["mute"].result == "mute"
    assert found["exit loudly"].error == "worker ended with exit code 4; last output: out of licences"
    assert capfd.readouterr() == ("", "")


def test_a_process_that_stays_prints_where_this_one_does(capfd: Capture) -> None:
    assert outcomes(["mute"], stay=True)["mute"].result == "mute"
    assert "and from C" in capfd.readouterr().out


@either
def test_a_hung_worker_is_given_up_and_the_others_go_on(stay: bool) -> None:
    found = outcomes(["hang", "next"], workers=1, patience=3.0, stay=stay)
    assert "3 s of wall time" in str(found["hang"].error)
    assert found["next"].result == "next"


@either
def test_an_answer_that_came_while_the_caller_was_busy_counts(stay: bool) -> None:
    found = []
    with contextlib.closing(ProcessPool(2, stay=stay)) as pool:
        for outcome in pool.run(work.nap, [0.1, 0.7], lambda _: 1.5):
            if outcome is not None:
                found.append(outcome.error)
                time.sleep(2.0)
    assert found == [None, None]


@either
def test_what_cannot_be_pickled_or_read_back_costs_itself_only(stay: bool) -> None:
    lock = threading.Lock()
    found = outcomes(["first", lock, "unreadable", "last"], workers=1, stay=stay)
    assert [found[word].result for word in ("first", "last")] == ["first", "last"]
    assert "pickle" in str(found[lock].error)
    assert str(found["unreadable"].error).startswith("RuntimeError: from another version (work.py:")


def test_workers_outlive_the_thread_that_began_the_run() -> None:
    pool = ProcessPool(1)
    run = pool.run(work.nap, [1.0], lambda _: 60.0)
    thread = threading.Thread(target=next, args=(run,))
    thread.start()
    thread.join()
    assert [outcome.error for outcome in run if outcome] == [None]


def test_starting_up_does_not_count() -> None:
    pool = ProcessPool(1)
    assert [outcome.error for outcome in pool.run(work.share, ["a"], lambda _: 1.0, (work.Slow(),)) if outcome] == [None]


@either
def test_workers_have_one_thread_and_the_callers_environment_stays(monkeypatch: pytest.MonkeyPatch, stay: bool) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert outcomes(["threads"], workers=1, stay=stay)["threads"].result == "1"
    assert os.environ["OMP_NUM_THREADS"] == "7"


def test_every_task_has_a_process_of_its_own_unless_processes_stay() -> None:
    found = outcomes(range(5), function=work.pid)
    assert len({os.getpid(), *(outcome.result for outcome in found.values())}) == 6
    found = outcomes(range(5), function=work.pid, stay=True)
    assert len({outcome.result for outcome in found.values()} - {os.getpid()}) <= 2


def test_what_tasks_share_goes_to_processes_that_stay_once_and_anew_when_it_changes() -> None:
    sent: list[str] = []

    class Weights(str):
        def __reduce__(self) -> tuple[object, tuple[str]]:
            sent.append(str(self))
            return str, (str(self),)

    one, other = Weights("one"), Weights("other")
    with contextlib.closing(ProcessPool(1, stay=True)) as pool:
        for shared in ((one,), (other,), (other, one), (one,), ()):
            results = [outcome.result for outcome in pool.run(work.share, ["a", "b"], lambda _: 60.0, shared) if outcome]
            assert [result[:2] for result in results if result] == [("a", shared), ("b", shared)]
        assert [outcome.result for outcome in pool.run(work.act, ["c"], lambda _: 60.0) if outcome] == ["c"]  # another function
    assert sent == ["one", "other", "other", "one", "one"]


def test_a_process_that_died_between_two_runs_costs_nothing() -> None:
    with contextlib.closing(ProcessPool(1, stay=True)) as pool:

        def again() -> Outcome[int, int]:
            (outcome,) = filter(None, pool.run(work.pid, [0], lambda _: 60.0))
            return outcome

        first = again().result
        assert again().result == first
        (process,) = multiprocessing.active_children()
        process.kill()
        process.join()
        last = again()
        assert last.error is None
        assert last.result != first


@either
def test_cancel_ends_the_run_and_leaves_no_process(stay: bool) -> None:
    pool = ProcessPool(1, stay=stay)
    ended: list[str] = []
    for outcome in pool.run(work.act, ["first", "hang", "never"], lambda _: 60.0):
        if outcome is not None:
            ended.append(outcome.task)
        elif ended and pool.running:
            assert multiprocessing.active_children()
            pool.cancel()
    assert ended == ["first"]


@either
def test_what_is_cancelled_before_it_begins_does_nothing(stay: bool) -> None:
    pool = ProcessPool(1, stay=stay)
    pool.cancel()
    assert list(pool.run(work.act, ["first"], lambda _: 60.0)) == []
    assert [outcome.result for outcome in pool.run(work.act, ["second"], lambda _: 60.0) if outcome] == ["second"]
    pool.close()


@either
def test_closing_the_pool_ends_what_runs(stay: bool) -> None:
    pool = ProcessPool(1, stay=stay)
    run = pool.run(work.act, ["hang", "never"], lambda _: 60.0)
    next(run)
    pool.close()
    assert multiprocessing.active_children() == []
    run.close()


@either
def test_leaving_an_endless_run_leaves_no_process(stay: bool) -> None:
    pool = ProcessPool(2, stay=stay)
    with contextlib.closing(pool.run(work.act, repeat("hang"), lambda _: 60.0)) as running:
        assert next(running) is None
        assert len(multiprocessing.active_children()) == 2


def test_a_signal_to_the_group_ends_no_worker_from_its_first_instruction_on() -> None:
    def tasks() -> Iterator[int]:
        for task in range(5):
            yield task
            for worker in multiprocessing.active_children():  # those that start up, too
                assert worker.pid is not None
                os.kill(worker.pid, signal.SIGINT)
                os.kill(worker.pid, signal.SIGTERM)

    for stay in (False, True):
        assert [outcome.error for outcome in outcomes(tasks(), function=work.pid, stay=stay).values()] == [None] * 5


@either
def test_nor_does_it_reach_a_solver_that_handles_signals_by_itself(stay: bool) -> None:
    assert outcomes(["signals"], stay=stay)["signals"].result == ""


@pytest.mark.parametrize("killed", [False, True])
def test_workers_end_with_the_program_that_they_work_for(killed: bool) -> None:
    command = [sys.executable, "-m", "tests.branching.workers.work"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == b"busy\n"  # says the worker
        if killed:
            program.kill()
        program.communicate(timeout=30)  # closes the input, at whose end the program ends; the output is the worker's too


def test_a_pool_needs_a_worker() -> None:
    with pytest.raises(ValueError, match="at least one worker"):
        ProcessPool(0)
