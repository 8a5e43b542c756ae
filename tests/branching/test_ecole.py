"""The bridge to Ecole, on a stand-in with Ecole's interface; and on Ecole itself where it is installed.

What Ecole's ``NodeBipartite`` gives stands in the recorded states under tests/data/golden.
"""

from __future__ import annotations

import ctypes
import itertools
import json
import logging
import pickle
import shutil
import subprocess
import sys
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyscipopt
import pytest
from numpy.typing import NDArray
from pyscipopt import Model

from revibranch.branching._scip import library_path, scip_version
from revibranch.branching.brancher import PolicyError
from revibranch.branching.ecole import BranchStateObservation, EcoleLibraryError, EcoleSource, branch, sources
from revibranch.branching.guard import GuardedPolicy
from revibranch.branching.mixture import as_asked
from revibranch.branching.path import PathMemory
from revibranch.branching.policy import PathStep, Policy
from revibranch.branching.solving import attach, optimize
from revibranch.branching.sources import Turns
from revibranch.branching.state import ECOLE_VARIABLE_COLUMNS, BranchState
from revibranch.gnn import _halfconv

from .ecole_stand_in import CLEAN, Default, EcoleModel, Environment, module
from .environments import same_state
from .models import INSTANCES, OPTIMA, knapsack
from .policies import MostFractional, RaisesAtRandom, Recorder

GOLDEN = Path(__file__).parents[1] / "data" / "golden"


@pytest.fixture
def ecole(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module ``ecole`` whose extension calls PySCIPOpt's SCIP."""
    package, core = module("ecole"), module("ecole.core", pyscipopt.scip.__file__)
    package.core, package.Default = core, Default  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ecole", package)
    monkeypatch.setitem(sys.modules, "ecole.core", core)
    return package


@pytest.fixture
def environment(ecole: ModuleType) -> Iterator[Environment]:
    made = Environment()
    yield made
    made.close()


def tree() -> EcoleModel:
    return EcoleModel(knapsack(4, 20, 3))


def with_plugin(policy: Policy | None) -> tuple[Model, Any]:
    """The same solve with the plugin, or with SCIP's own rule."""
    model = tree().copy_orig().owner
    model.setParams(CLEAN)
    brancher = None if policy is None else attach(model, policy)
    optimize(model)
    assert model.getStatus() == "optimal"
    return model, brancher


# ---- the observation ---------------------------------------------------------------------------------------------------------


def test_the_observation_is_what_the_branchers_buffer_gives(environment: Environment) -> None:
    environment.observation_function = BranchStateObservation()
    for _ in range(2):  # one observation function, two episodes
        observation, action_set, _, done, _ = environment.reset(str(INSTANCES / "lseu.mps"))
        kept = []
        while not done and len(kept) < 40:
            assert environment.rule is not None
            assert same_state(observation, environment.rule.state)
            assert np.array_equal(observation.candidates, action_set)
            kept.append((observation, environment.rule.state))
            observation, action_set, _, done, _ = environment.step(action_set[-1])
        assert len(kept) == 40
        assert all(same_state(one, other) for one, other in kept)  # later ones have not overwritten them


def test_an_observation_without_a_reset_and_at_the_end(environment: Environment) -> None:
    environment.reset(str(INSTANCES / "lseu.mps"))
    function = BranchStateObservation(extended=False)
    state = function.extract(environment.model, False)
    assert state is not None
    assert state.variable_features.shape[1] == ECOLE_VARIABLE_COLUMNS
    assert function.extract(environment.model, True) is None


@pytest.mark.skipif(scip_version()[0] != 10, reason="the golden states are those of SCIP 10")
@pytest.mark.parametrize("case", ["auction_50x250", "misc03_noheur", "setcover_100x200_raw", "vpm2_fzn"])
def test_the_observation_equals_the_recorded_node_bipartite(environment: Environment, case: str) -> None:
    facts, arrays = json.loads((GOLDEN / f"{case}.json").read_text()), np.load(GOLDEN / f"{case}.npz")
    recorded = {decision["decision"]: decision for decision in facts["decisions"]}
    environment.observation_function, environment.scip_params = BranchStateObservation(extended=False), facts["params_set"]
    state, action_set, _, done, _ = environment.reset(str(GOLDEN / facts["instance"]))
    met = 0
    for k in itertools.count():
        if done or k > max(recorded):
            break
        if k in recorded and (state.node.number, state.node.n_lps) == (recorded[k]["node_number"], recorded[k]["n_lps"]):
            met += 1
            np.testing.assert_array_equal(action_set, arrays[f"d{k}_action_set"])
            np.testing.assert_array_equal(state.candidates, arrays[f"d{k}_action_set"])
            np.testing.assert_array_equal(state.edge_variables, arrays[f"d{k}_edge_indices"][1])
            for name in ("variable_features", "row_features", "edge_values"):
                np.testing.assert_allclose(getattr(state, name), arrays[f"d{k}_{name}"], rtol=1e-6, atol=1e-30, equal_nan=True)
        state, action_set, _, done, _ = environment.step(action_set[0])
    assert met > 0, "the root's LP already differs: this libscip computes other numbers than the recorded one"


# ---- policies in the environment -----------------------------------------------------------------------------------------------


def test_decisions_paths_and_tree_are_those_of_the_plugin(environment: Environment) -> None:
    here, there = Recorder(), Recorder()
    episode = branch(environment, here, tree())
    model, brancher = with_plugin(there)
    assert here.decisions == there.decisions  # with paths: node, depth, child entered, memory of every step
    assert {step.child for _, _, path, _ in here.decisions for step in path} == {0, 1}
    owner = environment.model.owner
    assert (owner.getStatus(), owner.getNTotalNodes()) == ("optimal", model.getNTotalNodes())
    assert owner.getObjVal() == model.getObjVal()
    assert episode.statistics.decisions == brancher.statistics.decisions > 20
    assert (episode.statistics.passes, episode.statistics.fallbacks, episode.error) == (0, 0, None)
    assert episode.rewards == tuple(float(decision) for decision in range(episode.statistics.decisions + 1))
    assert episode.information == {"stage": owner.getStage()}


def test_paths_survive_forgetting(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PathMemory.__init__.__kwdefaults__, "first_pruning", 4)
    here, there = Recorder(), Recorder()
    branch(environment, here, tree())
    with_plugin(there)
    assert here.decisions == there.decisions


def test_a_policy_that_asks_for_pseudocosts_gets_them(environment: Environment) -> None:
    class Mixes(MostFractional):
        mixes_pseudocosts = True

    episode = branch(environment, Mixes(), tree())
    model, brancher = with_plugin(as_asked(Mixes()))
    assert environment.model.owner.getNTotalNodes() == model.getNTotalNodes()
    assert episode.statistics.policy == brancher.statistics.policy
    assert episode.statistics.policy["pseudocosts_overruled"] > 0


def test_a_guard_does_what_it_does_in_the_plugin(environment: Environment) -> None:
    class Worst(MostFractional):
        def score(self, state: BranchState, path: Sequence[PathStep]) -> Any:
            return -super().score(state, path)

    episode = branch(environment, GuardedPolicy(Worst()), tree())
    model, brancher = with_plugin(GuardedPolicy(Worst()))
    assert environment.model.owner.getNTotalNodes() == model.getNTotalNodes()
    assert episode.statistics.policy == brancher.statistics.policy
    assert episode.statistics.policy["guard_handovers"] > 0
    assert episode.statistics.passes == brancher.statistics.passes


def test_a_restart_clears_the_paths(environment: Environment) -> None:
    nodes: dict[int, int] = {1: 0, 2: 0}

    class RestartsOnce(Recorder):
        def begin(self, model: Model) -> None:
            self.model = weakref.ref(model)

        def score(self, state: BranchState, path: Sequence[PathStep]) -> Any:
            nodes[state.node.run] += 1
            if state.node.run == 1:
                if state.node.n_nodes == 20:
                    self.model().restartSolve()  # type: ignore[union-attr]
                return super().score(state, path)
            # SCIP's rule has this run. Its nodes bear numbers of the first run's, whose decisions are none of theirs.
            assert path == ()
            return None

    environment.scip_params = {**CLEAN, "presolving/maxrestarts": -1}
    branch(environment, RestartsOnce(), EcoleModel(knapsack(4, 20, 5)), strict=True)
    assert environment.model.owner.getStatus() == "optimal"
    assert min(nodes.values()) > 3


def test_failures_go_to_scips_rule_and_are_told_once(environment: Environment, caplog: pytest.LogCaptureFixture) -> None:
    calls = 0

    class Counted(RaisesAtRandom):
        def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[np.floating]:
            nonlocal calls
            calls += 1
            return super().score(state, path)

    with caplog.at_level(logging.WARNING, logger="revibranch"):
        episode = branch(environment, Counted(), tree())
    assert environment.model.owner.getObjVal() == pytest.approx(with_plugin(None)[0].getObjVal())
    assert episode.statistics.fallbacks > 0
    assert episode.statistics.decisions > 0
    # SCIP's rule may tighten a node's domains in place of branching; then the policy is asked once more, and the node counts once.
    assert len(episode.rewards) == 1 + calls >= 1 + episode.statistics.fallbacks + episode.statistics.decisions
    assert isinstance(episode.error, ZeroDivisionError)
    assert len(caplog.records) == 1
    with pytest.raises(ZeroDivisionError, match="as planned"):
        branch(environment, RaisesAtRandom(), tree(), strict=True)
    assert environment.model.owner.getStatus() == "optimal"


def test_a_policy_may_pass_nodes_on(environment: Environment) -> None:
    class Passes(MostFractional):
        def score(self, state: BranchState, path: Sequence[PathStep]) -> Any:
            return None if state.node.depth % 2 else super().score(state, path)

    episode = branch(environment, Passes(), tree())
    assert environment.model.owner.getObjVal() == pytest.approx(with_plugin(None)[0].getObjVal())
    assert episode.statistics.passes > 0
    assert episode.statistics.fallbacks == 0


def test_an_instance_without_a_decision(environment: Environment) -> None:
    episode = branch(environment, MostFractional(), str(INSTANCES / "egout.mps"))
    assert environment.model.owner.getObjVal() == pytest.approx(OPTIMA["egout.mps"])
    assert (episode.statistics.decisions, episode.rewards) == (0, (0.0,))


class Does(MostFractional):
    """Does something in the middle of the third decision."""

    def __init__(self, what: Any) -> None:
        self.what, self.calls = what, 0

    def begin(self, model: Model) -> None:
        self.model = weakref.ref(model)

    def score(self, state: BranchState, path: Sequence[PathStep]) -> Any:
        self.calls += 1
        if self.calls == 3:
            self.what(self.model(), state)
        return super().score(state, path)


def test_ctrl_c_and_a_policy_that_branches_end_the_episode(environment: Environment) -> None:
    def press(model: Model, state: BranchState) -> None:
        raise KeyboardInterrupt

    def branches(model: Model, state: BranchState) -> None:
        model.branchVar(model.getVars(transformed=True)[state.candidates[0]])

    with pytest.raises(KeyboardInterrupt):
        branch(environment, Does(press), tree())
    with pytest.raises(PolicyError, match="branched by itself"):
        branch(environment, Does(branches), tree())


def test_probing_is_left(environment: Environment) -> None:
    episode = branch(environment, Does(lambda model, state: model.startProbing()), tree())
    assert environment.model.owner.getObjVal() == pytest.approx(with_plugin(None)[0].getObjVal())
    assert episode.statistics.fallbacks == 1


# ---- instances -------------------------------------------------------------------------------------------------------------------


def endless() -> Iterator[EcoleModel]:
    for seed in itertools.count(3):
        yield EcoleModel(knapsack(4, 20, seed))


def test_ecole_models_become_instances(ecole: ModuleType) -> None:
    made = list(sources(itertools.islice(endless(), 2), family="knapsack"))
    assert len({source.name for source in made}) == 2
    assert {source.family for source in made} == {"knapsack"}
    model, name = Turns(made).next_model()
    assert name == made[0].name
    optimize(model)
    assert model.getObjVal() == pytest.approx(with_plugin(None)[0].getObjVal())
    copy: EcoleSource = pickle.loads(pickle.dumps(made[0]))  # as it goes to a worker
    assert copy == made[0]
    assert copy.load().getNVars() == model.getNVars(transformed=False)


def test_an_evaluation_takes_them(ecole: ModuleType) -> None:
    from revibranch.benchmarks.evaluate import list_jobs, run_job, wrong_results

    jobs = list_jobs(list(sources([tree()])), ["scip:default", "auto"], [0], "clean", 60.0)
    rows = [run_job(pickle.loads(pickle.dumps(job))) for job in jobs]
    assert [row.status for row in rows] == ["optimal", "optimal"]
    assert rows[1].decisions
    assert not wrong_results(rows)


def test_the_environment_takes_them(ecole: ModuleType) -> None:
    pytest.importorskip("gymnasium", reason="the extra gym is not installed")
    from revibranch.branching.environment import BranchingEnv

    with BranchingEnv(sources(endless())) as environment:
        names = set()
        for _ in range(2):
            _, info = environment.reset()
            names.add(info["instance"])
            *_, info = environment.step(0)
            assert info["decisions"] == 1
    assert len(names) == 2


# ---- libraries -------------------------------------------------------------------------------------------------------------------

ENTRANCES = {
    "observation": BranchStateObservation,
    "branch": lambda: branch(None, MostFractional(), None),
    "sources": lambda: sources([]),
}


@pytest.mark.parametrize("enter", ENTRANCES.values(), ids=ENTRANCES)
def test_another_scip_is_told_before_anything_is_called(enter: Any, ecole: ModuleType, tmp_path: Path) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    source, other = tmp_path / "other.c", tmp_path / "libscip-other.so"
    source.write_text("int SCIPmajorVersion(void) { __builtin_trap(); }\n")  # to call it is to crash
    subprocess.run([compiler, "-shared", "-fPIC", "-o", other, source], check=True)
    loaded = ctypes.CDLL(str(other))
    ecole.core.__file__ = str(other)
    with pytest.raises(EcoleLibraryError, match="same SCIP library") as caught:
        enter()
    message = str(caught.value)
    assert str(other) in message
    assert str(library_path()) in message
    assert "\n" not in message
    assert loaded._handle  # it was there all the time


def test_a_scip_inside_of_ecole_is_told(ecole: ModuleType) -> None:
    ecole.core.__file__ = _halfconv.__file__  # any extension that was not linked with SCIP
    with pytest.raises(EcoleLibraryError, match=r"inside .*_halfconv"):
        BranchStateObservation()


def test_the_same_scip_behind_another_extension_is_the_same(ecole: ModuleType) -> None:
    # The libscip itself, under its own name: what another extension linked with it would reach.
    ecole.core.__file__ = library_path()
    BranchStateObservation()


def test_a_missing_ecole_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ecole", None)
    with pytest.raises(ImportError, match="needs Ecole") as caught:
        BranchStateObservation()
    assert not isinstance(caught.value, EcoleLibraryError)


# ---- Ecole itself ------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def real() -> Any:
    found = pytest.importorskip("ecole", reason="Ecole is not installed")
    try:
        BranchStateObservation()
    except EcoleLibraryError as error:
        pytest.skip(str(error))
    return found


def test_in_ecole_the_observation_equals_node_bipartite(real: Any) -> None:
    both = {"ours": BranchStateObservation(extended=False), "theirs": real.observation.NodeBipartite()}
    environment = real.environment.Branching(observation_function=both, scip_params=CLEAN)
    observation, action_set, _, done, _ = environment.reset(str(INSTANCES / "lseu.mps"))
    decisions = 0
    while not done and decisions < 20:
        ours, theirs = observation["ours"], observation["theirs"]
        np.testing.assert_array_equal(ours.candidates, action_set)
        np.testing.assert_allclose(ours.variable_features, theirs.variable_features, rtol=1e-6, atol=1e-30, equal_nan=True)
        np.testing.assert_allclose(ours.row_features, theirs.row_features, rtol=1e-6, atol=1e-30)
        np.testing.assert_array_equal(ours.edge_variables, theirs.edge_features.indices[1])
        np.testing.assert_allclose(ours.edge_values, theirs.edge_features.values, rtol=1e-6)
        decisions += 1
        observation, action_set, _, done, _ = environment.step(action_set[0])
    assert decisions == 20


def test_in_ecole_a_policy_branches_as_the_plugin_does(real: Any) -> None:
    environment = real.environment.Branching(observation_function=None, scip_params=CLEAN)
    recorder = Recorder()
    episode = branch(environment, recorder, str(INSTANCES / "lseu.mps"), strict=True)
    assert episode.statistics.decisions == len(recorder.decisions) > 0
    assert environment.model.primal_bound == pytest.approx(OPTIMA["lseu.mps"])
    assert all(len(path) == depth for _, depth, path, _ in recorder.decisions)
    failing = branch(environment, RaisesAtRandom(), str(INSTANCES / "lseu.mps"))
    assert failing.statistics.fallbacks > 0
    assert environment.model.primal_bound == pytest.approx(OPTIMA["lseu.mps"])


def test_in_ecole_generators_give_instances(real: Any) -> None:
    (source,) = sources(itertools.islice(real.instance.SetCoverGenerator(30, 60), 1))
    model = source.load()
    optimize(model)
    assert model.getStatus() == "optimal"
