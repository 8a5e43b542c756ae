"""An evaluation gives the same rows however it is run, cut short and taken up again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from revibranch.benchmarks.checksums import file_checksum
from revibranch.benchmarks.evaluate import evaluate, evaluated, list_jobs, wall_limit, wrong_results
from revibranch.benchmarks.store import RunStore, StoreError, read_rows
from revibranch.branching.workers.pool import Outcome
from revibranch.branching.workers.process_pool import ProcessPool
from revibranch.instances.files import resolve

from . import jobs
from .jobs import FakeFile, FakeSource
from .rows import error_row, run_row, timeout_row

pytest.importorskip("pyarrow")

INSTANCES = Path(__file__).resolve().parents[1] / "data/instances"


def fake_evaluation(path, policies=("p", "q"), seeds=(0, 1), names=("a", "b"), *, runner=jobs.fake_run, workers=1, **options):
    wanted = list_jobs([FakeSource(name) for name in names], policies, seeds, "clean", 100.0)
    with RunStore(path) as store:
        progress = evaluate(wanted, store, ProcessPool(workers), runner=runner, **options)
        store.finish()
    return progress


def test_jobs_come_in_a_fixed_order_with_policies_side_by_side():
    wanted = list_jobs([FakeSource("b"), FakeSource("a"), FakeSource("b")], ["q", "p", "q"], [1, 0, 1], "clean", 5.0)
    assert [(job.source.name, job.seed, job.policy) for job in wanted] == [
        ("b", 1, "q"), ("b", 1, "p"), ("b", 0, "q"), ("b", 0, "p"),
        ("a", 1, "q"), ("a", 1, "p"), ("a", 0, "q"), ("a", 0, "p"),
    ]  # fmt: skip


def test_two_instances_of_one_name_are_refused():
    with pytest.raises(ValueError, match="two instances are named 'a'"):
        list_jobs([FakeSource("a", "x"), FakeSource("a", "y")], ["p"], [0], "clean", 5.0)


def test_nothing_to_run_is_refused():
    with pytest.raises(ValueError, match="nothing to run"):
        list_jobs([], ["p"], [0], "clean", 5.0)


def test_a_run_without_time_limit_may_take_for_ever():
    (job,) = list_jobs([FakeSource("a")], ["p"], [0], "clean", float("inf"))
    assert wall_limit(job) == float("inf")


def test_a_worker_that_dies_is_an_error_row_with_its_cause_and_no_numbers(tmp_path):
    path = tmp_path / "runs.parquet"
    progress = fake_evaluation(path, ("p", "exit loudly", "kill"), (0,), ("a",))
    assert (progress.done, progress.errors) == (3, 2)
    rows = {row.policy: row for row in read_rows(path)}
    assert rows["p"].status == "optimal"
    assert (rows["exit loudly"].status, rows["kill"].status) == ("error", "error")
    assert rows["exit loudly"].error == "worker ended with exit code 4; last output: out of licences"
    assert rows["kill"].error == "worker killed by SIGKILL"
    assert (rows["kill"].nodes, rows["kill"].solve_seconds, rows["kill"].objective) == (None, None, None)
    assert (rows["kill"].instance, rows["kill"].family, rows["kill"].settings, rows["kill"].time_limit) == ("a", "fake", "clean", 100.0)


def test_what_is_there_is_not_run_again_and_errors_only_on_request(tmp_path):
    path = tmp_path / "runs.parquet"
    fake_evaluation(path, ("p", "raise"))
    before = read_rows(path)
    progress = fake_evaluation(path, ("p", "raise"))
    assert (progress.total, progress.before, progress.done, progress.errors) == (8, 8, 8, 4)
    assert read_rows(path) == before
    # The same jobs by a runner that does not fail: only the failed ones change.
    progress = fake_evaluation(path, ("p", "raise"), runner=jobs.healthy_run, retry_errors=True)
    assert (progress.before, progress.done, progress.errors) == (4, 8, 0)
    after = read_rows(path)
    assert [row for row in after if row.policy == "p"] == [row for row in before if row.policy == "p"]
    assert all(row.status == "optimal" for row in after)


def test_a_study_tries_failed_runs_again_and_no_others(tmp_path):
    class Scripted:
        """Does the jobs as told: None for a worker that died."""

        running = 0

        def __init__(self, *results):
            self.results = list(results)

        def run(self, function, waiting, limit):
            for job, result in zip(waiting, self.results, strict=True):
                yield Outcome(job, result, "worker killed" if result is None else None)

    wanted = list_jobs([FakeSource("a"), FakeSource("b")], ["p"], [0], "clean", 100.0)
    good = [run_row(job.source.name, 0, "p", settings="clean", time_limit=100.0) for job in wanted]
    path = tmp_path / "runs.parquet"
    assert [row.status for row in evaluated(wanted, path, Scripted(good[0], None))] == ["optimal", "error"]
    assert [row.status for row in evaluated(wanted, path, Scripted(good[1]))] == ["optimal", "optimal"]
    assert [row.status for row in evaluated(wanted, path, Scripted())] == ["optimal", "optimal"]


def test_two_workers_give_the_same_rows_as_one(tmp_path):
    one, two = tmp_path / "one.parquet", tmp_path / "two.parquet"
    fake_evaluation(one, seeds=range(3), workers=1, runner=jobs.slow_run)
    fake_evaluation(two, seeds=range(3), workers=2, runner=jobs.slow_run)
    assert read_rows(one) == read_rows(two)


def test_an_evaluation_ended_early_keeps_what_was_finished_and_goes_on_later(tmp_path):
    path = tmp_path / "runs.parquet"
    pool = ProcessPool(1)
    wanted = list_jobs([FakeSource("a")], ["p"], range(20), "clean", 100.0)

    def stop(progress):
        if progress.done >= 3:
            pool.cancel()

    with RunStore(path) as store:
        progress = evaluate(wanted, store, pool, runner=jobs.slow_run, on_progress=stop)
        store.finish()
    assert 3 <= progress.done < 20
    assert [row.seed for row in read_rows(path)] == list(range(progress.done))
    later = fake_evaluation(path, ("p",), range(20), ("a",))
    assert (later.before, later.done) == (progress.done, 20)


# --- names and what they stand for ------------------------------------------------------------------------------------


def test_what_is_not_known_of_older_rows_is_believed(tmp_path):
    path, file = tmp_path / "runs.parquet", tmp_path / "a.lp"
    file.write_text("whatever")
    wanted = list_jobs([FakeFile("a", path=str(file))], ["scip:pscost"], [0, 1], "clean", 100.0)
    with RunStore(path) as store:
        store.append(run_row("a", 0, "scip:pscost"))
        progress = evaluate(wanted, store, ProcessPool(1), runner=jobs.fake_run)
    assert (progress.before, progress.done) == (1, 2)


def test_rows_that_are_run_again_may_be_of_other_files(tmp_path):
    path, file = tmp_path / "runs.parquet", tmp_path / "a.lp"
    file.write_text("mended")
    wanted = list_jobs([FakeFile("a", path=str(file))], ["scip:pscost"], [0], "clean", 100.0)
    broken = replace(error_row("a", 0, "scip:pscost"), instance_sha256="0" * 16)
    with RunStore(path) as store:
        store.append(broken)
        with pytest.raises(StoreError, match="name of a: choose another --out"):
            evaluate(wanted, store, ProcessPool(1), runner=jobs.fake_run)
        assert evaluate(wanted, store, ProcessPool(1), runner=jobs.fake_run, retry_errors=True).errors == 0


def test_a_worker_that_dies_is_remembered_with_its_file(tmp_path):
    path, file = tmp_path / "runs.parquet", tmp_path / "a.lp"
    file.write_text("deadly")
    with RunStore(path) as store:
        evaluate(list_jobs([FakeFile("a", path=str(file))], ["kill"], [0], "clean", 100.0), store, ProcessPool(1), runner=jobs.fake_run)
        (row,) = store.rows.values()
    assert (row.status, row.instance_sha256) == ("error", file_checksum(file))


# --- agreement -----------------------------------------------------------------------------------------------------


def test_a_wrong_optimum_is_found_and_instances_that_agree_are_not_named():
    rows = [
        run_row("a", 0, "p", objective=5.0, primal_bound=5.0, dual_bound=5.0),
        run_row("a", 1, "q", objective=5.1, primal_bound=5.1, dual_bound=5.1),
        run_row("b", 0, "p"),
        run_row("b", 1, "q", objective=1.0 + 1e-9, primal_bound=1.0 + 1e-9, dual_bound=1.0 + 1e-9),
    ]
    assert list(wrong_results(rows)) == ["a"]


@pytest.mark.parametrize(("primal", "dual", "wrong"), [(7.0, 4.0, False), (4.0, 7.0, False), (7.0, 6.0, True), (4.0, 3.0, True)])
def test_an_unsolved_run_must_have_the_optimum_between_its_bounds_in_either_sense(primal, dual, wrong):
    rows = [
        run_row("a", 0, "p", objective=5.0, primal_bound=5.0, dual_bound=5.0),
        timeout_row("a", 0, "q", objective=primal, primal_bound=primal, dual_bound=dual),
        error_row("a", 0, "r"),
    ]
    assert bool(wrong_results(rows)) is wrong


@pytest.mark.slow
def test_rows_of_ray_are_those_of_processes(tmp_path):
    pytest.importorskip("ray", reason="Ray is not installed (extra [ray])")
    from revibranch.branching.workers.ray_pool import RayPool

    sources = [source for name in ("flugpl.mps", "lseu.mps") for source in resolve(str(INSTANCES / name))]
    wanted = list_jobs(sources, ["scip:pscost", "scip:mostinf"], [0, 1], "clean", 100.0)
    tables = []
    for name, pool in (("ray", RayPool(workers=2)), ("processes", ProcessPool(2))):
        rows = evaluated(wanted, tmp_path / f"{name}.parquet", pool)
        pool.close()
        tables.append({(row.instance, row.policy, row.seed): (row.status, row.nodes, row.lp_iterations) for row in rows})
    assert len(tables[0]) == len(wanted)
    assert tables[0] == tables[1]
    assert all(status == "optimal" for status, _, _ in tables[0].values())
