from __future__ import annotations

import pytest

from revibranch.gnn.training.workers import run_tasks

from .tasks import work


@pytest.mark.parametrize("workers", [1, 2])
def test_what_dies_hangs_or_raises_costs_its_task_only(workers: int) -> None:
    outcomes = {outcome.task: outcome for outcome in run_tasks(work, range(6), workers=workers, timeout=3)}
    assert {task: outcome.result for task, outcome in outcomes.items()} == {0: 0, 1: None, 2: None, 3: None, 4: 40, 5: 50}
    assert outcomes[1].error == "ValueError: one is refused"
    assert "exit code 7" in str(outcomes[2].error)
    assert "hung" in str(outcomes[3].error)


def test_without_workers_the_results_are_the_same() -> None:
    assert [outcome.result for outcome in run_tasks(work, [0, 1, 4], workers=0, timeout=1)] == [0, None, 40]


def test_closing_stops_an_endless_run() -> None:
    def endless() -> object:
        while True:
            yield 4

    outcomes = run_tasks(work, endless(), workers=2, timeout=60)  # type: ignore[arg-type]
    assert next(outcomes).result == 40
    outcomes.close()
