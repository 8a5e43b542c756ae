from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from revibranch.gnn.training.instance_section import InstanceSettings
from revibranch.gnn.training.recipe import Recipe
from revibranch.instances import families
from revibranch.instances.family import MAX_SEED

from .episodes import RECIPE


def settings(**content: Any) -> InstanceSettings:
    return InstanceSettings.model_validate(content)


def files(folder: Path, count: int) -> Path:
    folder.mkdir()
    for seed in range(count):
        families.get("auction").generate("10x20", seed).to_model().writeProblem(str(folder / f"p{seed}.lp"), verbose=False)
    return folder


def test_a_family_follows_its_seeds_and_begins_again_behind_the_limit() -> None:
    section = settings(family="setcover", size="20x40", parameters={"density": 0.2}, training_seed=7, validation_seed=100, limit=3)
    assert [section.training(number).seed for number in range(5)] == [7, 8, 9, 7, 8]
    assert [source.seed for source in section.validations(2)] == [100, 101]
    assert [source.seed for source in section.validations(5)] == [100, 101, 102]
    assert section.label == "setcover"
    assert section.training(0, "30x50").size == (30, 50)
    entries = sum(len(row) for row in _rows(section.training(0)))
    assert entries == pytest.approx(0.2 * 20 * 40, rel=0.1)


def _rows(source: Any) -> list[dict[str, float]]:
    model = source.load()
    return [model.getValsLinear(constraint) for constraint in model.getConss()]


def test_the_kinds_of_a_mixture_take_turns() -> None:
    section = settings(mixture=({"family": "setcover", "size": "20x40"}, {"family": "auction", "size": "10x30"}), training_seed=7)
    assert [section.training(number).name for number in range(3)] == ["setcover-20x40-s7", "auction-10x30-s8", "setcover-20x40-s9"]
    assert section.label is None
    assert settings(mixture=({"family": "auction", "size": "10x30"}, {"family": "auction", "size": "20x40"})).label == "auction"


def test_files_come_in_natural_order_and_again(tmp_path: Path) -> None:
    trained, validated = files(tmp_path / "a", 11), files(tmp_path / "b", 2)
    section = settings(training_files=(str(trained),), validation_files=(str(validated),))
    names = [section.training(number).name for number in range(13)]
    assert names == [f"p{seed}" for seed in range(11)] + ["p0-turn1", "p1-turn1"]
    assert len(set(names)) == 13
    assert section.training(11).path == section.training(0).path
    # Validation goes through the files once, however many are asked for.
    assert [source.name for source in section.validations(20)] == ["p0", "p1"]
    assert section.label is None
    assert section.training(3).load().getNVars() == 20  # bids


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ({}, "either"),
        ({"family": "setcover"}, "both family and size"),
        ({"family": "setcover", "size": "20x40", "mixture": ({"family": "setcover", "size": "20x40"},)}, "either"),
        ({"mixture": ({"family": "setcovr", "size": "20x40"},)}, "setcover"),
        ({"mixture": ({"family": "setcover", "size": "20"},)}, "setcover has sizes"),
        (
            {"mixture": ({"family": "setcover", "size": "20x40"}, {"family": "auction", "size": "10x30", "parameters": {"densty": 0.1}})},
            r"mixture\.1\.parameters\.densty\n  auction has no parameter 'densty'",
        ),
        ({"family": "setcover", "size": "20x40", "training_seed": MAX_SEED - 4, "limit": 6}, f"the seed {MAX_SEED + 1}, above"),
        ({"family": "setcover", "size": "20x40", "validation_seed": MAX_SEED - 4, "limit": 6}, f"the seed {MAX_SEED + 1}, above"),
        ({"training_files": ("nowhere",)}, "both training_files"),
        ({"training_files": ("nowhere",), "validation_files": ("neither",)}, "nowhere"),
        ({"training_files": ("a",), "validation_files": ("b",), "training_seed": 3}, "leave out training_seed"),
    ],
)
def test_what_makes_no_sense_is_refused(content: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        settings(**content)


def test_the_last_seed_of_all_is_taken() -> None:
    section = settings(family="setcover", size="20x40", parameters={"density": 0.2}, training_seed=MAX_SEED - 5, limit=6)
    assert section.training(5).seed == MAX_SEED
    assert section.training(5).load().getNVars() == 40


def test_training_and_validation_share_no_file(tmp_path: Path) -> None:
    folder = files(tmp_path / "a", 3)
    with pytest.raises(ValidationError, match="1 instances are in both"):
        settings(training_files=(str(folder),), validation_files=(str(folder / ".." / "a" / "p1.lp"),))


def test_a_recipe_takes_each_of_the_three(tmp_path: Path) -> None:
    folder = files(tmp_path / "a", 3)
    for content in (
        {"family": "setcover", "size": "20x40"},
        {"mixture": ({"family": "setcover", "size": "20x40"},)},
        {"training_files": (str(folder / "p0.lp"),), "validation_files": (str(folder / "p1.lp"),)},
    ):
        assert Recipe.model_validate({**RECIPE, "instances": content}).instances.training(0)
