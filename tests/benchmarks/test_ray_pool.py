"""The Ray pool keeps the promises of the process pool: results, causes of death, patience, the same rows."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from revibranch.benchmarks.pool import Pool, ProcessPool

from .jobs import act

pytest.importorskip("ray", reason="Ray is not installed (extra [ray])")
pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra [bench])")

from revibranch.benchmarks.evaluate import evaluate, list_jobs
from revibranch.benchmarks.ray_pool import RayPool
from revibranch.benchmarks.store import RunStore
from revibranch.instances.files import resolve

pytestmark = pytest.mark.slow
INSTANCES = Path(__file__).parents[1] / "data" / "instances"


@pytest.fixture(scope="module")
def pool() -> Iterator[RayPool]:
    pool = RayPool(workers=2)
    yield pool
    pool.close()


def outcomes(pool: Pool, words: list[str], patience: float = math.inf) -> dict[str, tuple[object, str | None]]:
    found = {}
    for outcome in pool.run(act, words, lambda word: patience if word == "hang" else math.inf):
        if outcome is not None:
            found[outcome.job] = (outcome.result, outcome.cause)
    return found


def test_results_and_failures_belong_to_their_jobs(pool: RayPool) -> None:
    found = outcomes(pool, ["a", "raise", "b", "exit", "threads", "c"])
    assert {word: found[word] for word in "abc"} == {word: (word, None) for word in "abc"}
    assert found["threads"] == ("1", None)
    assert found["raise"] == (None, "ValueError: no such column")
    result, cause = found["exit"]
    assert result is None
    assert cause is not None
    assert cause.startswith("worker lost")


def test_a_job_that_hangs_is_given_up(pool: RayPool) -> None:
    found = outcomes(pool, ["hang", "a"], patience=5.0)
    assert found["a"] == ("a", None)
    assert found["hang"][0] is None
    assert "gave no answer within 5 s" in str(found["hang"][1])


def test_cancelling_ends_the_run(pool: RayPool) -> None:
    words = ["hang", "hang", "a"]
    run = pool.run(act, words, lambda word: math.inf)
    next(run)
    pool.cancel()
    assert [outcome for outcome in run if outcome is not None] == []
    assert pool.running == 0


def test_rows_are_those_of_the_process_pool(pool: RayPool, tmp_path: Path) -> None:
    sources = [source for name in ("flugpl.mps", "lseu.mps") for source in resolve(str(INSTANCES / name))]
    jobs = list_jobs(sources, ["scip:pscost", "scip:mostinf"], [0, 1], "clean", 100.0)
    tables = []
    for name, workers in (("ray", pool), ("processes", ProcessPool(2))):
        with RunStore(tmp_path / f"{name}.parquet") as store:
            evaluate(jobs, store, workers)
            tables.append({key: (row.status, row.nodes, row.lp_iterations) for key, row in store.rows.items()})
    assert len(tables[0]) == len(jobs)
    assert tables[0] == tables[1]
    assert all(status == "optimal" for status, _, _ in tables[0].values())
