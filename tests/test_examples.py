"""Every example runs as it stands, branches by its policy, and comes to the optimum that SCIP finds without it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pyscipopt import Model, quicksum

import revibranch

from .branching.policies import Recorder

EXAMPLES = Path(__file__).parents[1] / "examples"
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.py"))
PLUGINS = {
    "own_event_handler": "incumbents",
    "own_separator": "cuts",
    "own_node_selector": "jumps",
    "own_constraint_handler": "subtours",
    "branch_and_price": "columns_below_root",
}
"""Examples with a plugin of the user's own, and the number in their result that shows that it had something to do."""


def example(name: str) -> ModuleType:
    if name == "gymnasium_loop":
        pytest.importorskip("gymnasium", reason="the extra gym is not installed")
    specification = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def built(module: ModuleType) -> tuple[Model, Any]:
    """A model of the example's problem, without the brancher, and the plugin in it."""
    made = module.build()
    return made if isinstance(made, tuple) else (made, None)


def optimum(model: Model) -> float:
    model.optimize()
    assert model.getStatus() == "optimal"
    return float(model.getObjVal())


@pytest.mark.parametrize("name", NAMES)
def test_an_example_comes_to_the_optimum(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    module = example(name)
    result = module.main()
    assert "optimal" in capsys.readouterr().out
    model, _ = built(module)  # with the user's plugin, which belongs to the problem
    assert result["objective"] == pytest.approx(optimum(model), rel=1e-6)
    assert result["decisions"] > 0
    assert result.get("fallbacks", 0) == 0
    if name in PLUGINS:
        assert result[PLUGINS[name]] > 0


@pytest.mark.parametrize("name", PLUGINS)
def test_paths_and_optimum_with_a_users_plugin(name: str) -> None:
    # No guard: every node is the policy's, its path complete, whatever the plugin does to rows, columns and the queue.
    module = example(name)
    model, _plugin = built(module)
    recorder = Recorder()
    brancher = revibranch.include(model, recorder, guard=False, strict=True)
    revibranch.optimize(model)
    assert model.getStatus() == "optimal"
    assert brancher.statistics.decisions == len(recorder.decisions) > 0
    assert brancher.statistics.fallbacks == 0
    assert model.getObjVal() == pytest.approx(optimum(built(module)[0]), rel=1e-6)
    places = {number: place for place, (number, *_) in enumerate(recorder.decisions)}
    for _, depth, path, _ in recorder.decisions:
        assert [step.depth for step in path] == list(range(depth))
        assert all(step.memory == places[step.node] for step in path)


def test_the_nodes_branched_are_the_policys() -> None:
    result = example("own_event_handler").main()
    assert result["branched"] == result["decisions"] + result["passes"]


def test_the_last_incumbent_that_is_told_is_the_optimum() -> None:
    result = example("own_event_handler").main()
    assert result["last"] == result["objective"]


def test_the_master_with_all_its_columns_has_the_optimum_of_branch_and_price() -> None:
    module = example("branch_and_price")
    model = Model()
    model.hideOutput()
    ways = module.patterns()
    numbers = [model.addVar(vtype="I", obj=price) for _, price in ways]
    for piece, demand in enumerate(module.DEMANDS.values()):
        model.addCons(quicksum(way[piece] * number for (way, _), number in zip(ways, numbers, strict=True)) >= demand)
    assert optimum(model) == pytest.approx(module.main()["objective"], rel=1e-6)


def test_a_shipped_policy_alone_lives_with_new_columns() -> None:
    model, pricer = built(example("branch_and_price"))
    brancher = revibranch.include(model, guard=False, strict=True)
    revibranch.optimize(model)
    assert (model.getStatus(), brancher.statistics.fallbacks, brancher.statistics.passes) == ("optimal", 0, 0)
    assert brancher.statistics.decisions > 0
    assert pricer.below_root > 0
