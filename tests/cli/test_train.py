from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from revibranch.cli import main
from revibranch.gnn.training.run_folder import alone_in

pytest.importorskip("torch")

EVERY = 150
TEXT = f"""
name = "tiny"
learner = "revibranch"
[instances]
family = "auction"
size = "30x120"
[network]
width = 8
heads = 2
history_length = 4
classes = 12
[rollout]
decisions = 400
episodes = 3
warm_up = 3
[learning]
batch = 16
target_every = 4
[validation]
instances = 6
every = {EVERY}
"""


def command(folder: Path, out: str, *options: str) -> list[str]:
    (folder / "tiny.toml").write_text(TEXT)
    return [sys.executable, "-m", "revibranch", "train", str(folder / "tiny.toml"), "--out", str(folder / out), *options]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was never stopped."""
    folder = tmp_path_factory.mktemp("whole")
    subprocess.run(command(folder, "whole", "--workers", "1"), check=True, capture_output=True, timeout=300)
    return folder / "whole"


def entries(log: Path, kind: str) -> list[dict[str, Any]]:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    lines = [json.loads(line, parse_constant=refuse) for line in log.read_text().splitlines()] if log.exists() else []
    assert {line["kind"] for line in lines} <= {"round", "validation"}
    return [line for line in lines if line["kind"] == kind]


def resumed(folder: Path) -> None:
    done = subprocess.run(command(folder, "parts", "--workers", "1", "--resume"), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "validation" in done.stdout


def test_a_run_that_was_killed_ends_with_the_weights_of_one_that_was_not(whole: Path, tmp_path: Path) -> None:
    log = tmp_path / "parts" / "log.jsonl"
    with subprocess.Popen(command(tmp_path, "parts", "--workers", "1"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and len(entries(log, "round")) < 4:
            time.sleep(0.02)
        assert process.poll() is None, "the run ended before it could be killed"
        process.send_signal(signal.SIGKILL)
    assert (tmp_path / "parts" / "state.safetensors").exists()
    assert not (tmp_path / "parts" / "tiny.safetensors").exists()
    resumed(tmp_path)
    assert (tmp_path / "parts" / "tiny.safetensors").read_bytes() == (whole / "tiny.safetensors").read_bytes()


def test_a_signal_to_the_whole_group_in_a_validation_leaves_weights_and_scores_as_they_would_have_been(whole: Path, tmp_path: Path) -> None:
    log = tmp_path / "parts" / "log.jsonl"
    with subprocess.Popen(
        command(tmp_path, "parts", "--workers", "1"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        while process.poll() is None and not any(line["decisions"] >= EVERY for line in entries(log, "round")):
            time.sleep(0.005)
        for _ in range(2):  # as `timeout` does: to the process, then to its group
            os.kill(process.pid, signal.SIGTERM)
            os.killpg(process.pid, signal.SIGTERM)
        assert process.stderr is not None
        told = process.stderr.read()
    assert process.returncode == 128 + signal.SIGTERM
    assert "stopped by SIGTERM; --resume goes on" in told
    assert "lost" not in told
    assert entries(log, "validation") == []
    resumed(tmp_path)
    assert (tmp_path / "parts" / "tiny.safetensors").read_bytes() == (whole / "tiny.safetensors").read_bytes()
    assert entries(log, "validation") == entries(whole / "log.jsonl", "validation")


def test_a_round_without_a_gradient_step_has_no_loss(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changes = ["--set", "learning.updates_per_decision=1e-9", "--set", "rollout.decisions=20", "--set", "validation.instances=1"]
    assert main(command(tmp_path, "run", "--workers", "0", *changes)[3:]) == 0
    rounds = entries(tmp_path / "run" / "log.jsonl", "round")
    assert all(line["loss"] is None and line["round_steps"] == 0 for line in rounds)
    told = capsys.readouterr().err
    assert "loss -," in told
    assert "nan" not in told


def test_what_is_refused_leaves_the_folder_as_it_was(whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(whole, copy)
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    changed = command(tmp_path, "copy", "--workers", "0", "--resume", "--set", "learning.batch=8", "--set", "seed=3")[3:]
    assert main(changed) == 2
    error = capsys.readouterr().err
    assert "another recipe, seed differs: 0 there, 3 here" in error
    assert "--set options" in error
    assert len(error.splitlines()) == 1
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("options", [(), ("--resume",)])
def test_a_second_training_in_the_same_folder_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...]
) -> None:
    out = tmp_path / "two"
    with alone_in(out):
        (out / "recipe.toml").write_text("the first one's")  # all that there is before the first state
        assert main(command(tmp_path, "two", "--workers", "0", *options)[3:]) == 2
        error = capsys.readouterr().err
        assert f"another training is at work in {out}" in error
        assert len(error.splitlines()) == 1
        assert (out / "recipe.toml").read_text() == "the first one's"
    assert [path.name for path in out.iterdir()] == ["recipe.toml"]


def test_there_must_be_something_to_go_on_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "own").mkdir()
    for seed in range(8):
        (tmp_path / "own" / f"{seed}.lp").write_text("min\n x\nst\n x >= 1\nend\n")
    tailored = ["train", "--instances", str(tmp_path / "own"), "--resume", "--out"]
    for arguments in (
        command(tmp_path, "nowhere", "--resume")[3:],
        command(tmp_path, "empty", "--resume")[3:],
        [*tailored, str(tmp_path / "nowhere")],
        [*tailored, str(tmp_path / "empty")],
    ):
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert "holds no run to go on with" in error
        assert len(error.splitlines()) == 1
    assert not (tmp_path / "nowhere").exists()
    assert list((tmp_path / "empty").iterdir()) == []


def test_a_run_that_was_killed_before_its_first_state_is_gone_on_with(whole: Path, tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    shutil.copy(whole / "recipe.toml", tmp_path / "parts")
    resumed(tmp_path)
    assert (tmp_path / "parts" / "tiny.safetensors").read_bytes() == (whole / "tiny.safetensors").read_bytes()


def test_a_full_disk_is_no_wrong_input(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.delenv("REVIBRANCH_DEBUG", raising=False)
    monkeypatch.setattr("revibranch.gnn.training.reinforcement_state.save_state", full)
    assert main(command(tmp_path, "run", "--workers", "0", "--set", "validation.instances=1")[3:]) == 1
    assert "No space left on device (REVIBRANCH_DEBUG=1 shows where)" in capsys.readouterr().err.splitlines()[-1]


def test_wrong_input_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    for options, words in (
        (("--out", str(tmp_path / "file" / "run")), "cannot be made"),
        (("--set", "learning.stepz=3"), "did you mean 'steps'"),
        (("--set", "learner=bbmdp"), "uses no history"),
        (("--set", "network.classes=0"), "needs a network with classes"),
        (("--set", "start=nowhere.safetensors"), "nowhere.safetensors"),
        (("--samples", str(tmp_path)), "--samples is for imitation"),
        (("--workers", "many"), "no number of processes"),
    ):
        done = subprocess.run(command(tmp_path, "run", *options), capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 2
        assert words in done.stderr
        assert "Traceback" not in done.stderr
