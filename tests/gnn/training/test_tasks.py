"""Tasks of a training: the same outcomes in this process and on others; what is lost costs itself only."""

from __future__ import annotations

from itertools import repeat

import pytest

from revibranch.gnn.training.tasks import open_tasks, run_tasks

from ...branching.workers.work import act, share


@pytest.mark.parametrize("workers", [1, 2])
def test_what_dies_hangs_or_raises_costs_its_task_only(workers: int) -> None:
    words = ["first", "raise", "exit", "hang", "next", "last"]
    found = {outcome.task: outcome for outcome in run_tasks(act, words, workers=workers, timeout=3) if outcome}
    assert [word for word in words if found[word].result == word] == ["first", "next", "last"]
    assert str(found["raise"].error).startswith("ValueError: no such column")
    assert found["exit"].error == "worker ended with exit code 3"
    assert "gave no answer" in str(found["hang"].error)


def test_without_workers_the_outcomes_are_the_same() -> None:
    words = ["first", "raise", "last"]
    serial, pooled = (
        {outcome.task: outcome for outcome in run_tasks(act, words, workers=workers, timeout=60) if outcome} for workers in (0, 1)
    )
    assert serial == pooled


@pytest.mark.parametrize("workers", [0, 2])
def test_tasks_share_what_the_run_is_given(workers: int) -> None:
    tasks = open_tasks(share, workers, timeout=60)
    for shared in (1, 2, 1):
        found = {outcome.result[:2] for outcome in tasks.run(["a", "b"], shared) if outcome and outcome.result}
        assert found == {("a", (shared,)), ("b", (shared,))}
    tasks.close()


def test_closing_stops_an_endless_run() -> None:
    running = run_tasks(act, repeat("first"), workers=2, timeout=60)
    assert next(outcome for outcome in running if outcome).result == "first"
    running.close()
