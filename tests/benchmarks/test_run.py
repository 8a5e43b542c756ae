"""One run: the row's numbers are SCIP's own, and measuring changes nothing."""

from __future__ import annotations

import gc
import json
import math
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pyscipopt import Model

from revibranch.benchmarks.agreement import disagreements
from revibranch.benchmarks.run import SolveProgress, error_row, load, run
from revibranch.branching.guard import GuardedPolicy
from revibranch.branching.policy import PathStep, Policy, PolicyWrapper
from revibranch.branching.settings import LARGEST_SEED
from revibranch.branching.shortlist import ShortlistPolicy
from revibranch.branching.state import BranchState, variable_column_names
from revibranch.gnn.plugin import MODES, Mode
from revibranch.instances import families
from revibranch.instances.reading import ReadingError, instance_name, read_model

INSTANCES = Path(__file__).parents[1] / "data" / "instances"
DEMO = INSTANCES.parent / "demo" / "setcover-400x750-s1.lp.gz"
FRACTION = variable_column_names().index("solution_frac")


class MostFractional(Policy):
    extended = False
    needs_path = False

    def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[np.floating]:
        return -np.abs(state.variable_features[state.candidates, FRACTION] - 0.5)


class AlwaysRaises(MostFractional):
    def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[np.floating]:
        raise ZeroDivisionError("as planned")


def solved_by_hand(path: Path, parameters: dict[str, object]) -> Model:
    model = Model()
    model.hideOutput()
    model.readProblem(str(path))
    model.setParams(parameters)
    model.optimize()
    return model


@pytest.mark.parametrize(
    ("rule", "settings", "seed", "parameters"),
    [
        ("scip:default", "default", 0, {}),
        (
            "scip:purestrong",
            "clean",
            0,
            {
                "separating/maxrounds": 0,
                "presolving/maxrestarts": 0,
                "branching/vanillafullstrong/priority": 536_870_910,
                "branching/vanillafullstrong/idempotent": True,
            },
        ),
        (
            "scip:random",
            "clean",
            3,
            {
                "separating/maxrounds": 0,
                "presolving/maxrestarts": 0,
                "branching/random/priority": 536_870_910,
                "randomization/randomseedshift": 3,
                "randomization/permutationseed": 3,
                "randomization/lpseed": 3,
            },
        ),
        (
            "scip:relpscost",
            "dfs",
            0,
            {
                "separating/maxrounds": 0,
                "presolving/maxrestarts": 0,
                "nodeselection/dfs/stdpriority": 1_000_000,
                "nodeselection/dfs/memsavepriority": 1_000_000,
                "branching/relpscost/priority": 536_870_910,
            },
        ),
    ],
)
def test_counts_are_those_of_a_bare_solve(rule: str, settings: str, seed: int, parameters: dict[str, object]) -> None:
    path = INSTANCES / "lseu.mps"
    row = run(path, rule, settings=settings, seed=seed)
    model = solved_by_hand(path, parameters)
    assert (row.status, row.objective) == ("optimal", model.getObjVal())
    assert row.nodes == model.getNTotalNodes()
    assert row.lp_iterations == model.getNLPIterations()
    assert row.strong_branching_lp_iterations == model.getNStrongbranchLPIterations()
    assert (row.primal_bound, row.dual_bound, row.gap) == (model.getPrimalbound(), model.getDualbound(), model.getGap())
    assert (row.decisions, row.fallbacks, row.inference_seconds) == (None, None, None)
    assert row.nodes is not None
    assert row.fair_nodes is not None
    assert row.fair_nodes >= row.nodes
    assert row.fair_nodes > row.nodes or rule != "scip:relpscost", "reliability branching probes, and its gains count"


def test_a_rule_that_is_asked_for_stays_out_of_the_heuristics_sub_mips() -> None:
    # relpscost is what SCIP does by default. At SCIP's top priority it also branched in the sub-MIPs of this instance's heuristics.
    build = families.get("knapsack").generate("30x4", 0).to_model
    default, named = (run(build, f"scip:{rule}", settings="clean") for rule in ("default", "relpscost"))
    assert (named.nodes, named.lp_iterations) == (default.nodes, default.lp_iterations)


def test_policy_is_measured() -> None:
    row = run(INSTANCES / "misc03.mps", MostFractional(), settings="clean", label="mine")
    assert (row.policy, row.instance, row.status) == ("mine", "misc03", "optimal")
    assert row.objective == pytest.approx(3360)
    assert row.decisions is not None
    assert row.nodes is not None
    assert 0 < row.decisions <= row.nodes
    assert row.fallbacks == row.passes == 0
    assert row.extraction_seconds is not None
    assert row.inference_seconds is not None
    assert row.wall_seconds is not None
    assert 0 < row.extraction_seconds + row.inference_seconds < row.wall_seconds


def test_policy_that_fails_is_counted_and_the_optimum_stands() -> None:
    row = run(INSTANCES / "misc03.mps", AlwaysRaises(), settings="clean")
    assert (row.status, row.objective, row.decisions) == ("optimal", pytest.approx(3360), 0)
    assert row.fallbacks is not None
    assert row.fallbacks > 0


def test_progress_changes_no_tree_and_moves_forward() -> None:
    seen: list[SolveProgress] = []
    path = INSTANCES / "misc03.mps"
    watched = run(path, "scip:random", settings="clean", on_progress=seen.append)
    silent = run(path, "scip:random", settings="clean")
    assert (watched.nodes, watched.lp_iterations) == (silent.nodes, silent.lp_iterations)
    assert seen
    assert [progress.nodes for progress in seen] == sorted(progress.nodes for progress in seen)
    assert all(progress.dual_bound <= 3360 * (1 + 1e-6) and progress.primal_bound >= 3360 * (1 - 1e-6) for progress in seen)


def integer_box(upper: float | None, sense: str = "maximize", least: float | None = None) -> Callable[[], Model]:
    def build() -> Model:
        model = Model("box")
        model.hideOutput()
        x = model.addVar(vtype="I", lb=0, ub=upper)
        if least is not None:
            model.addCons(2 * x >= least)
        model.setObjective(x, sense)
        return model

    return build


def test_solved_in_presolving_has_no_nodes() -> None:
    row = run(integer_box(10), "scip:default")
    assert (row.status, row.objective, row.nodes, row.lp_iterations, row.strong_branching_lp_iterations) == ("optimal", 10, 0, 0, 0)
    assert row.first_solution_seconds is not None


def test_infeasible_and_unbounded_have_no_objective() -> None:
    infeasible = run(integer_box(10, least=30), "scip:default")
    assert (infeasible.status, infeasible.objective, infeasible.gap, infeasible.first_solution_seconds) == ("infeasible", None, None, None)
    unbounded = run(integer_box(None), "scip:default")
    assert (unbounded.status, unbounded.objective, unbounded.primal_bound) == ("unbounded", None, math.inf)


def test_time_limit_before_the_search_leaves_bounds_open(capfd: pytest.CaptureFixture[str]) -> None:
    # The CPU clock ticks in hundredths of a second: presolving must not fit between two of them.
    row = run(lambda: families.get("setcover").generate("1000x1000", 0).to_model(), "scip:default", time_limit=1e-9)
    assert (row.status, row.nodes, row.time_limit) == ("timelimit", 0, 1e-9)
    assert row.strong_branching_lp_iterations == 0
    assert capfd.readouterr() == ("", ""), "SCIP was asked for something that it does not know yet"


def test_time_limit_within_the_search_keeps_the_incumbent_and_its_gap() -> None:
    row = run(DEMO, "scip:random", settings="clean", time_limit=1.0)
    assert row.status == "timelimit"
    assert row.objective is not None
    assert row.gap is not None
    assert row.gap > 0
    assert row.dual_bound is not None
    assert row.dual_bound < row.objective == row.primal_bound


@pytest.mark.parametrize("limit", [math.nan, 0.0, -1.0])
def test_time_limit_must_be_positive(limit: float) -> None:
    with pytest.raises(ValueError, match="time limit"):
        run(INSTANCES / "misc03.mps", "scip:default", time_limit=limit)


@pytest.mark.parametrize("seed", [-1, LARGEST_SEED + 1])
def test_seeds_that_scip_cannot_add_to_are_refused(seed: int) -> None:
    with pytest.raises(ValueError, match=f"seed {seed} is outside"):
        run(INSTANCES / "misc03.mps", "scip:default", seed=seed)


def test_a_row_holds_what_the_policy_says_of_its_solve() -> None:
    class Talkative(MostFractional):
        def report(self) -> dict[str, float | str]:
            return {"words": "many", "count": 3, "mean": math.nan, "share": np.float32(0.5)}  # type: ignore[dict-item]

    def report_of(policy: str | Policy) -> str | None:
        return run(INSTANCES / "misc03.mps", policy, settings="clean").report

    said = report_of(Talkative())
    assert said is not None
    assert json.loads(said, parse_constant=pytest.fail) == {"words": "many", "count": 3, "mean": None, "share": "0.5"}
    assert report_of(MostFractional()) == "{}"
    assert report_of("scip:default") is None


def test_unknown_rule_lists_the_known() -> None:
    with pytest.raises(ValueError, match=r"scip:best.*scip:relpscost"):
        run(INSTANCES / "misc03.mps", "scip:best")


@pytest.mark.parametrize("policy", ["scip:default", MostFractional(), AlwaysRaises()], ids=["rule", "policy", "failing policy"])
def test_model_is_freed_after_its_run(policy: str | Policy) -> None:
    kept: list[weakref.ref[Model]] = []

    def build() -> Model:
        model = read_model(INSTANCES / "misc03.mps")
        kept.append(weakref.ref(model))
        return model

    row = run(build, policy, settings="clean", on_progress=lambda progress: None)
    assert row.fallbacks or not isinstance(policy, AlwaysRaises), "nothing failed, so nothing is shown"
    gc.collect()
    assert kept[0]() is None


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("setcover", ()),
        ("setcover+guard", (GuardedPolicy,)),
        ("setcover+nodes", (ShortlistPolicy,)),
        ("setcover+guard+nodes", (GuardedPolicy, ShortlistPolicy)),
    ],
)
def test_what_is_named_behind_a_policy_stands_around_it(text: str, kinds: tuple[type[Policy], ...]) -> None:
    policy = load(text)
    for kind in kinds:
        assert type(policy) is kind
        assert isinstance(policy, PolicyWrapper)
        policy = policy.policy
    assert not isinstance(policy, (GuardedPolicy, ShortlistPolicy))


def kinds_of(policy: object) -> tuple[type, ...]:
    """What stands around the policy proper, from the outside."""
    found = []
    while isinstance(policy, (GuardedPolicy, ShortlistPolicy)):
        found.append(type(policy))
        policy = policy.policy
    return tuple(found)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("guard", [False, True])
def test_what_is_named_behind_a_policy_takes_the_place_of_the_options(mode: Mode, guard: bool) -> None:
    assert kinds_of(load("setcover+guard", mode=mode, guard=guard)) == (GuardedPolicy,)
    assert kinds_of(load("setcover+nodes", mode=mode, guard=guard)) == (ShortlistPolicy,)
    assert kinds_of(load("setcover+nodes+guard+guard", mode=mode, guard=guard)) == (GuardedPolicy, ShortlistPolicy)
    assert kinds_of(load("setcover", mode=mode, guard=guard)) == (GuardedPolicy,) * guard + (ShortlistPolicy,) * (mode == "nodes")
    assert load("scip:pscost", mode=mode, guard=guard) == "scip:pscost"


@pytest.mark.parametrize("text", ["setcover+gard", "+guard"])
def test_what_cannot_stand_behind_a_policy_is_refused(text: str) -> None:
    with pytest.raises((ValueError, OSError)):
        load(text)


def test_error_row_has_no_numbers() -> None:
    row = error_row("killed", instance="a", policy="auto", settings="clean", seed=1, time_limit=5)
    assert (row.status, row.error, row.nodes, row.objective, row.solve_seconds) == ("error", "killed", None, None, None)


def test_names_of_instances() -> None:
    assert instance_name(Path("data/misc03.mps.gz")) == "misc03"
    assert instance_name(Path("MANN_a9.clq.lp")) == "MANN_a9.clq"
    assert instance_name(Path("MISC03.MPS.gz")) == "MISC03"


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("missing.mps", None, "no such file"),
        ("problem.txt", b"", r"must end in \.mps, \.lp, \.cip"),
        ("garbage.mps", b"garbage\n", "Syntax error in line 1"),
        ("garbage.lp", b"garbage\n", "neither variables nor constraints"),
        ("garbage.cip", b"garbage\n", "cannot read"),
        ("garbage.mps.gz", b"no gzip at all\n", "cannot read"),
    ],
)
def test_unreadable_file_is_one_sentence_and_nothing_is_printed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str, content: bytes | None, complaint: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ReadingError, match=complaint) as raised:
        read_model(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)
    assert capfd.readouterr() == ("", "")


def test_runs_that_cannot_both_be_right_are_named() -> None:
    def row(policy: str, status: str, primal: float, dual: float):
        from dataclasses import replace

        plain = error_row("", instance="a", policy=policy, settings="clean", seed=0, time_limit=math.inf)
        return replace(plain, status=status, error=None, objective=primal, primal_bound=primal, dual_bound=dual)

    five, near, six = row("a", "optimal", 5, 5), row("b", "optimal", 5 + 1e-6, 5 + 1e-6), row("c", "optimal", 6, 6)
    stopped, stopped_too_high = row("d", "timelimit", 9, 4), row("e", "timelimit", 9, 5.5)
    infeasible, crashed = row("f", "infeasible", math.inf, math.inf), row("g", "error", 0, 0)
    assert disagreements([five, near, stopped, crashed]) == []
    assert len(disagreements([five, six])) == 1
    assert "optimum 5" in disagreements([five, six])[0]
    assert "optimum 6" in disagreements([five, six])[0]
    assert len(disagreements([five, stopped_too_high])) == 1
    assert len(disagreements([five, infeasible])) == 1
    assert disagreements([infeasible, row("h", "timelimit", math.inf, 4)]) == [], "no solution was found, none may exist"
    assert len(disagreements([five, near, six])) == 2
