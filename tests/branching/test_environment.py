"""The environment: the same solves as the plugin's, step by step."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from pyscipopt import Model

from revibranch.branching.settings import apply_seed, apply_settings
from revibranch.branching.solving import attach, optimize
from revibranch.branching.state import BranchState
from revibranch.instances.files import resolve

from .environments import FILES, file, random_episode, same_info, same_state, small, solver_threads
from .models import INSTANCES, OPTIMA, knapsack, read
from .policies import MostFractional

gymnasium = pytest.importorskip("gymnasium", reason="the extra gym is not installed")

from revibranch.branching.environment import (  # noqa: E402
    BranchingEnv,
    InstancesExhaustedError,
    NoDecisionError,
    Padding,
    PaddingError,
)

# ---- the solve ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
def test_random_actions_keep_the_optimum(name: str) -> None:
    with BranchingEnv([file(name)]) as environment:
        steps = random_episode(environment, 0)
        _, _, terminated, truncated, info = steps[-1]
        assert (terminated, truncated) == (True, False)
        assert info["fallbacks"] == 0
        assert info["decisions"] == len(steps) - 1
        assert environment.model is not None
        if OPTIMA[name] is None:
            assert info["status"] == "infeasible"
        else:
            assert info["status"] == "optimal"
            assert environment.model.getObjVal() == pytest.approx(OPTIMA[name], rel=1e-6, abs=1e-6)
            assert info["primal_bound"] == pytest.approx(OPTIMA[name], rel=1e-6, abs=1e-6)


def test_the_tree_is_that_of_the_plugin() -> None:
    rule = MostFractional()
    with BranchingEnv([file("lseu.mps")], extended=False) as environment:
        state, info = environment.reset(seed=5)
        ended = False
        while not ended:
            state, _, terminated, truncated, info = environment.step(rule.score(state, ()).argmax())
            ended = terminated or truncated
        model = read(INSTANCES / "lseu.mps")
        apply_settings(model, "clean")
        apply_seed(model, info["scip_seed"])
        brancher = attach(model, rule)
        optimize(model)
        assert brancher.statistics.decisions == info["decisions"] > 20
        assert (model.getNTotalNodes(), model.getNLPIterations()) == (info["nodes"], info["lp_iterations"])


def test_same_seed_and_actions_give_the_same_states() -> None:
    with BranchingEnv([file("lseu.mps"), file("misc03.mps")], node_limit=40) as environment:
        first, again = random_episode(environment, 3), random_episode(environment, 3)
        second = random_episode(environment, None)
    with BranchingEnv([file("lseu.mps"), file("misc03.mps")], node_limit=40, seed=3) as environment:
        fresh = [random_episode(environment, None) for _ in range(2)]
    for one, other in ((first, again), (first, fresh[0]), (second, fresh[1])):
        assert len(one) == len(other)
        for (state, reward, *_, info), (its_state, its_reward, *_, its_info) in zip(one, other, strict=True):
            assert same_state(state, its_state)
            assert reward == its_reward
            assert same_info(info, its_info)
    assert first[0][0].n_variables != second[0][0].n_variables


def test_another_seed_is_another_solve() -> None:
    with BranchingEnv([file("lseu.mps")], node_limit=40) as environment:
        assert len({random_episode(environment, seed)[-1][4]["lp_iterations"] for seed in range(4)}) > 1


def test_states_are_the_callers_own() -> None:
    with BranchingEnv([file("lseu.mps")], settings="default", node_limit=60) as environment:
        generator = np.random.default_rng(0)
        state, _ = environment.reset()
        states, copies, ended = [state], [state.copy()], False
        while not ended:
            state, _, terminated, truncated, _ = environment.step(generator.integers(len(state.candidates)))
            ended = terminated or truncated
            states.append(state)
            copies.append(state.copy())
    assert len({state.structure_id for state in states}) > 1  # cuts came or went
    assert all(same_state(state, copy) for state, copy in zip(states, copies, strict=True))
    assert len({id(state.variable_features) for state in states}) == len(states) - 1  # the last is given once more


def test_two_environments_at_a_time() -> None:
    with BranchingEnv([small]) as alone:
        expected = [step[4]["lp_iterations"] for step in random_episode(alone, 1)]
    with BranchingEnv([small]) as one, BranchingEnv([small]) as other:
        seen: list[list[int]] = [[], []]
        generators = [np.random.default_rng(0) for _ in range(2)]
        infos = [environment.reset(seed=1)[1] for environment in (one, other)]
        for place, info in enumerate(infos):
            seen[place].append(info["lp_iterations"])
        while len(seen[0]) < len(expected):
            for place, environment in enumerate((one, other)):
                action = generators[place].integers(len(infos[place]["candidates"]))
                infos[place] = environment.step(action)[4]
                seen[place].append(infos[place]["lp_iterations"])
        assert seen == [expected, expected]


# ---- actions and info ----------------------------------------------------------------------------------------------------


def test_a_wrong_action_loses_nothing() -> None:
    with BranchingEnv([file("misc03.mps")], node_limit=30) as environment:
        expected = random_episode(environment, 0)
        generator = np.random.default_rng(0)
        state, info = environment.reset(seed=0)
        for _, _, _, _, expected_info in expected[1:]:
            k = len(info["candidates"])
            for wrong in (-1, k, k + 100, 0.0, "0", None, np.zeros(1, dtype=int), np.nan):
                with pytest.raises(ValueError, match="an action is a place"):
                    environment.step(wrong)
            state, _, _, _, info = environment.step(generator.integers(k))
            assert same_info(info, expected_info)
        assert isinstance(state, BranchState)


def test_info_names_the_candidates() -> None:
    with BranchingEnv([file("lseu.mps")], node_limit=20) as environment:
        for state, _, terminated, truncated, info in random_episode(environment, 0):
            candidates = np.zeros(0) if terminated or truncated else state.candidates
            assert np.array_equal(info["candidates"], candidates)
            assert info["action_mask"].tolist() == [1] * len(candidates)
            assert info["node"] == state.node
            assert state in environment.observation_space
        assert info["status"] == "totalnodelimit"


def test_samples_are_valid_actions() -> None:
    with BranchingEnv([file("lseu.mps")]) as environment:
        environment.reset(seed=0)
        environment.action_space.seed(0)
        terminated = truncated = False
        drawn = set()
        while not (terminated or truncated):
            drawn.add(int(action := environment.action_space.sample()))
            assert action in environment.action_space
            _, _, terminated, truncated, _ = environment.step(action)
        assert terminated
        assert len(drawn) > 3


def test_a_step_needs_an_episode() -> None:
    environment = BranchingEnv([small], node_limit=3)
    with pytest.raises(gymnasium.error.ResetNeeded):
        environment.step(0)
    random_episode(environment, 0)
    with pytest.raises(gymnasium.error.ResetNeeded):
        environment.step(0)
    environment.reset()
    environment.close()
    with pytest.raises(gymnasium.error.ResetNeeded):
        environment.step(0)
    environment.close()


@pytest.mark.parametrize("limit", [{"node_limit": 10}, {"time_limit": 2.0}])
def test_a_limit_truncates(limit: dict[str, Any]) -> None:
    with BranchingEnv([lambda: knapsack(20, 80, 1)], **limit) as environment:
        *_, terminated, truncated, info = random_episode(environment, 0)[-1]
        assert (terminated, truncated) == (False, True)
        assert info["status"] in ("totalnodelimit", "timelimit")


@pytest.mark.parametrize(
    "limit",
    [math.inf, 1e30, 1e20, pytest.param(10**400, id="no float"), np.float64(9e19), pytest.param(Fraction(10**10), id="fraction")],
)
def test_a_time_limit_may_be_infinite(limit: Any) -> None:
    with BranchingEnv([small], time_limit=limit, node_limit=2**63 - 1) as environment:
        *_, terminated, _, info = random_episode(environment, 0)[-1]
        assert (terminated, info["status"]) == (True, "optimal")


@pytest.mark.parametrize("what", ["time_limit", "node_limit", "tries"])
def test_limits_that_are_none_are_refused_at_once(what: str) -> None:
    for value in (0, -1, -(10**400)):
        with pytest.raises(ValueError, match=rf"^{what} is positive, not {value}$"):
            BranchingEnv([small], **{what: value})
    for no_number in ("5", [5], 1j, np.ones(2)):
        with pytest.raises(TypeError, match=rf"^{what} is an? (number|integer).*, not "):
            BranchingEnv([small], **{what: no_number})
    if what == "time_limit":
        for number in (math.nan, -0.5, -math.inf):
            with pytest.raises(ValueError, match=rf"^time_limit is positive, not {number}$"):
                BranchingEnv([small], time_limit=number)
        return
    for number in (0.5, 2.0, math.inf, math.nan):
        with pytest.raises(TypeError, match=rf"^{what} is an integer, not {number}$"):
            BranchingEnv([small], **{what: number})
    with pytest.raises(ValueError, match=rf"^{what} is at most {2**63 - 1}, not {2**63}$"):
        BranchingEnv([small], **{what: 2**63})
    assert BranchingEnv([small], **{what: np.int32(5)}).reset(seed=0)


# ---- instances -----------------------------------------------------------------------------------------------------------


def test_sources_come_in_turn() -> None:
    sources = resolve("auction:60x250:0-2")
    with BranchingEnv(sources, node_limit=2) as environment:
        names = [environment.reset()[1]["instance"] for _ in range(4)]
        assert names == [source.name for source in (*sources, sources[0])]
        assert environment.reset(seed=1)[1]["instance"] == sources[0].name
        assert environment.reset(options={"instance": 2})[1]["instance"] == sources[2].name
        for wrong in ({"instance": 3}, {"instance": "0"}, {"seed": 1}):
            with pytest.raises(ValueError, match=r"an instance is a place|unknown options"):
                environment.reset(options=wrong)


def test_instances_without_a_decision_are_passed_over() -> None:
    with BranchingEnv([file("egout.mps"), file("gt2.mps"), small]) as environment:
        _, info = environment.reset(seed=0)
        assert (info["skipped"], info["instance"]) == (2, "instance 2")
    with BranchingEnv([file("egout.mps")], tries=3) as environment:
        with pytest.raises(NoDecisionError, match=r"on 3 instances.*instance 0 \(optimal\)"):
            environment.reset(seed=0)
        assert environment.model is None
    assert solver_threads() == 0


def test_a_limit_before_the_first_decision() -> None:
    environment = BranchingEnv([small], time_limit=1e-9, tries=2)
    with pytest.raises(NoDecisionError, match=r"instance 0 \(timelimit\)"):
        environment.reset(seed=0)


def test_iterators_end() -> None:
    def models() -> Iterator[Model]:
        yield small()
        yield knapsack(3, 16, 1)

    with BranchingEnv(models()) as environment:
        assert environment.reset()[0].n_variables <= 15
        environment.reset(seed=0)
        for _ in range(2):
            with pytest.raises(InstancesExhaustedError, match=r"ended after 2$"):
                environment.reset()
        with pytest.raises(ValueError, match="no places"):
            environment.reset(options={"instance": 0})


def test_wrong_instances_are_told() -> None:
    used = small()
    used.optimize()
    for wrong, message in ((lambda: used, "solve has begun"), (lambda: 3, "gave int")):
        with BranchingEnv([wrong]) as environment, pytest.raises(ValueError, match=message):
            environment.reset()
    with pytest.raises(ValueError, match=r"instance 1 is neither a source nor a function: 'a\.mps'"):
        BranchingEnv([small, "a.mps"])  # type: ignore[list-item]
    with BranchingEnv(iter([3])) as environment, pytest.raises(ValueError, match="neither a source nor a function"):  # type: ignore[arg-type]
        environment.reset()
    with pytest.raises(ValueError, match="no instances"):
        BranchingEnv([])
    for options in ({"settings": "dirty"}, {"time_limit": 0}, {"node_limit": -1}, {"tries": 0}):
        with pytest.raises(ValueError, match=r"unknown settings|is positive"):
            BranchingEnv([small], **options)


# ---- padded observations -------------------------------------------------------------------------------------------------

ROOM = Padding(variables=100, rows=150, edges=3000, candidates=60)


def test_check_env() -> None:
    from gymnasium.utils.env_checker import check_env

    with BranchingEnv([file("lseu.mps")], padding=ROOM) as environment:
        check_env(environment)


def test_padded_states_hold_the_state() -> None:
    with BranchingEnv([file("lseu.mps")], node_limit=30) as plain, BranchingEnv([file("lseu.mps")], node_limit=30, padding=ROOM) as padded:
        for (state, *_), (arrays, _, terminated, truncated, info) in zip(random_episode(plain, 0), random_episode(padded, 0), strict=True):
            assert arrays in padded.observation_space
            n, m, e, k = arrays["sizes"]
            assert (n, m, e, k) == (state.n_variables, state.n_rows, state.n_edges, len(state.candidates))
            present = ~np.isnan(state.variable_features)
            assert np.array_equal(arrays["variable_features"][:n][present], state.variable_features[present])
            assert not arrays["variable_features"][:n][~present].any()
            assert np.array_equal(arrays["row_features"][:m], state.row_features)
            dense, expected = np.zeros((m, n)), np.zeros((m, n))
            dense[arrays["edge_rows"][:e], arrays["edge_variables"][:e]] = arrays["edge_values"][:e]
            for row in range(m):
                edges = slice(state.row_offsets[row], state.row_offsets[row + 1])
                expected[row, state.edge_variables[edges]] = state.edge_values[edges]
            assert np.array_equal(dense, expected)
            assert np.array_equal(arrays["candidates"][:k], state.candidates)
            for name, used in (("variable_features", n), ("row_features", m), ("edge_values", e), ("candidates", k)):
                assert not arrays[name][used:].any()
            ended = terminated or truncated
            assert arrays["action_mask"].sum() == info["action_mask"].sum() == (0 if ended else k)
            assert np.array_equal(info["candidates"], arrays["candidates"] * info["action_mask"])
            assert np.isfinite(arrays["node"]).all()
        assert not padded.action_masks().any()


def test_a_state_that_does_not_fit_says_what_it_needs() -> None:
    with BranchingEnv([file("lseu.mps")], padding=replace(ROOM, rows=3)) as environment:
        with pytest.raises(PaddingError, match=r"needs Padding\(\d+, \d+, \d+, \d+\)"):
            environment.reset(seed=0)
        with pytest.raises(gymnasium.error.ResetNeeded):
            environment.step(0)
    with pytest.raises(ValueError, match="positive"):
        replace(ROOM, edges=0)


def test_a_vector_of_environments() -> None:
    environments = gymnasium.vector.SyncVectorEnv([lambda: BranchingEnv([file("lseu.mps")], padding=ROOM, node_limit=8)] * 2)
    try:
        observations, infos = environments.reset(seed=0)
        for _ in range(12):  # past the end of both episodes
            assert observations["variable_features"].shape == (2, 100, 28)
            observations, rewards, _, _, infos = environments.step(observations["action_mask"].argmax(axis=1))
        assert rewards.shape == (2,)
        assert "action_mask" in infos
    finally:
        environments.close()


def test_a_seed_stands_whoever_looks_at_the_generator_first() -> None:
    seeds = []
    for look in (False, True):
        with BranchingEnv([small], seed=5) as environment:
            if look:
                assert environment.np_random is not None
            seeds.append([environment.reset()[1]["scip_seed"] for _ in range(2)])
    assert seeds[0] == seeds[1]


def test_without_an_episode_there_is_one_action() -> None:
    with BranchingEnv([small]) as environment:
        environment.reset(seed=0)
        assert environment.action_space.n_candidates > 1
        environment.close()
        assert environment.action_space.n_candidates == 1
