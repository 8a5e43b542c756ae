"""The command ``evaluate``: real runs, cut short by signals and taken up again, and what it refuses."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from revibranch.benchmarks.checksums import file_checksum
from revibranch.benchmarks.store import RunStore, read_rows, run_key
from revibranch.cli import main
from revibranch.gnn.pretrained import pretrained_path

from ..benchmarks.rows import run_row

pytest.importorskip("pyarrow")

INSTANCES = Path(__file__).resolve().parents[1] / "data/instances"
# On these SCIP repeats itself; on stein27 its symmetry detection does not (see branching/workers/process_pool.py).
TINY = [str(INSTANCES / name) for name in ("egout.mps", "flugpl.mps", "lseu.mps")]
RULES = ("scip:relpscost", "scip:mostinf")


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


@pytest.mark.parametrize("workers", ["0", "-1", "many", "1.5", "ray:/x"])
def test_nonsense_workers_are_one_line(workers, capsys, tmp_path):
    code = main(["evaluate", "--instances", "a", "--policy", "scip:pscost", "--workers", workers, "--out", str(tmp_path / "r.parquet")])
    assert code == 2
    error = capsys.readouterr().err.strip()
    assert "\n" not in error
    assert "no number of processes" in error


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
