"""The state that a training by reinforcement goes on from: of another recipe, of other files, damaged, or not to be written."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from revibranch.gnn.training.interruption import Interrupted
from revibranch.gnn.training.recipe import ReinforcementRecipe
from revibranch.gnn.training.state import StateError, load_state, save_state
from revibranch.instances.families import get

from .trainings import recipe, run


def test_a_state_of_the_time_before_validations_could_be_pending_is_gone_on_with(tmp_path: Path) -> None:
    settings = recipe(tmp_path)
    expected = run(settings, tmp_path / "run").run().state_dict()
    path = tmp_path / "run" / "state.safetensors"
    tensors, facts = load_state(path)
    del facts["validating"]
    for report in facts["validations"]:
        del report["lost"]
    save_state(path, tensors, facts)
    found = run(settings, tmp_path / "run").run(resume=True).state_dict()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_a_state_of_another_recipe_is_refused(tmp_path: Path) -> None:
    run(recipe(tmp_path), tmp_path / "run").run()
    with pytest.raises(StateError, match=r"another recipe, learning\.steps differs: 3 there, 2 here; --resume needs .* --set options"):
        run(recipe(tmp_path, "revibranch", "learning.steps=2"), tmp_path / "run").run(resume=True)
    started = run(recipe(tmp_path, "revibranch", "start=somewhere"), tmp_path / "run")
    with pytest.raises(StateError, match="another recipe, start differs; "):
        started.run(resume=True)


def test_a_state_of_other_files_of_the_same_names_is_refused(tmp_path: Path) -> None:
    def write(name: str, seed: int) -> None:
        get("auction").generate("30x120", seed).to_model().writeProblem(str(tmp_path / name), verbose=False)

    for seed, name in enumerate(("a.lp", "b.lp")):
        write(name, seed)
    content = {"training_files": (str(tmp_path / "a.lp"),), "validation_files": (str(tmp_path / "b.lp"),)}
    plain = recipe(tmp_path, "revibranch", "rollout.decisions=20", "validation.instances=1").model_dump(exclude={"instances"})
    settings = ReinforcementRecipe.model_validate({**plain, "instances": content})
    run(settings, tmp_path / "run").run()
    run(settings, tmp_path / "run").run(resume=True)
    write("b.lp", 7)
    with pytest.raises(StateError, match="was trained on other instances"):
        run(settings, tmp_path / "run").run(resume=True)


def test_a_state_of_another_scip_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = recipe(tmp_path, "revibranch", "rollout.decisions=20", "validation.instances=1")
    run(settings, tmp_path / "run").run()
    monkeypatch.setattr("revibranch.gnn.training.reinforcement_state.scip_release", lambda: "11.0.0")
    with pytest.raises(StateError, match=r"was written with SCIP \d+\.\d+\.\d+, this is SCIP 11\.0\.0"):
        run(settings, tmp_path / "run").run(resume=True)


def test_a_damaged_episode_of_the_replay_is_one_clear_error(tmp_path: Path) -> None:
    settings = recipe(tmp_path)
    run(settings, tmp_path / "run").run()
    next((tmp_path / "run" / "replay").glob("*.npz")).write_bytes(b"garbage")
    with pytest.raises(StateError, match="cannot be used"):
        run(settings, tmp_path / "run").run(resume=True)


def without(facts: dict[str, Any], key: str) -> None:
    del facts["counters"][key]


@pytest.mark.parametrize(
    "damage",
    [
        lambda tensors, facts: without(facts, "seconds"),
        lambda tensors, facts: facts.update(validations=[{"nonsense": 1}]),
        lambda tensors, facts: tensors.pop("network.decoder.null"),
        lambda tensors, facts: tensors.update({"best.decoder.null": torch.zeros(3), "network.decoder.null": torch.zeros(3)}),
        lambda tensors, facts: facts.update(counters=[]),
    ],
)
def test_a_state_whose_content_is_damaged_is_one_clear_error(tmp_path: Path, damage: Callable[[Any, Any], object]) -> None:
    settings = recipe(tmp_path)
    run(settings, tmp_path / "run").run()
    path = tmp_path / "run" / "state.safetensors"
    tensors, facts = load_state(path)
    damage(tensors, facts)
    save_state(path, tensors, facts)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(StateError, match="is damaged") as caught:
        run(settings, tmp_path / "run").run(resume=True)
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("resume", [False, True])
def test_episodes_of_an_attempt_that_left_no_state_are_not_taken_for_new_ones(tmp_path: Path, resume: bool) -> None:
    settings = recipe(tmp_path)
    expected = run(settings, tmp_path / "whole").run().state_dict()
    folder = tmp_path / "run" / "replay"

    def interrupt(report: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    if resume:
        with pytest.raises(Interrupted):
            run(settings, tmp_path / "run", on_round=interrupt).run()
    else:
        folder.mkdir(parents=True)
    last = sorted((tmp_path / "whole" / "replay").glob("*.npz"))[-1]
    # As if a round had been written of which the state says nothing: other episodes, which the same numbers get again.
    for number in range(3, 12):
        (folder / f"episode-{number:06d}.npz").write_bytes(last.read_bytes())
    run(settings, tmp_path / "run").run(resume=resume)
    again = run(settings, tmp_path / "run")
    found = again.run(resume=True).state_dict()
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert all(len(stored.priorities) == len(stored.units) for stored in again.state.replay.episodes)
    for path in (tmp_path / "whole" / "replay").glob("*.npz"):
        assert (folder / path.name).read_bytes() == path.read_bytes()


def test_a_folder_that_cannot_be_written_leaves_the_last_state_intact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = recipe(tmp_path)
    whole = run(settings, tmp_path / "run")
    whole.run()
    before = (tmp_path / "run" / "state.safetensors").read_bytes()

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        whole.state.save(tmp_path / "run")
    assert (tmp_path / "run" / "state.safetensors").read_bytes() == before
