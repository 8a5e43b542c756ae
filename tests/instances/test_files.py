"""Models and files: the arrays arrive in SCIP as they are, and what is written is what is read."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from pyscipopt import Model

from revibranch.instances import families
from revibranch.instances.family import Size
from revibranch.instances.files import InstanceError, InstanceSource, load_file, parse_seeds, resolve, resolve_all
from revibranch.instances.milp import INFINITY
from revibranch.instances.mps import mps_text
from revibranch.instances.write import FORMATS, InstanceSet, write_set

from .test_families import SMALL


def written(folder: Path, name: str, seeds: range = range(2), file_format: str = "mps", compress: bool = False) -> Path:
    family = families.get(name)
    wanted = InstanceSet(name, family.parse_size(SMALL[name]), family.parameters(), seeds, file_format, compress)  # type: ignore[arg-type]
    write_set(wanted, folder)
    return folder


def content(model: Model) -> tuple[list[object], list[object]]:
    """All that the model says, in SCIP's order."""
    variables = [(v.name, v.vtype(), v.getLbOriginal(), v.getUbOriginal(), v.getObj()) for v in model.getVars()]
    rows = [(c.name, model.getLhs(c), model.getRhs(c), list(model.getValsLinear(c).items())) for c in model.getConss()]
    return [model.getObjectiveSense(), *variables], list(rows)


@pytest.mark.parametrize("name", families.names())
def test_models_hold_exactly_the_arrays(name: str) -> None:
    problem = families.get(name).generate(SMALL[name], 1).problem
    model = families.get(name).generate(SMALL[name], 1).to_model()
    variables = {v.name: v for v in model.getVars()}
    kinds = {"BINARY": b"B", "INTEGER": b"I", "CONTINUOUS": b"C"}
    for index in range(problem.n_variables):
        variable = variables[f"x{index}"]
        assert kinds[variable.vtype()] == problem.types[index]
        assert variable.getLbOriginal() == problem.lower[index]
        assert variable.getUbOriginal() == problem.upper[index]
        assert variable.getObj() == problem.objective[index]
    assert model.getObjectiveSense() == ("maximize" if problem.maximise else "minimize")
    rows = model.getConss()
    assert len(rows) == problem.n_rows
    for row, constraint in enumerate(rows):
        entries = slice(problem.row_offsets[row], problem.row_offsets[row + 1])
        expected = {f"x{column}": value for column, value in zip(problem.columns[entries], problem.values[entries], strict=True)}
        assert model.getValsLinear(constraint) == expected
        assert model.getLhs(constraint) == max(problem.lhs[row], -INFINITY)
        assert model.getRhs(constraint) == min(problem.rhs[row], INFINITY)


@pytest.mark.parametrize("name", families.names())
def test_an_mps_file_is_read_back_as_the_very_model(name: str, tmp_path: Path) -> None:
    instance = families.get(name).generate(SMALL[name], 4)
    (tmp_path / "a.mps").write_text(mps_text(instance.problem, instance.name))
    assert content(load_file(tmp_path / "a.mps")) == content(instance.to_model())


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("name", ["auction", "facility", "general"])
def test_every_format_has_the_same_optimum(name: str, file_format: str, compress: bool, tmp_path: Path) -> None:
    (source,) = resolve(written(tmp_path, name, range(1), file_format, compress))
    values = []
    for model in (source.load(), families.get(name).generate(SMALL[name], 0).to_model()):
        model.optimize()
        assert model.getStatus() == "optimal"
        values.append(model.getObjVal())
    assert values[0] == pytest.approx(values[1], rel=1e-6)


def test_models_and_loading_print_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for source in resolve_all([written(tmp_path, "knapsack"), f"knapsack:{SMALL['knapsack']}:0"]):
        source.load().optimize()
    assert capfd.readouterr() == ("", "")


def test_families_are_resolved_without_writing_and_travel_by_pickle() -> None:
    sources = resolve("setcover:60x80:0,4,7-9")
    assert [source.seed for source in sources] == [0, 4, 7, 8, 9]
    assert [source.name for source in sources][:2] == ["setcover-60x80-s0", "setcover-60x80-s4"]
    again = pickle.loads(pickle.dumps(sources[1]))
    assert again == sources[1]
    assert content(again.load()) == content(families.get("setcover").generate("60x80", 4).to_model())


def test_parameters_of_a_family_are_read_and_told_in_the_name() -> None:
    sources = resolve_all(["setcover:60x80:4", "setcover:60x80:4:max_cost=5,density=0.1"])
    assert [source.name for source in sources] == ["setcover-60x80-s4", "setcover-60x80-density=0.1-max_cost=5-s4"]
    family = families.get("setcover")
    assert content(sources[1].load()) == content(family.generate("60x80", 4, family.parameters(max_cost=5, density=0.1)).to_model())


def test_a_problem_has_one_name_wherever_it_comes_from(tmp_path: Path) -> None:
    # The literature's own value is no name's business, nor is how a number is written.
    assert resolve_all(["auction:12x30:5", "auction:12x30:5:compatibility=bundle"]) == resolve("auction:12x30:5")
    assert len(resolve_all(["auction:12x30:5:min_value=2", "auction:12x30:5:min_value=2.0"])) == 1
    family = families.get("auction")
    parameters = family.parameters(compatibility="first-item")
    write_set(InstanceSet("auction", Size((12, 30)), parameters, range(2)), tmp_path)
    names = [source.name for source in resolve(tmp_path)]
    assert names == [source.name for source in resolve("auction:12x30:0-1:compatibility=first-item")]
    assert names[1] == family.generate("12x30", 1, parameters).name == "auction-12x30-compatibility=first-item-s1"


def test_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    try:
        (tmp_path / os.fsdecode(b"bad\xff.mps")).write_bytes(b"")
    except OSError:
        pytest.skip("this file system refuses such names itself")
    with pytest.raises(InstanceError, match="UTF-8"):
        resolve(tmp_path)


def test_folders_globs_manifests_and_files_name_the_same_instances(tmp_path: Path) -> None:
    folder = written(tmp_path / "set", "setcover", range(12))
    everything = resolve(folder)
    assert [source.name for source in everything] == [f"setcover-60x80-s{seed}" for seed in range(12)]  # 10 after 9
    assert {source.family for source in everything} == {"setcover"}
    assert resolve(folder / "manifest.json") == everything
    assert resolve(f"{folder}/*.mps") == everything
    assert resolve(folder / "setcover-60x80-s7.mps") == [everything[7]]
    assert resolve_all([folder, folder / "setcover-60x80-s7.mps"]) == everything


def test_instances_of_one_name_are_told_apart(tmp_path: Path) -> None:
    text = mps_text(families.get("knapsack").generate(SMALL["knapsack"], 0).problem, "k")
    for place in ("one/a.mps", "two/a.mps", "one/b.mps"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_text(text)
    names = [source.name for source in resolve_all([tmp_path / "one", tmp_path / "two"])]
    assert len(set(names)) == 3
    assert "b" in names


def test_other_files_take_the_family_of_their_folder_and_drop_their_suffixes(tmp_path: Path) -> None:
    (tmp_path / "miplib").mkdir()
    (tmp_path / "miplib" / "air.04.mps.gz").write_bytes(b"")
    (tmp_path / "miplib" / "notes.txt").write_text("no instance")
    assert [(source.name, source.family) for source in resolve(tmp_path / "miplib")] == [("air.04", "miplib")]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("nowhere", "no folder, file, pattern"),
        ("setcover", "name size and seeds too"),
        ("setcovr:60x80:0", "did you mean setcover"),
        ("setcover:20:0", "500x1000"),
        ("setcover:60x80:5-1", "backwards"),
        ("setcover:60x80:", "seeds are written"),
        ("setcover:60x80:0-99999999999", "more than"),
        ("setcover:60x80:0:density", "NAME=VALUE"),
        ("setcover:60x80:0:densty=0.1", "no parameter 'densty'"),
        ("setcover:60x80:0:density=2", "density"),
        ("setcover:60x80:0:density=0.1,density=0.2", "twice"),
        ("auction:12x30:0:max_value=inf", "max_value"),
        ("setcover:60x80:9223372036854775808", "outside"),
        ("a:b:*.mps", "no instance file matches"),
        ("nowhere/*.mps", "no instance file matches"),
    ],
)
def test_what_cannot_be_resolved_is_refused_in_one_line(spec: str, message: str) -> None:
    with pytest.raises(InstanceError, match=message) as caught:
        resolve(spec)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["ROWS\nnonsense", "", "hello world"])
@pytest.mark.parametrize("suffix", [".mps", ".lp", ".cip", ".mps.gz"])
def test_an_unreadable_file_is_one_line_and_nothing_else_is_printed(
    text: str, suffix: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"bad{suffix}"
    path.write_text(text)
    with pytest.raises(InstanceError, match="bad") as caught:
        InstanceSource("bad", "bad", path=str(path)).load()
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_missing_empty_and_foreign_places_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InstanceError, match="holds no instance file"):
        resolve(tmp_path)
    with pytest.raises(InstanceError, match=r"gone\.mps"):
        load_file(tmp_path / "gone.mps")
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(InstanceError, match="instances are files in"):
        resolve(tmp_path / "a.txt")


def test_a_file_that_is_not_what_its_manifest_says_is_refused(tmp_path: Path) -> None:
    first, second = resolve(written(tmp_path, "knapsack"))
    assert first.path is not None
    assert second.path is not None
    Path(first.path).write_bytes(Path(second.path).read_bytes())
    with pytest.raises(InstanceError, match="checksum"):
        first.load()
    Path(second.path).unlink()
    with pytest.raises(InstanceError, match="not there"):
        resolve(tmp_path / "manifest.json")


@pytest.mark.parametrize("text", ["{", "[]", '{"family": "setcover"}', '{"surprise": 1}'])
def test_a_damaged_manifest_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(InstanceError, match="no manifest"):
        resolve(tmp_path / "manifest.json")


def test_seed_lists_keep_their_order_and_each_seed_once() -> None:
    assert parse_seeds("7-9, 3,8") == [7, 8, 9, 3]


def test_numbers_in_mps_files_are_exact() -> None:
    problem = families.get("auction").generate(SMALL["auction"], 2).problem
    costs = {line.split()[0]: float(line.split()[2]) for line in mps_text(problem, "a").splitlines() if " obj " in line}
    assert np.array_equal([costs[f"x{index}"] for index in range(problem.n_variables)], problem.objective)
