"""An evaluation gives the same rows however it is run, cut short and taken up again."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from revibranch.benchmarks.checksums import file_checksum
from revibranch.benchmarks.evaluate import evaluate, evaluated, list_jobs, wall_limit, wrong_results
from revibranch.benchmarks.store import RunStore, StoreError, read_rows, run_key
from revibranch.branching.workers.pool import Outcome
from revibranch.branching.workers.process_pool import ProcessPool
from revibranch.cli import main
from revibranch.gnn.pretrained import pretrained_path
from revibranch.instances.files import resolve

from . import jobs
from .jobs import FakeFile, FakeSource
from .rows import error_row, run_row, timeout_row

pytest.importorskip("pyarrow")

ROOT = Path(__file__).resolve().parents[2]
INSTANCES = ROOT / "tests/data/instances"
# On these SCIP repeats itself; on stein27 its symmetry detection does not (see branching/workers/process_pool.py).
TINY = [str(INSTANCES / name) for name in ("egout.mps", "flugpl.mps", "lseu.mps")]
RULES = ("scip:relpscost", "scip:mostinf")


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


def write_knapsack(path, weight):
    path.parent.mkdir(parents=True, exist_ok=True)
    row = " + ".join(f"{weight + 2 * number} x{number}" for number in range(5))
    path.write_text(f"Maximize\n 3 x0 + 4 x1 + 5 x2 + 6 x3 + 7 x4\nSubject To\n c: {row} <= 11\nBinaries\n x0 x1 x2 x3 x4\nEnd\n")


def assert_refused(capsys, arguments, *words):
    assert main(["evaluate", *map(str, arguments)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("revibranch: error: ")
    assert error.count("\n") == 1
    assert all(word in error for word in (*words, "choose another --out")), error


def test_another_file_by_the_same_name_is_refused_not_taken_for_the_first(tmp_path, capsys):
    out, common = tmp_path / "runs.parquet", ("--policy", "scip:pscost", "--out", tmp_path / "runs.parquet")
    for folder, weight in (("one", 2), ("two", 3)):
        write_knapsack(tmp_path / folder / "m.lp", weight)
    assert main(["evaluate", "--instances", str(tmp_path / "one"), *map(str, common)]) == 0
    (row,) = read_rows(out)
    assert row.instance_sha256 == file_checksum(tmp_path / "one" / "m.lp")
    assert row.policy_sha256 is None
    capsys.readouterr()
    assert_refused(capsys, ["--instances", tmp_path / "two", *common], "another file by the name of m")
    # Whatever seed or policy is new: the rows would stand side by side in one table.
    assert_refused(capsys, ["--instances", tmp_path / "two", *common, "--seeds", "7", "--policy", "scip:random"], "name of m")
    assert read_rows(out) == [row]
    assert sorted(os.listdir(tmp_path)) == ["one", "runs.parquet", "two"]
    # The same content elsewhere is the same instance.
    write_knapsack(tmp_path / "three" / "m.lp", 2)
    assert main(["evaluate", "--instances", str(tmp_path / "three"), *map(str, common)]) == 0
    assert read_rows(out) == [row]


def test_other_weights_by_the_same_name_are_refused_not_taken_for_the_first(tmp_path, capsys):
    out, weights = tmp_path / "runs.parquet", tmp_path / "mine.safetensors"
    arguments = ["--instances", "knapsack:10x2:0", "--policy", f"{weights}+guard", "--policy", "scip:pscost", "--out", out]
    shutil.copy(pretrained_path("auction"), weights)
    assert main(["evaluate", *map(str, arguments)]) == 0
    before = read_rows(out)
    assert {row.policy: row.policy_sha256 for row in before} == {f"{weights}+guard": file_checksum(weights), "scip:pscost": None}
    assert {row.instance_sha256 for row in before} == {None}, "generated: the name says it all"
    shutil.copy(pretrained_path("setcover"), weights)
    capsys.readouterr()
    assert_refused(capsys, arguments, f"{weights}+guard", "another file of weights")
    assert read_rows(out) == before


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


def test_rows_say_what_the_policy_chose_and_what_its_guard_did(tmp_path):
    out = tmp_path / "runs.parquet"
    rules = [part for policy in ("auto+guard", "auction", "scip:pscost") for part in ("--policy", policy)]
    assert main(["evaluate", "--instances", "knapsack:30x4:0", *rules, "--out", str(out)]) == 0
    rows = {row.policy: row for row in read_rows(out)}
    report = json.loads(rows["auto+guard"].report)
    assert (report["auto_policy"], report["auto_family"]) == ("knapsack", "knapsack")
    assert report["guard_handovers"] >= 0
    assert (rows["auction"].report, rows["scip:pscost"].report) == ("{}", None)
    assert rows["auto+guard"].policy_sha256 not in (None, rows["auction"].policy_sha256)


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


# --- the real thing ------------------------------------------------------------------------------------------------


def command(*arguments):
    return [sys.executable, "-c", "import sys; from revibranch.cli import main; sys.exit(main())", *map(str, arguments)]


def evaluate_command(out, workers, seeds="0-1", instances=TINY, rules=RULES):
    specs = [part for spec in instances for part in ("--instances", spec)]
    policies = [part for rule in rules for part in ("--policy", rule)]
    return command("evaluate", *specs, *policies, "--seeds", seeds, "--workers", workers, "--time-limit", 60, "--out", out)


def counts(path):
    return [
        (run_key(row), row.status, row.objective, row.nodes, row.fair_nodes, row.lp_iterations, row.strong_branching_lp_iterations)
        for row in read_rows(path)
    ]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    path = tmp_path_factory.mktemp("uninterrupted") / "runs.parquet"
    subprocess.run(evaluate_command(path, 1), check=True, capture_output=True)
    assert len(read_rows(path)) == len(TINY) * len(RULES) * 2
    return path


def test_two_workers_count_the_same_nodes_and_lp_iterations_as_one(uninterrupted, tmp_path):
    path = tmp_path / "runs.parquet"
    done = subprocess.run(evaluate_command(path, 2), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert counts(path) == counts(uninterrupted)
    assert max(row[3] for row in counts(path)) > 1


@pytest.mark.parametrize("turn", [0, *(pytest.param(turn, marks=pytest.mark.slow) for turn in range(1, 6))])
def test_a_run_killed_at_a_random_moment_and_resumed_gives_the_same_rows(uninterrupted, tmp_path, turn):
    path = tmp_path / "runs.parquet"
    journal = path.with_name(path.name + ".journal")
    with subprocess.Popen(evaluate_command(path, 2), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not (journal.exists() and journal.stat().st_size > 200):
            time.sleep(0.01)
        time.sleep(random.Random(turn).uniform(0.0, 0.6))
        process.kill()
    finished = len(read_rows(path))
    assert finished >= 1
    done = subprocess.run([*evaluate_command(path, 2), "--json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["done_before"] == finished
    assert counts(path) == counts(uninterrupted)
    assert sorted(os.listdir(tmp_path)) == ["runs.parquet"]


def children_of(pid):
    listing = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in listing.read_text().split()] if listing.exists() else []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc and the kernel's parent-death signal")
def test_workers_do_not_outlive_a_killed_evaluation(tmp_path):
    hard = evaluate_command(tmp_path / "runs.parquet", 1, seeds="0", instances=[INSTANCES / "p0548.mps", INSTANCES / "misc03.mps"])
    with subprocess.Popen(hard, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and len(children_of(process.pid)) < 2:  # the resource tracker and a worker
            time.sleep(0.01)
        workers = children_of(process.pid)
        time.sleep(0.3)
        process.kill()
    for _ in range(500):
        alive = [pid for pid in workers if Path(f"/proc/{pid}").exists() and "zombie" not in Path(f"/proc/{pid}/status").read_text()]
        if not alive:
            return
        time.sleep(0.01)
    pytest.fail(f"still running: {alive}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_group_keeps_every_finished_row_and_makes_no_other(tmp_path, number):
    path = tmp_path / "runs.parquet"
    journal = path.with_name(path.name + ".journal")
    many = evaluate_command(path, 1, seeds="0-999", instances=TINY[:2])
    with subprocess.Popen(many, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        while process.poll() is None and not (journal.exists() and journal.stat().st_size > 3000):
            time.sleep(0.01)
        rows = len(read_rows(path))
        os.killpg(process.pid, number)  # as terminals and schedulers do: workers get it too
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert "Traceback" not in errors
    assert len(read_rows(path)) >= rows >= 2
    assert all(row.status == "optimal" for row in read_rows(path))
    assert sorted(os.listdir(tmp_path)) == ["runs.parquet"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--instances", TINY[0], "--policy", "scip:relpcost"], "unknown rule"),
        (["--instances", "no/such/folder", "--policy", "scip:pscost"], "no/such/folder"),
        (["--instances", TINY[0], "--policy", "scip:pscost", "--seeds", "5-1"], "5-1"),
        (["--instances", TINY[0], "--policy", "scip:pscost", "--time-limit", "nan"], "positive"),
        (["--instances", TINY[0], "--policy", "scip:pscost", "--workers", "0"], "workers"),
        (["--instances", TINY[0], "--policy", "scip:pscost", "--seeds", "3,2147483647"], "seeds end at 2146483647"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(tmp_path, arguments, message, capsys):
    assert main(["evaluate", *arguments, "--out", str(tmp_path / "runs.parquet")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert os.listdir(tmp_path) == []


def test_a_foreign_file_is_refused_and_nothing_is_left_beside_it(tmp_path, capsys):
    out = tmp_path / "g.txt"
    out.write_text("my notes")
    assert main(["evaluate", "--instances", TINY[0], "--policy", "scip:pscost", "--out", str(out)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert os.listdir(tmp_path) == ["g.txt"]
    assert out.read_text() == "my notes"


def test_a_wrong_optimum_in_the_file_fails_the_command_loudly(tmp_path, capsys):
    path = tmp_path / "runs.parquet"
    with RunStore(path) as store:
        store.append(run_row("egout", 7, "scip:pscost", objective=1.0, primal_bound=1.0, dual_bound=1.0))
        store.finish()
    assert main(["evaluate", "--instances", TINY[0], "--policy", "scip:pscost", "--out", str(path)]) == 1
    assert "WRONG RESULT: egout" in capsys.readouterr().err


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


@pytest.mark.parametrize("workers", ["0", "-1", "many", "1.5", "ray:/x"])
def test_nonsense_workers_are_one_line(workers, capsys, tmp_path):
    code = main(["evaluate", "--instances", "a", "--policy", "scip:pscost", "--workers", workers, "--out", str(tmp_path / "r.parquet")])
    assert code == 2
    error = capsys.readouterr().err.strip()
    assert "\n" not in error
    assert "no number of processes" in error
