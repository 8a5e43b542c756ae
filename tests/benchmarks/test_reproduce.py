"""Training a shipped policy again: what is run, and when weights are the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from revibranch.benchmarks.reproduce import commands, difference
from revibranch.gnn.description import Description, read_checkpoint
from revibranch.gnn.pretrained import pretrained_names, pretrained_path
from revibranch.gnn.training.recipe import load_recipe
from revibranch.gnn.training.run_folder import recipe_changes, recipe_text

COMMIT = "0" * 40


@pytest.mark.parametrize("name", pretrained_names())
def test_every_policy_that_ships_names_a_commit_and_a_recipe(name: str, tmp_path: Path) -> None:
    description = read_checkpoint(pretrained_path(name))[0].description
    *_, checkout, install, train = commands(name, description, tmp_path, tmp_path / name)
    assert checkout[-1] == description.commit
    assert len(str(checkout[-1])) == len(COMMIT)
    assert install[0] == "make"
    assert "--resume" not in train
    (tmp_path / "recipe.toml").write_text(description.recipe)
    recipe = load_recipe(tmp_path / "recipe.toml", recipe_changes(description.recipe))
    assert (recipe.name, recipe.seed) == (name, description.seeds[0])


def test_what_was_done_is_not_done_again(tmp_path: Path) -> None:
    description = Description(family=None, commit=COMMIT)
    first = commands("mine", description, tmp_path, tmp_path / "mine")
    assert [command[:2] for command in first[:3]] == [("rm", "-rf"), ("git", "clone"), ("mv", tmp_path / "mine" / "source.part")]
    (tmp_path / "mine" / "source").mkdir(parents=True)
    (tmp_path / "mine" / "run").mkdir()
    (tmp_path / "mine" / "run" / "state.safetensors").touch()
    again = commands("mine", description, tmp_path, tmp_path / "mine")
    assert again == [*first[3:-1], [*first[-1], "--resume"]]


def test_changes_of_a_recipe_are_made_again(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('name = "mine"\n')
    text = recipe_text(tmp_path / "mine.toml", ["rollout.decisions=20", "seed=3"])
    assert text == 'name = "mine"\n# changed: rollout.decisions=20\n# changed: seed=3\n'
    assert recipe_changes(text) == ["rollout.decisions=20", "seed=3"]
    train = commands("mine", Description(family=None, recipe=text, commit=COMMIT), tmp_path, tmp_path)[-1]
    assert train[-4:] == ["--set", "rollout.decisions=20", "--set", "seed=3"]


@pytest.mark.parametrize("commit", [None, f"{COMMIT}+changes", f"{COMMIT},{COMMIT}"])
def test_code_that_nobody_knows_is_refused(commit: str | None, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="mine cannot be trained again"):
        commands("mine", Description(family=None, commit=commit), tmp_path, tmp_path)


def test_difference_of_weights() -> None:
    one = {"a": np.zeros((2, 3), np.float32), "b": np.ones(1, np.float32)}
    other = {"a": np.zeros((2, 3), np.float32), "b": np.full(1, 1.5, np.float32)}
    assert difference(one, dict(one)) == 0.0
    assert difference(one, other) == 0.5
    for stranger in ({"a": one["a"]}, {**one, "b": np.ones(2, np.float32)}):
        assert difference(one, stranger) == float("inf")
