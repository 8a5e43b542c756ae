from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("torch")

TEXT = """
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
instances = 2
every = 150
"""


def command(folder: Path, out: str, *options: str) -> list[str]:
    (folder / "tiny.toml").write_text(TEXT)
    return [sys.executable, "-m", "revibranch", "train", str(folder / "tiny.toml"), "--out", str(folder / out), *options]


def test_a_run_that_was_killed_ends_with_the_weights_of_one_that_was_not(tmp_path: Path) -> None:
    subprocess.run(command(tmp_path, "whole", "--workers", "1"), check=True, capture_output=True, timeout=300)
    log = tmp_path / "parts" / "log.jsonl"
    with subprocess.Popen(command(tmp_path, "parts", "--workers", "1"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and (not log.exists() or log.read_text().count('"round"') < 4):
            time.sleep(0.02)
        assert process.poll() is None, "the run ended before it could be killed"
        process.send_signal(signal.SIGKILL)
    assert (tmp_path / "parts" / "state.safetensors").exists()
    assert not (tmp_path / "parts" / "tiny.safetensors").exists()
    done = subprocess.run(
        command(tmp_path, "parts", "--workers", "1", "--resume"), capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "validation" in done.stdout
    assert (tmp_path / "parts" / "tiny.safetensors").read_bytes() == (tmp_path / "whole" / "tiny.safetensors").read_bytes()
    kinds = {json.loads(line)["kind"] for line in log.read_text().splitlines()}
    assert kinds == {"round", "validation"}


def test_wrong_input_is_one_line(tmp_path: Path) -> None:
    for options, words in (
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
