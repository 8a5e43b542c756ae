"""A training by imitation, from its recipe to its checkpoint: interrupted, gone on with, refused."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from revibranch.branching._scip import scip_release
from revibranch.cli import main
from revibranch.gnn.checkpoint import load_checkpoint
from revibranch.gnn.training import collect as module
from revibranch.gnn.training.collect import SolveReport
from revibranch.gnn.training.errors import TrainingError
from revibranch.gnn.training.imitation import EpochReport
from revibranch.gnn.training.interruption import Interrupted
from revibranch.gnn.training.recipe import load_recipe
from revibranch.gnn.training.state import StateError
from revibranch.gnn.training.train import Budget, train

from .test_collect import FAMILY, SIZE, small


class Silent:
    """An observer that stops a training after its first epoch or before its first step, if it is told to."""

    def __init__(self, stop: bool, *, early: bool = False, timed: bool = True) -> None:
        self.stop, self.early, self.timed = stop, early, timed
        self.collections = 0

    def collecting(self, purpose: str, goal: int | None) -> None:
        assert (goal is None) == self.timed
        self.collections += 1

    def collected(self, report: SolveReport) -> None:
        pass

    def training(self, samples: int, decisions: int) -> None:
        if self.early:
            raise KeyboardInterrupt

    def stepped(self, step: int, steps: int, loss: float) -> None:
        pass

    def epoch(self, report: EpochReport) -> None:
        if self.stop:
            os.kill(os.getpid(), signal.SIGTERM)


def test_a_training_within_a_time_resumes_on_the_samples_that_it_had(tmp_path: Path) -> None:
    recipe = small(training=1000, validation=1000)
    budget = Budget(validation=0.1, training=0.1, learning=3600.0)
    with pytest.raises(Interrupted):
        train(recipe, "", tmp_path / "run", Silent(stop=True), workers=0, budget=budget)
    before = sorted(path.name for path in (tmp_path / "run" / "samples").rglob("*.npz"))
    resumed = Silent(stop=False)
    result = train(recipe, "", tmp_path / "run", resumed, workers=0, resume=True, budget=budget)
    assert resumed.collections == 0
    assert sorted(path.name for path in (tmp_path / "run" / "samples").rglob("*.npz")) == before
    assert result.best.epoch <= recipe.optimiser.epochs
    assert result.checkpoint.exists()


def test_an_instance_that_failed_once_does_not_keep_a_training_from_going_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = small()
    solve = module._solve

    def failing(task: Any) -> SolveReport:
        if task.number == 1:
            raise MemoryError
        return solve(task)

    with monkeypatch.context() as patch:
        patch.setattr(module, "_solve", failing)
        with pytest.raises(Interrupted):
            train(recipe, "", tmp_path / "run", Silent(stop=True, timed=False), workers=0)
    whole = (tmp_path / "run" / "samples.json").read_text()
    for damaged in ("", "[]", '{"training": 3}', '{"training": [3]}'):
        (tmp_path / "run" / "samples.json").write_text(damaged)
        with pytest.raises(TrainingError, match=r"samples\.json is damaged"):
            train(recipe, "", tmp_path / "run", Silent(stop=False, timed=False), workers=0, resume=True)
    (tmp_path / "run" / "samples.json").write_text(whole)
    listed = json.loads(whole)
    lost = tmp_path / "run" / "samples" / "training" / listed["training"][0]
    content = lost.read_bytes()
    lost.unlink()
    train(recipe, "", tmp_path / "run", Silent(stop=False, timed=False), workers=0, resume=True)
    assert lost.read_bytes() == content
    assert json.loads((tmp_path / "run" / "samples.json").read_text()) == listed


def test_what_is_refused_leaves_the_recipe_of_the_run(tmp_path: Path) -> None:
    out, budget = tmp_path / "run", Budget(validation=0.1, training=0.1, learning=3600.0)
    recipe, other = small(), small(probability=0.4)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, "before", out, Silent(stop=False, early=True), workers=0, budget=budget)
    with pytest.raises(TrainingError, match="samples of other settings"):
        train(other, "after", out, Silent(stop=False), workers=0, resume=True, budget=budget)
    assert (out / "recipe.toml").read_text() == "before"
    with pytest.raises(Interrupted):
        train(recipe, "before", out, Silent(stop=True), workers=0, resume=True, budget=budget)
    refused = Silent(stop=False)
    with pytest.raises(StateError, match=r"samples\.probability differs: 0\.3 there, 0\.4 here"):
        train(other, "after", out, refused, workers=0, resume=True, budget=budget)
    assert refused.collections == 0
    assert (out / "recipe.toml").read_text() == "before"


def write_recipe(folder: Path) -> Path:
    path = folder / "tiny.toml"
    path.write_text(
        f"""name = "tiny"
[instances]
family = "{FAMILY}"
size = "{SIZE}"
[samples]
training = 8
validation = 4
per_instance = 5
probability = 0.5
[network]
width = 8
heads = 2
history_length = 3
[optimiser]
epochs = 2
batch = 4
"""
    )
    return path


@pytest.mark.slow
def test_train_from_recipe_to_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe, out = write_recipe(tmp_path), tmp_path / "run"
    assert main(["train", str(recipe), "--out", str(out), "--set", "seed=4"]) == 0
    printed = capsys.readouterr()
    assert "tiny.safetensors" in printed.out
    assert "epoch 2" in printed.err
    network, description = load_checkpoint(out / "tiny.safetensors")
    assert network.config.history_length == 3
    assert description.family == FAMILY
    assert description.seeds[0] == 4
    assert description.samples["training"] >= 8
    assert description.samples["training_decisions"] >= description.samples["training"]
    assert "seed=4" in description.recipe
    assert description.scip_version == scip_release()
    assert len(json.loads((out / "epochs.json").read_text())) == 2

    assert main(["train", str(recipe), "--out", str(out), "--set", "seed=4"]) == 2
    assert "--resume" in capsys.readouterr().err
    data = (out / "tiny.safetensors").read_bytes()
    assert main(["train", str(recipe), "--out", str(out), "--set", "seed=4", "--resume"]) == 0
    again, _ = load_checkpoint(out / "tiny.safetensors")
    assert all((value == network.state_dict()[name]).all() for name, value in again.state_dict().items())
    assert len(data) == len((out / "tiny.safetensors").read_bytes())


def test_wrong_input_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = write_recipe(tmp_path)
    for arguments in (["nowhere.toml"], [str(recipe), "--set", "optimiser.epoch=1"], [str(recipe), "--set", "nonsense"]):
        assert main(["train", *arguments, "--out", str(tmp_path / "run")]) == 2
        assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()
    load_recipe(recipe)
