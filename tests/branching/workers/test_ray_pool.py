"""The Ray pool keeps the promises of the process pool: results, causes of death, patience, things shared."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest

from revibranch.branching.workers.pool import Pool

from .work import act, pid, share

pytest.importorskip("ray", reason="Ray is not installed (extra [ray])")

from revibranch.branching.workers.ray_pool import RayPool

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pool() -> Iterator[RayPool]:
    pool = RayPool(workers=2)
    yield pool
    pool.close()


def outcomes(pool: Pool, words: list[str], patience: float = math.inf) -> dict[str, tuple[object, str | None]]:
    found = {}
    for outcome in pool.run(act, words, lambda word: patience if word == "hang" else math.inf):
        if outcome is not None:
            found[outcome.task] = (outcome.result, outcome.error)
    return found


def test_results_and_failures_belong_to_their_tasks(pool: RayPool) -> None:
    found = outcomes(pool, ["a", "raise", "b", "exit", "threads", "c"])
    assert {word: found[word] for word in "abc"} == {word: (word, None) for word in "abc"}
    assert found["threads"] == ("1", None)
    result, error = found["raise"]
    assert result is None
    assert str(error).startswith("ValueError: no such column")
    result, error = found["exit"]
    assert result is None
    assert str(error).startswith("worker lost")


def test_a_task_that_hangs_is_given_up(pool: RayPool) -> None:
    found = outcomes(pool, ["hang", "a"], patience=5.0)
    assert found["a"] == ("a", None)
    assert found["hang"][0] is None
    assert "gave no answer within 5 s" in str(found["hang"][1])


def test_cancelling_ends_the_run(pool: RayPool) -> None:
    run = pool.run(act, ["hang", "hang", "a"], lambda word: math.inf)
    next(run)
    pool.cancel()
    assert [outcome for outcome in run if outcome is not None] == []
    assert pool.running == 0


def test_tasks_share_what_the_run_is_given_and_it_is_stored_once(pool: RayPool, monkeypatch: pytest.MonkeyPatch) -> None:
    put = pool._ray.put
    stored: list[object] = []
    monkeypatch.setattr(pool._ray, "put", lambda thing: [stored.append(thing), put(thing)][1])
    one, other = ["one"], ["other"]
    for shared in ((one,), (one, other), (other,)):
        results = [outcome.result for outcome in pool.run(share, ["a", "b"], lambda _: math.inf, shared) if outcome]
        assert sorted(result[:2] for result in results if result) == [("a", shared), ("b", shared)]
    assert stored == [one, other]


def test_every_task_has_a_process_of_its_own_unless_processes_stay(pool: RayPool) -> None:
    staying = RayPool(workers=1, stay=True)  # of the same Ray
    for some, most in ((pool, 4), (staying, 1)):
        found = [outcome.result for outcome in some.run(pid, range(4), lambda _: math.inf) if outcome]
        assert len(set(found)) == most
