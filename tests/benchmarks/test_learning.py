"""The study of the learners runs from trainings to tables, and does nothing twice."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from .rows import run_row

pytest.importorskip("torch")
pytest.importorskip("pyarrow")
pytest.importorskip("matplotlib")

from revibranch.benchmarks import learning as module
from revibranch.benchmarks.learning import main, relabelled

RECIPES = Path(__file__).parents[2] / "recipes"
SMALL = (
    "instances.size=30x120",
    "rollout.decisions=60",
    "rollout.episodes=2",
    "rollout.warm_up=2",
    "network.width=8",
    "validation.instances=2",
    "validation.every=40",
)


@pytest.mark.slow
def test_from_trainings_to_tables(tmp_path: Path) -> None:
    out = tmp_path / "study"
    arguments = [
        "--recipe",
        str(RECIPES / "auction-learning.toml"),
        "--out",
        str(out),
        "--seeds",
        "1",
        "--instances",
        "auction:30x120:0-1:compatibility=bundle",
    ]
    arguments += [part for variant in ("revibranch", "tmdp") for part in ("--only", variant)]
    arguments += [part for change in SMALL for part in ("--set", change)]
    first = CliRunner().invoke(main, arguments)
    assert first.exit_code == 0, first.output
    assert "# auction:30x120:0-1" in first.output
    assert "| tmdp |" in first.output
    assert first.stderr.count("trained") == 2
    again = CliRunner().invoke(main, arguments)
    assert again.stdout == first.stdout
    assert "trained" not in again.stderr
    other = CliRunner().invoke(main, [*arguments, "--set", "learning.alpha=0.5"])
    assert other.exit_code == 1
    assert "other --set options" in other.output


def test_a_training_that_fails_leaves_no_other_running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interpreter = tmp_path / "python"
    interpreter.write_text('#!/bin/sh\ncase "$*" in *bad*) exit 1;; esac\nexec sleep 600\n')
    interpreter.chmod(0o755)
    started: list[subprocess.Popen[bytes]] = []

    class Watched(subprocess.Popen[bytes]):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            started.append(self)

    monkeypatch.setattr(sys, "executable", str(interpreter))
    monkeypatch.setattr(subprocess, "Popen", Watched)
    runs: dict[Path, tuple[str, ...]] = {tmp_path / "good": (), tmp_path / "bad": ()}
    with pytest.raises(click.ClickException, match="bad failed"):
        module._train(RECIPES / "auction-learning.toml", runs, "cpu", workers=2)
    assert [process.poll() for process in started] == [-signal.SIGTERM, 1]


def test_a_variant_that_is_not_there_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["--out", str(tmp_path), "--only", "dqn"])
    assert result.exit_code == 2
    assert "unknown variants dqn" in result.output
    result = CliRunner().invoke(main, ["--out", str(tmp_path), "--set", "seed=3"])
    assert result.exit_code == 2
    assert "the study's own" in result.output


def test_rows_of_trainings_bear_their_variant_and_rules_stand_for_every_seed() -> None:
    rows = [run_row("a", 0, "x/revibranch-s1/c.safetensors"), run_row("a", 0, "scip:pscost")]
    found = relabelled(rows, {"x/revibranch-s1/c.safetensors": ("revibranch", 1)}, 2)
    assert [(row.policy, row.seed) for row in found] == [("revibranch", 1), ("scip:pscost", 0), ("scip:pscost", 1)]
