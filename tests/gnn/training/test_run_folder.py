"""One training at a time works in a folder."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from revibranch.gnn.training.collect import SolveReport
from revibranch.gnn.training.errors import TrainingError
from revibranch.gnn.training.imitation import EpochReport
from revibranch.gnn.training.recipe import Recipe
from revibranch.gnn.training.reports import RoundReport, ValidationReport
from revibranch.gnn.training.run_folder import alone_in, holds_run
from revibranch.gnn.training.train import train
from revibranch.gnn.training.train_reinforcement import train_reinforcement

from .episodes import RECIPE
from .trainings import recipe

REFUSED = "another training is at work in"


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_is_held_until_the_end_and_on_errors_too(tmp_path: Path) -> None:
    out = tmp_path / "runs" / "one"
    opened = os.listdir("/proc/self/fd")
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), alone_in(out):  # noqa: PT012
            with pytest.raises(TrainingError, match=REFUSED) as caught, alone_in(out):
                pass
            assert "\n" not in str(caught.value)
            with pytest.raises(TrainingError, match=REFUSED), alone_in(out):  # the refused one did not end the lock
                pass
            raise ZeroDivisionError
        assert list(out.iterdir()) == []
    (out / "own").write_text("")
    with alone_in(tmp_path / "runs" / "another"), alone_in(out):
        assert not holds_run(out)
    assert os.listdir("/proc/self/fd") == opened


def test_the_lock_of_a_killed_training_hinders_nobody(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from revibranch.gnn.training.run_folder import alone_in\n"
        "with alone_in(Path(sys.argv[1])):\n  print(flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        try:
            with pytest.raises(TrainingError, match=REFUSED), alone_in(tmp_path):
                pass
        finally:
            other.kill()
    assert list(tmp_path.iterdir()) != []
    assert not holds_run(tmp_path)
    with alone_in(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_its_holder_takes_away_just_now_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flock = fcntl.flock

    def late(descriptor: int, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", flock)
        for path in tmp_path.iterdir():  # as the other one does when it ends
            path.unlink()
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    with alone_in(tmp_path), pytest.raises(TrainingError, match=REFUSED), alone_in(tmp_path):
        pass


def test_a_file_system_without_locks_keeps_nobody_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unknown)
    before = set(os.listdir("/proc/self/fd"))
    with alone_in(tmp_path), alone_in(tmp_path):
        pass
    assert not (tmp_path / ".lock").exists()
    assert set(os.listdir("/proc/self/fd")) == before


class Rival:
    """An observer that begins the same training again whenever it is told something, and sees that it is refused and changes nothing."""

    def __init__(self, out: Path, begin: Callable[[bool], object]) -> None:
        self._out, self._begin = out, begin
        self.told: list[str] = []

    def collecting(self, purpose: str, goal: int | None) -> None:
        self._try("collecting")

    def collected(self, report: SolveReport) -> None:
        pass

    def training(self, samples: int, decisions: int) -> None:
        self._try("training")

    def stepped(self, step: int, steps: int, loss: float) -> None:
        pass

    def epoch(self, report: EpochReport) -> None:
        self._try("epoch")

    def rollouts(self, decisions: int | None) -> None:
        self._try("rollouts")

    def round_ended(self, report: RoundReport) -> None:
        self._try("round")

    def validated(self, report: ValidationReport) -> None:
        self._try("validation")

    def lost(self, instance: str, cause: str) -> None:
        pass

    def _try(self, when: str) -> None:
        before = contents(self._out)
        for resume in (False, True):
            with pytest.raises(TrainingError, match=REFUSED):
                self._begin(resume)
        assert contents(self._out) == before
        self.told.append(when)


def test_no_second_imitation_in_the_folder_of_one(tmp_path: Path) -> None:
    samples = {"expert": "constraint-by-constraint", "training": 3, "validation": 2, "per_instance": 3, "node_limit": 20}
    settings = Recipe.model_validate({**RECIPE, "instances": {"family": "auction", "size": "30x120"}, "samples": samples})
    out = tmp_path / "run"
    rival = Rival(out, lambda resume: train(settings, "second", out, rival, workers=0, resume=resume))
    train(settings, "first", out, rival, workers=0)
    assert rival.told == ["collecting", "collecting", "training", "epoch", "epoch", "epoch"]
    assert (out / "recipe.toml").read_text() == "first"
    assert not (out / ".lock").exists()
    with pytest.raises(TrainingError, match="holds a run already"):  # as ever
        train(settings, "second", out, rival, workers=0)


def test_no_second_reinforcement_in_the_folder_of_one(tmp_path: Path) -> None:
    settings = recipe(tmp_path, "tmdp", "rollout.decisions=20", "validation.instances=1")
    out = tmp_path / "run"
    rival = Rival(out, lambda resume: train_reinforcement(settings, "second", out, rival, workers=0, resume=resume))
    train_reinforcement(settings, "first", out, rival, workers=0)
    assert set(rival.told) == {"rollouts", "round", "validation"}
    assert (out / "recipe.toml").read_text() == "first"
    assert not (out / ".lock").exists()
    train_reinforcement(settings, "again", out, rival, workers=0, resume=True)
