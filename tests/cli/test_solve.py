"""``revibranch solve``: every outcome said plainly, every wrong input one line, the numbers those of a bare solve."""

from __future__ import annotations

import gzip
import json
import os
import pty
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pyscipopt import Model

from revibranch.benchmarks.checksums import file_checksum
from revibranch.branching.guard import GuardedPolicy
from revibranch.branching.settings import LARGEST_SEED
from revibranch.branching.shortlist import ShortlistPolicy
from revibranch.cli import main
from revibranch.instances import families

from .problems import DATA, LSEU, MISC03, SET_COVER, Capture, as_json, write_lp


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained network: it branches badly, and the optimum must not care."""
    torch = pytest.importorskip("torch")

    from revibranch.gnn.checkpoint import Description, save_checkpoint
    from revibranch.gnn.network import BranchingNetwork, NetworkConfig

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_checkpoint(path, BranchingNetwork(NetworkConfig(width=8, heads=2)), Description(family=None))
    return path


# ---- what is said ----------------------------------------------------------------------------------------------------


def test_table_holds_the_numbers_of_bare_solves(capfd: Capture) -> None:
    assert main(["solve", str(LSEU), "--policy", "scip:default", "--against", "scip:random", "--seed", "1"]) == 0
    output = capfd.readouterr()
    assert output.err == ""
    for rule in ("default", "random"):
        model = Model()
        model.hideOutput()
        model.readProblem(str(LSEU))
        for name in ("randomseedshift", "permutationseed", "lpseed"):
            model.setParam(f"randomization/{name}", 1)
        if rule != "default":
            model.setParam(f"branching/{rule}/priority", 536_870_910)
        model.optimize()
        (line,) = [line.split() for line in output.out.splitlines() if line.startswith(f" scip:{rule} ")]
        counts = (model.getNTotalNodes(), model.getNLPIterations(), model.getNStrongbranchLPIterations())
        assert line[:6] == [f"scip:{rule}", "optimal", "1120", *(f"{count:,}" for count in counts)]
        assert line[-1] == "-", "SCIP's own rules spend no time in a policy"


def test_single_run_is_told_in_words(capfd: Capture) -> None:
    assert main(["solve", str(LSEU), "--policy", "scip:pscost"]) == 0
    text = capfd.readouterr().out
    assert text.startswith(f"{LSEU}: optimal\n")
    assert {"1120", "scip:pscost"} <= set(text.split())
    assert "policy" not in text


def test_learned_policy_from_a_checkpoint(checkpoint: Path, capfd: Capture) -> None:
    result = as_json(capfd, MISC03, "--policy", checkpoint, "--against", "scip:default", "--settings", "clean")
    learned, default = result["runs"]
    assert result["agree"] is True
    assert (learned["policy"], default["policy"]) == (str(checkpoint), "scip:default")
    assert learned["objective"] == pytest.approx(3360)
    assert learned["decisions"] > 0
    assert learned["fallbacks"] == 0
    assert default["decisions"] is None


def test_automatic_choice_is_said(capfd: Capture) -> None:
    (row,) = as_json(capfd, MISC03, "--settings", "clean")["runs"]
    assert row["report"]["auto_family"] == "none"
    assert main(["solve", str(MISC03), "--settings", "clean"]) == 0
    (line,) = [line for line in capfd.readouterr().out.splitlines() if line.startswith("  chosen policy ")]
    assert f"{row['report']['auto_policy']}: the model looks like none of the families" in line


def test_mode_that_buys_nodes_says_what_it_did(capfd: Capture) -> None:
    arguments = (MISC03, "--settings", "clean", "--policy", "auto")
    (fast,) = as_json(capfd, *arguments)["runs"]
    (small,) = as_json(capfd, *arguments, "--mode", "nodes")["runs"]
    assert small["objective"] == fast["objective"]
    assert small["nodes"] < fast["nodes"]
    assert small["strong_branching_lp_iterations"] > 0
    assert main(["solve", *map(str, arguments), "--mode", "nodes"]) == 0
    (line,) = [line for line in capfd.readouterr().out.splitlines() if line.startswith("  shortlist ")]
    assert f"decided at {small['report']['shortlist_nodes']:,} nodes" in line


def test_guard_reports_what_it_did(tmp_path: Path, checkpoint: Path, capfd: Capture) -> None:
    path = tmp_path / "auction.lp"
    families.get("auction").generate("60x250", 202).to_model().writeProblem(str(path), verbose=False)
    arguments = (path, "--policy", checkpoint, "--settings", "clean")
    (guarded,) = as_json(capfd, *arguments)["runs"]
    (free,) = as_json(capfd, *arguments, "--no-guard")["runs"]
    assert guarded["report"]["guard_handovers"] >= 1, "an untrained network is no match for pseudocosts"
    assert guarded["passes"] == guarded["report"]["guard_nodes_left"]
    assert (free["report"], free["passes"]) == ({}, 0)
    assert main(["solve", *map(str, arguments)]) == 0
    (line,) = [line for line in capfd.readouterr().out.splitlines() if line.startswith("  guard ")]
    assert f"{guarded['report']['guard_nodes_left']:,} nodes left to SCIP's rule" in line


def equipped(policy: object) -> tuple[str, ...]:
    """What stands around a policy, from the outside."""
    found = []
    while isinstance(policy, (GuardedPolicy, ShortlistPolicy)):
        found.append("guard" if isinstance(policy, GuardedPolicy) else "nodes")
        policy = policy.policy
    return tuple(found)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), {"auction": ("guard",), "auction+guard": ("guard",), "auction+nodes": ("nodes",), "auction+nodes+guard": ("guard", "nodes")}),
        (("--mode", "nodes"), {"auction": ("guard", "nodes"), "auction+guard": ("guard",), "auction+nodes": ("nodes",)}),
        (("--no-guard",), {"auction": (), "auction+guard": ("guard",), "auction+nodes": ("nodes",)}),
        (("--no-guard", "--mode", "nodes"), {"auction": ("nodes",), "auction+nodes": ("nodes",), "scip:pscost": ()}),
    ],
    ids=lambda value: " ".join(value) or "as it comes",
)
def test_what_stands_behind_a_policy_takes_the_place_of_the_options(
    options: tuple[str, ...], expected: dict[str, tuple[str, ...]], monkeypatch: pytest.MonkeyPatch, capfd: Capture
) -> None:
    from revibranch.cli import solve as module

    honest, seen = module.run, {}

    def spy(file: Path, policy: object, **rest: Any) -> Any:
        seen[rest["label"]] = equipped(policy)
        return honest(file, "scip:default", **rest)

    monkeypatch.setattr(module, "run", spy)
    others = [part for name in list(expected)[1:] for part in ("--against", name)]
    assert main(["solve", str(DATA / "instances" / "flugpl.mps"), "--policy", next(iter(expected)), *others, *options]) == 0
    assert seen == expected


def test_help_names_what_can_stand_behind_a_policy_and_what_options_do_not_do(capfd: Capture) -> None:
    assert main(["solve", "--help"]) == 0
    text = " ".join(capfd.readouterr().out.split())
    assert "+guard, +nodes or both behind a policy's name take the place of these two options" in text
    assert text.count("no effect on scip:<rule>") == 2


def test_json_tells_file_and_weights_by_their_checksums(checkpoint: Path, capfd: Capture) -> None:
    runs = as_json(capfd, MISC03, "--policy", checkpoint, "--against", "scip:default", "--settings", "clean")["runs"]
    assert {run["instance_sha256"] for run in runs} == {file_checksum(MISC03)}
    assert [run["policy_sha256"] for run in runs] == [file_checksum(checkpoint), None]


def test_the_largest_seed_is_one_that_scip_can_add_to(capfd: Capture) -> None:
    # The separator rapidlearning adds to it on this instance.
    (row,) = as_json(capfd, MISC03, "--policy", "scip:default", "--seed", LARGEST_SEED)["runs"]
    assert row["objective"] == pytest.approx(3360)


def test_share_of_time_in_policy_is_shown(checkpoint: Path, capfd: Capture) -> None:
    assert main(["solve", str(MISC03), "--policy", str(checkpoint), "--settings", "clean"]) == 0
    (line,) = [line for line in capfd.readouterr().out.splitlines() if "time in policy" in line]
    assert line.endswith(" %")


def test_json_is_one_object_without_infinities(capfd: Capture) -> None:
    result = as_json(capfd, DATA / "instances" / "stein27_inf.lp", "--policy", "scip:pscost")
    (row,) = result["runs"]
    assert (row["status"], row["objective"], row["primal_bound"], row["time_limit"]) == ("infeasible", None, None, None)
    assert row["nodes"] > 0


def test_same_seed_same_tree(capfd: Capture) -> None:
    def counts(seed: int) -> tuple[int, int]:
        (row,) = as_json(capfd, LSEU, "--policy", "scip:random", "--settings", "clean", "--seed", seed)["runs"]
        return row["nodes"], row["lp_iterations"]

    assert counts(1) == counts(1)
    assert counts(1) != counts(2)


def test_gzipped_file_is_the_same_problem(tmp_path: Path, capfd: Capture) -> None:
    packed = tmp_path / "lseu.mps.gz"
    packed.write_bytes(gzip.compress(LSEU.read_bytes()))
    plain, zipped = (as_json(capfd, path, "--policy", "scip:pscost")["runs"][0] for path in (LSEU, packed))
    for column in ("instance", "objective", "nodes", "lp_iterations"):
        assert plain[column] == zipped[column]


def test_cip_file_is_read(tmp_path: Path, capfd: Capture) -> None:
    model = Model()
    model.hideOutput()
    model.readProblem(str(DATA / "instances" / "lseu.mps"))
    model.writeProblem(str(tmp_path / "lseu.cip"), verbose=False)
    (row,) = as_json(capfd, tmp_path / "lseu.cip", "--policy", "scip:default")["runs"]
    assert (row["instance"], row["objective"]) == ("lseu", pytest.approx(1120))


@pytest.mark.parametrize(
    ("objective", "rows", "bounds", "said"),
    [
        ("Maximize\n x", " c: x <= 7.5", " 0 <= x <= 10", "optimal; solved in presolving, no tree was searched"),
        ("Maximize\n x", " c: x >= 30", " 0 <= x <= 10", "infeasible: no solution exists"),
        ("Maximize\n x", " c: x >= 3", " x >= 0", "unbounded: the objective improves without end"),
    ],
)
def test_outcomes_without_a_tree_are_said(tmp_path: Path, capfd: Capture, objective: str, rows: str, bounds: str, said: str) -> None:
    path = write_lp(tmp_path, objective, rows, bounds)
    assert main(["solve", str(path), "--policy", "scip:default"]) == 0
    assert f"{path}: {said}" in capfd.readouterr().out


def test_time_limit_is_said_with_bound_and_gap(capfd: Capture) -> None:
    assert main(["solve", str(SET_COVER), "--policy", "scip:random", "--settings", "clean", "--time-limit", "1"]) == 0
    text = capfd.readouterr().out
    assert "stopped at the time limit" in text
    assert "bound" in text
    assert " %" in text


def test_time_limit_without_a_solution_is_said(capfd: Capture) -> None:
    assert main(["solve", str(MISC03), "--policy", "scip:random", "--time-limit", "1e-9"]) == 0
    output = capfd.readouterr()
    assert "stopped at the time limit; no solution found" in output.out
    assert output.err == ""


def test_rules_that_disagree_fail_the_command_loudly(monkeypatch: pytest.MonkeyPatch, capfd: Capture) -> None:
    from revibranch.cli import solve as module

    honest = module.run

    def wrong(*arguments: Any, **options: Any) -> Any:
        row = honest(*arguments, **options)
        return replace(row, objective=1121.0, primal_bound=1121.0, dual_bound=1121.0) if row.policy == "scip:random" else row

    monkeypatch.setattr(module, "run", wrong)
    assert main(["solve", str(LSEU), "--policy", "scip:default", "--against", "scip:random"]) == 1
    complaint = capfd.readouterr().err
    assert "WRONG RESULT" in complaint
    assert "optimum 1120" in complaint
    assert "optimum 1121" in complaint
    assert as_json(capfd, LSEU, "--policy", "scip:default", "--against", "scip:random", code=1)["agree"] is False


# ---- Ctrl-C ----------------------------------------------------------------------------------------------------------


INTERRUPTED = """
import os, signal, sys
from revibranch.cli import main, solve

honest, sent = solve.run, []

def run(*arguments, **options):
    def interrupt(progress):
        if progress.nodes >= 10 and not sent:
            sent.append(progress)
            os.kill(os.getpid(), signal.SIGINT)
    return honest(*arguments, **{**options, "on_progress": interrupt})

solve.run = run
sys.exit(main())
"""


def test_interrupt_keeps_the_incumbent_and_the_json_whole() -> None:
    arguments = ["solve", SET_COVER, "--policy", "scip:random", "--against", "scip:default", "--settings", "clean", "--json"]
    done = subprocess.run([sys.executable, "-c", INTERRUPTED, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 130
    (row,) = json.loads(done.stdout)["runs"]
    assert row["status"] == "userinterrupt"
    assert row["objective"] is not None
    assert row["nodes"] >= 10


def test_progress_is_shown_on_a_terminal_and_leaves_stdout_alone() -> None:
    ours, theirs = pty.openpty()
    program = "import sys; from revibranch.cli import main; sys.exit(main())"
    arguments = [SET_COVER, "--policy", "scip:random", "--settings", "clean", "--time-limit", "2", "--json"]
    done = subprocess.run(
        [sys.executable, "-c", program, "solve", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "160"},
        check=True,
    )
    shown = os.read(ours, 1_000_000).decode()
    os.close(ours)
    os.close(theirs)
    assert "nodes" in shown
    assert "setcover-400x750-s1.lp.gz" in shown
    assert json.loads(done.stdout)["runs"][0]["status"] == "timelimit"


@pytest.mark.parametrize("terminal", ["xterm", "dumb"])
def test_a_table_on_a_terminal_is_whole(terminal: str) -> None:
    ours, theirs = pty.openpty()
    program = "import sys; from revibranch.cli import main; sys.exit(main())"
    subprocess.run(
        [sys.executable, "-c", program, "solve", str(LSEU), "--policy", "scip:pscost", "--against", "scip:mostinf"],
        stdout=theirs,
        env={**os.environ, "TERM": terminal, "COLUMNS": "40"},
        check=True,
    )
    shown = os.read(ours, 1_000_000).decode()
    os.close(ours)
    os.close(theirs)
    assert "in strong branching" in shown
    assert shown.count("1120") == 2
    assert "…" not in shown


# ---- wrong input -----------------------------------------------------------------------------------------------------


def assert_refused(capfd: Capture, complaint: str, *arguments: object) -> None:
    assert main(["solve", *map(str, arguments)]) == 2
    output = capfd.readouterr()
    assert output.out == ""
    assert output.err.startswith("revibranch: error: ")
    assert output.err.count("\n") == 1
    assert complaint in output.err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--policy", "scip:best"], "known are scip:default, scip:relpscost"),
        (["--policy", "scip:default", "--against", "scip:best"], "known are scip:default, scip:relpscost"),
        (["--policy", "setcovr"], "unknown policy 'setcovr'; known are auto"),
        (["--policy", "missing.safetensors"], "missing.safetensors"),
        (["--time-limit", "nan"], "not a positive number"),
        (["--time-limit", "-1"], "not a positive number"),
        (["--time-limit", "0"], "not a positive number"),
        (["--time-limit", "soon"], "--time-limit"),
        (["--seed", "-1"], "--seed"),
        (["--seed", "2147483648"], "--seed"),
        (["--seed", "2147483647"], "--seed"),
        (["--seed", "1.5"], "--seed"),
        (["--mode", "memory"], "'time', 'nodes'"),
        (["--settings", "cleen"], "'default', 'clean', 'dfs'"),
        (["--jsno"], "--jsno"),
    ],
)
def test_wrong_option_is_one_line(capfd: Capture, arguments: list[str], complaint: str) -> None:
    assert_refused(capfd, complaint, MISC03, *arguments)


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("missing.mps", None, "no such file"),
        ("problem.xyz", b"", "its name must end in"),
        ("damaged.mps", b"garbage\n", "Syntax error in line 1"),
        ("damaged.lp", b"garbage\n", "neither variables nor constraints"),
        ("damaged.mps.gz", gzip.compress(MISC03.read_bytes())[:2000], "cannot read"),
    ],
)
def test_unreadable_file_is_one_line(tmp_path: Path, capfd: Capture, name: str, content: bytes | None, complaint: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert_refused(capfd, complaint, tmp_path / name, "--policy", "scip:default")


def test_directory_is_no_problem(tmp_path: Path, capfd: Capture) -> None:
    assert_refused(capfd, "not a file", tmp_path)


@pytest.mark.parametrize("damage", ["cut", "garbage", "empty"])
def test_damaged_weights_are_one_line(tmp_path: Path, checkpoint: Path, capfd: Capture, damage: str) -> None:
    whole = checkpoint.read_bytes()
    path = tmp_path / "damaged.safetensors"
    path.write_bytes({"cut": whole[: len(whole) // 2], "garbage": b"\xff" * 64, "empty": b""}[damage])
    assert_refused(capfd, "damaged.safetensors", MISC03, "--policy", path)


def test_a_name_that_is_no_text_is_one_line(tmp_path: Path, capfd: Capture) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    (folder / "lseu.mps").write_bytes(LSEU.read_bytes())
    assert_refused(capfd, "valid UTF-8", folder / "lseu.mps", "--policy", "scip:default")
