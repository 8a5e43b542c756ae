from __future__ import annotations

from pathlib import Path

import pytest

from revibranch.gnn.training.recipe import RecipeError, load_recipe
from revibranch.gnn.training.run_folder import recipe_text
from revibranch.gnn.training.sections import settings_of

SHIPPED = sorted((Path(__file__).parents[3] / "recipes").glob("*.toml"))
MINIMAL = 'name = "x"\n[instances]\nfamily = "setcover"\nsize = "20x40"\n'


def write(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_recipes_load_and_bear_their_files_name(path: Path) -> None:
    assert load_recipe(path).name == path.stem


@pytest.mark.parametrize(
    ("override", "unknown", "nearest"),
    [
        ("optimiser.learing_rate=1", "optimiser.learing_rate", "learning_rate"),
        ("optimizer.epochs=1", "optimizer", "optimiser"),
        ("network.widht=8", "network.widht", "width"),
        ("samples.trainig=8", "samples.trainig", "training"),
    ],
)
def test_an_unknown_key_names_its_nearest(tmp_path: Path, override: str, unknown: str, nearest: str) -> None:
    with pytest.raises(RecipeError, match=f"unknown key '{unknown}'; did you mean '{nearest}'") as caught:
        load_recipe(write(tmp_path, MINIMAL), [override])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("learner", "key", "said"),
    [("imitation", "rollout.decisions=5", "recipes of reinforcement"), ("tmdp", "optimiser.epochs=5", "recipes of imitation")],
)
def test_a_section_of_the_other_kind_of_recipe_is_said_to_be_one(tmp_path: Path, learner: str, key: str, said: str) -> None:
    with pytest.raises(RecipeError, match=f"'{key.partition('.')[0]}' belongs into {said}"):
        load_recipe(write(tmp_path, MINIMAL), [f"learner={learner}", key])


def test_overrides_take_toml_values_and_bare_words(tmp_path: Path) -> None:
    overrides = [
        "optimiser.learning_rate=5e-4",
        "network.variable_columns=['objective', 'solution_value']",
        "samples.settings=dfs",
        "instances.parameters.density=0.1",
        "seed = 3",
    ]
    recipe = load_recipe(write(tmp_path, MINIMAL), overrides)
    assert recipe.optimiser.learning_rate == 5e-4
    assert list(recipe.network.variable_columns) == ["objective", "solution_value"]
    assert recipe.samples.settings == "dfs"
    assert recipe.instances.parameters == {"density": 0.1}
    assert recipe.seed == 3


def test_of_several_settings_every_instance_gets_one_whatever_its_kind() -> None:
    names = ("clean", "default")
    drawn = [settings_of(names, 0, number) for number in range(1000)]
    assert drawn == [settings_of(names, 0, number) for number in range(1000)]
    for kind in range(2):
        assert drawn[kind::2].count("clean") == pytest.approx(250, abs=50)
    assert {settings_of("dfs", 0, number) for number in range(10)} == {"dfs"}


@pytest.mark.parametrize("value", ["500", " 500 ", '"500"'])
def test_a_size_that_is_a_number_needs_no_quotes(tmp_path: Path, value: str) -> None:
    recipe = load_recipe(write(tmp_path, MINIMAL), ["instances.family=independent-set", f"instances.size={value}"])
    assert recipe.instances.size == "500"


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("optimiser.epochs=0", "optimiser.epochs"),
        ("optimiser.epochs=2.5", "optimiser.epochs"),
        ("optimiser.learning_rate=nan", "optimiser.learning_rate"),
        ("instances.family=setcovr", "setcover"),
        ("instances.size=20y", "setcover has sizes"),
        (
            "instances.parameters.densty=0.1",
            r"instances\.parameters\.densty: setcover has no .* mean 'density'\? \(known: density, max_cost",
        ),
        ("instances.parameters.cheese=1", r"no parameter 'cheese' \(known"),  # nothing is like it
        ("instances.parameters.density=2", r"instances\.parameters\.density: Input should be less"),
        ("instances.parameters.density=[1]", r"instances\.parameters\.density: a parameter is"),
        ("instances.family=auction instances.parameters.compatibility=2", r"instances\.parameters\.compatibility: Input should be 'bundle"),
        ("instances.family=knapsack instances.size=100x6 instances.parameters.low=30", r"instances\.parameters: low 30 must be below"),
        ("instances.validation_seed=1000001", "apart"),
        ("samples.settings=clena", "unknown settings"),
        ("samples.settings=['clean','defualt']", "unknown settings 'defualt'"),
        ("samples.settings=[]", "at least one"),
        ("samples.probability=0 samples.shallow_probability=0", "samples: .*asked nowhere"),
        ("samples.probability=0 samples.shallow_depth=0", "samples: .*asked nowhere"),
        ("samples.settings=3", "samples.settings"),
        ("network.width=7", "width 7"),
        ("name=../x", "name"),
        ("name=state", r"name: .*overwrite state\.safetensors"),
        ("name=State", r"name: .*overwrite state\.safetensors"),  # one file, where there is no upper case
        (f"name={'x' * 250}", "name: .*200 characters"),
        ("seed=9223372036854775808", "seed: .*less"),
        (f"seed={'9' * 5000}", "seed: .*integer"),
        ("threads=100000", "threads: .*less"),
        ("instances.training_seed=9223372036854775808", r"instances\.training_seed: .*less"),
        ("instances.training_seed=9223372036854765809", "the last of 10000 instances would have the seed 9223372036854775808"),
        ("instances.validation_seed=9223372036854775807", "the last of 10000 instances"),
        ("samples.iteration_limit=2147483648", r"samples\.iteration_limit: .*less"),
        ("samples.node_limit=9223372036854775808", r"samples\.node_limit: .*less"),
        ("samples.time_limit=1.1e20", r"samples\.time_limit: .*less"),
        ("samples.shallow_depth=2147483648", r"samples\.shallow_depth: .*less"),
        ("optimiser.samples_per_tree=9223372036854775808", r"optimiser\.samples_per_tree: .*less"),
        ("seed", "expected key=value"),
        ("name.x=1", "no section"),
        ("learner=dqn", "learner"),
    ],
)
def test_what_makes_no_sense_is_one_line(tmp_path: Path, override: str, complaint: str) -> None:
    with pytest.raises(RecipeError, match=complaint) as caught:
        load_recipe(write(tmp_path, MINIMAL), override.split())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "override",
    [
        "seed=9223372036854775807",
        "instances.training_seed=9223372036854765808",
        "samples.iteration_limit=2147483647",
        "samples.node_limit=9223372036854775807",
        "samples.time_limit=1e20",
        "name=statement",
    ],
)
def test_the_highest_numbers_that_can_be_used_are_taken(tmp_path: Path, override: str) -> None:
    load_recipe(write(tmp_path, MINIMAL), [override])


def test_the_recipe_of_a_run_is_what_it_trained_by(tmp_path: Path) -> None:
    recipe, changes = next(path for path in SHIPPED if path.stem == "auction-learning"), ["network.width=16", "seed=3"]
    noted = tmp_path / "recipe.toml"
    noted.write_text(recipe_text(recipe, changes))
    assert load_recipe(noted) == load_recipe(recipe, changes)
    assert load_recipe(noted, ["seed=4"]) == load_recipe(recipe, ["network.width=16", "seed=4"])
    again = tmp_path / "again.toml"
    again.write_text(recipe_text(noted, ["seed=4"]))
    assert load_recipe(again).seed == 4


def test_files_that_are_no_recipes(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="No such file"):
        load_recipe(tmp_path / "nowhere.toml")
    with pytest.raises(RecipeError, match="not valid TOML"):
        load_recipe(write(tmp_path, "name = \n"))
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match="not valid TOML"):
        load_recipe(tmp_path / "binary")
    with pytest.raises(RecipeError, match=r"not valid TOML: .*5000 digits"):
        load_recipe(write(tmp_path, f"seed = {'9' * 5000}\n"))


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("learner=finetune", "finetune"),
        ("network.width=12", "multiple of 8"),
        ("network.width=520", "at most 512"),
        ("rollout.probes=1", "rollout.probes"),
        ("rollout.probing=1.5", "rollout.probing"),
        ("name=state", r"name: .*overwrite state\.safetensors"),
        ("seed=9223372036854775808", "seed: .*less"),
        ("threads=100000", "threads: .*less"),
        ("rollout.node_limit=9223372036854775808", r"rollout\.node_limit: .*less"),
        ("rollout.time_limit=1e30", r"rollout\.time_limit: .*less"),
        ("rollout.probes=2147483648", r"rollout\.probes: .*less"),
        ("validation.node_limit=9223372036854775808", r"validation\.node_limit: .*less"),
        ("learning.updates_per_decision=1e300", r"learning\.updates_per_decision: .*less"),
        ("learning.entropy=inf", r"learning\.entropy: .*finite"),
        ("learning.ranking=inf", r"learning\.ranking: .*finite"),
        ("learning.pull=inf", r"learning\.pull: .*finite"),
        ("instances.parameters.integer_price=true", r"instances\.parameters\.integer_price: auction has no .* mean 'integer_prices'"),
        ("learner=bbmdp network.history_length=0 rollout.probing=0.5", "learns nothing from probes"),
    ],
)
def test_reinforcement_that_makes_no_sense_is_one_line(override: str, complaint: str) -> None:
    recipe = next(path for path in SHIPPED if path.stem == "auction-learning")
    with pytest.raises(RecipeError, match=complaint) as caught:
        load_recipe(recipe, override.split())
    assert "\n" not in str(caught.value)
