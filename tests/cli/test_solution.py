"""``revibranch solve --solution``: what is written can be read back, and nothing is lost where it cannot be written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pyscipopt import Model

from revibranch.cli import main
from revibranch.cli import solution as module

from .problems import LSEU, Capture, as_json


def test_the_solution_can_be_read_back(tmp_path: Path, capfd: Capture) -> None:
    path = tmp_path / "lseu.sol"
    assert main(["solve", str(LSEU), "--policy", "scip:default", "--against", "scip:random", "--solution", str(path)]) == 0
    model = Model()
    model.hideOutput()
    model.readProblem(str(LSEU))
    solution = model.readSolFile(str(path))
    assert model.getSolObjVal(solution) == pytest.approx(1120)
    assert model.addSol(solution)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "problem",
    [
        "minimize\n obj: x\nsubject to\n c: x >= 2\nbounds\n 0 <= x <= 1\ngeneral\n x\nend\n",
        "maximize\n obj: x + y\nsubject to\n c: x - y = 0\ngeneral\n x\nend\n",
    ],
    ids=["infeasible", "unbounded"],
)
def test_where_there_is_no_solution_the_file_stays_and_the_result_is_told(tmp_path: Path, capfd: Capture, problem: str) -> None:
    file, path = tmp_path / "no.lp", tmp_path / "no.sol"
    file.write_text(problem)
    path.write_text("kept")
    result = as_json(capfd, file, "--policy", "scip:default", "--solution", path, code=1)
    assert result["runs"][0]["objective"] is None
    assert path.read_text() == "kept"


def test_a_solution_never_takes_the_place_of_what_is_read(tmp_path: Path, capfd: Capture) -> None:
    file = tmp_path / "a.mps"
    file.write_bytes(LSEU.read_bytes())
    link, pipe, circle = tmp_path / "link.mps", tmp_path / "pipe", tmp_path / "circle.sol"
    link.symlink_to(file)
    circle.symlink_to(circle)
    os.mkfifo(pipe)
    for target in (file, link, pipe, circle, tmp_path / "nowhere" / "a.sol"):
        assert main(["solve", str(file), "--policy", "scip:default", "--solution", str(target)]) == 2
        assert len(capfd.readouterr().err.strip().splitlines()) == 1
    assert file.read_bytes() == LSEU.read_bytes()
    assert link.is_symlink()
    assert pipe.is_fifo()


def test_a_file_may_have_the_longest_name_that_there_is(tmp_path: Path, capfd: Capture) -> None:
    path = tmp_path / f"{'a' * 251}.sol"
    result = as_json(capfd, LSEU, "--policy", "scip:default", "--solution", path)
    assert result["runs"][0]["objective"] == 1120
    assert path.stat().st_size
    assert list(tmp_path.iterdir()) == [path]


def test_a_solution_that_cannot_be_written_at_last_costs_no_result(tmp_path: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_atomically", full)
    path = tmp_path / "lseu.sol"
    path.write_text("kept")
    assert main(["solve", str(LSEU), "--policy", "scip:default", "--solution", str(path), "--json"]) == 1
    output = capfd.readouterr()
    assert json.loads(output.out)["runs"][0]["status"] == "optimal"
    assert "No space left" in output.err
    assert path.read_text() == "kept"


def test_names_in_another_encoding_reach_the_file_as_they_are(tmp_path: Path, capfd: Capture) -> None:
    file, path = tmp_path / "latin.lp", tmp_path / "latin.sol"
    file.write_bytes("maximize\n obj: 3 größe + 2 y\nsubject to\n c: größe + y <= 1.5\nbinary\n größe y\nend\n".encode("latin-1"))
    result = as_json(capfd, file, "--policy", "scip:default", "--solution", path)
    assert result["runs"][0]["objective"] == 3
    values = dict(line.split()[:2] for line in path.read_bytes().splitlines()[2:])
    assert {name: float(value) for name, value in values.items()} == {"größe".encode("latin-1"): 1.0, b"y": 0.0}


def test_whatever_keeps_a_solution_from_its_file_the_result_is_told(
    tmp_path: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(path: Path, content: bytes) -> None:
        raise RuntimeError("no such luck")

    monkeypatch.setattr(module, "write_atomically", broken)
    assert main(["solve", str(LSEU), "--policy", "scip:default", "--solution", str(tmp_path / "a.sol"), "--json"]) != 0
    output = capfd.readouterr()
    assert json.loads(output.out)["runs"][0]["objective"] == 1120
    assert "no such luck" in output.err


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/stderr", "out", "err"])
def test_what_the_command_prints_into_is_no_place_for_a_solution(name: str, tmp_path: Path) -> None:
    program = "import sys; from revibranch.cli import main; sys.exit(main())"
    out, err = tmp_path / "out", tmp_path / "err"
    err.write_text("earlier lines\n")
    with out.open("wb") as output, err.open("ab") as errors:
        target = name if name.startswith("/") else str(tmp_path / name)
        command = [sys.executable, "-c", program, "solve", str(LSEU), "--policy", "scip:default", "--solution", target]
        assert subprocess.run(command, stdout=output, stderr=errors, check=False).returncode == 2
    assert out.read_text() == ""
    first, complaint = err.read_text().splitlines()
    assert first == "earlier lines"
    assert "standard output" in complaint
