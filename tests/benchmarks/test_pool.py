"""Workers may die; the pool says of which job, and goes on."""

from __future__ import annotations

import contextlib
import os
import time

import pytest

from revibranch.benchmarks.pool import ProcessPool
from revibranch.cli import main

from . import jobs


def outcomes(words, workers=2, limit=60.0, function=jobs.act):
    pool = ProcessPool(workers)
    found = {}
    for outcome in pool.run(function, words, lambda _: limit):
        if outcome is not None:
            assert outcome.job not in found
            found[outcome.job] = outcome
    assert pool.running == 0
    return found


def test_lost_workers_cost_their_own_job_only_and_the_cause_is_told(capfd):
    words = ["first", "exit", "kill", "raise", "segfault", "exit loudly", "unpicklable", "mute", "last"]
    found = outcomes(words)
    assert set(found) == set(words)
    for word in ("first", "mute", "last"):
        assert (found[word].result, found[word].cause) == (word, None)
    assert found["exit"].cause == "worker ended with exit code 3"
    assert found["exit loudly"].cause == "worker ended with exit code 4; last output: out of licences"
    assert found["kill"].cause == "worker killed by SIGKILL"
    assert found["segfault"].cause.startswith("worker killed by SIGSEGV; last output: Fatal Python error: Segmentation fault")
    assert found["raise"].cause.startswith("ValueError: no such column (jobs.py:")
    assert "pickle" in found["unpicklable"].cause
    assert capfd.readouterr() == ("", "")


def test_a_hung_worker_is_given_up_and_the_others_go_on():
    found = outcomes(["hang", "next"], workers=1, limit=3.0)
    assert "3 s of wall time" in found["hang"].cause
    assert found["next"].result == "next"


def test_workers_have_one_thread_and_the_callers_environment_stays(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert outcomes(["threads"], workers=1)["threads"].result == "1"
    assert os.environ["OMP_NUM_THREADS"] == "7"


def test_every_job_has_a_process_of_its_own():
    found = outcomes(list(range(5)), function=jobs.pid)
    assert len({os.getpid(), *(outcome.result for outcome in found.values())}) == 6


def test_cancel_ends_the_run_and_leaves_no_process():
    pool = ProcessPool(1)
    ended = []
    worker = None
    for outcome in pool.run(jobs.act, ["first", "hang", "never"], lambda _: 60.0):
        if outcome is not None:
            ended.append(outcome.job)
        elif ended and pool.running:
            worker = pool._workers[0].process.pid
            pool.cancel()
    assert ended == ["first"]
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


def test_leaving_the_loop_leaves_no_process():
    pool = ProcessPool(1)
    with contextlib.closing(pool.run(jobs.act, ["hang"], lambda _: 60.0)) as running:
        next(running)
        worker = pool._workers[0].process.pid
    time.sleep(0)
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


def test_a_pool_needs_a_worker():
    with pytest.raises(ValueError, match="at least one worker"):
        ProcessPool(0)


@pytest.mark.parametrize("workers", ["0", "-1", "many", "1.5", "ray:/x"])
def test_nonsense_workers_are_one_line(workers, capsys, tmp_path):
    code = main(["evaluate", "--instances", "a", "--policy", "scip:pscost", "--workers", workers, "--out", str(tmp_path / "r.parquet")])
    assert code == 2
    error = capsys.readouterr().err.strip()
    assert "\n" not in error
    assert "no number of processes" in error
