from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from revibranch.gnn.training.pools import run_tasks

from .tasks import caught, threads, work


@pytest.mark.parametrize("workers", [1, 2])
def test_what_dies_hangs_or_raises_costs_its_task_only(workers: int) -> None:
    outcomes = {outcome.task: outcome for outcome in run_tasks(work, range(6), workers=workers, timeout=3)}
    assert {task: outcome.result for task, outcome in outcomes.items()} == {0: 0, 1: None, 2: None, 3: None, 4: 40, 5: 50}
    assert outcomes[1].error == "ValueError: one is refused"
    assert "exit code 7" in str(outcomes[2].error)
    assert "hung" in str(outcomes[3].error)


def test_without_workers_the_results_are_the_same() -> None:
    assert [outcome.result for outcome in run_tasks(work, [0, 1, 4], workers=0, timeout=1)] == [0, None, 40]


def test_workers_have_one_thread_and_the_callers_environment_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert [outcome.result for outcome in run_tasks(threads, ["a task"], workers=1, timeout=60)] == ["1"]
    assert os.environ["OMP_NUM_THREADS"] == "7"


def test_closing_stops_an_endless_run() -> None:
    def endless() -> object:
        while True:
            yield 4

    outcomes = run_tasks(work, endless(), workers=2, timeout=60)  # type: ignore[arg-type]
    assert next(outcomes).result == 40
    outcomes.close()


def test_a_signal_to_the_group_ends_no_worker_from_its_first_instruction_on() -> None:
    def tasks() -> Iterator[int]:
        for task in range(4, 9):
            yield task
            for worker in multiprocessing.active_children():  # those that start up, too
                assert worker.pid is not None
                os.kill(worker.pid, signal.SIGINT)
                os.kill(worker.pid, signal.SIGTERM)

    outcomes = list(run_tasks(work, tasks(), workers=2, timeout=60))
    assert sorted((outcome.task, outcome.result) for outcome in outcomes) == [(task, 10 * task) for task in range(4, 9)]


def test_nor_does_it_reach_a_solver_that_handles_signals_by_itself() -> None:
    assert [outcome.result for outcome in run_tasks(caught, ["a solve"], workers=1, timeout=60)] == [[]]


@pytest.mark.parametrize("killed", [False, True])
def test_workers_end_with_the_program_that_they_work_for(killed: bool) -> None:
    command = [sys.executable, "-m", "tests.gnn.training.tasks"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == b"busy\n"  # says the worker
        if killed:
            program.kill()
        program.communicate(timeout=30)  # closes the input, at whose end the program ends; the output is the worker's too
