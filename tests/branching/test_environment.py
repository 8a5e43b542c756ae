"""The environment: the same solves as the plugin's, step by step, and an end to every one of them."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyscipopt import SCIP_HEURTIMING, SCIP_RESULT, Heur, Model

from revibranch.branching.brancher import attach, optimize
from revibranch.branching.reward_functions import Progress, RewardFunction, dual_integral, lp_iterations, nodes, seconds
from revibranch.branching.settings import apply_seed, apply_settings
from revibranch.branching.state import BranchState
from revibranch.instances.files import resolve

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

ROOT = Path(__file__).parents[2]
UNBRANCHED = ("egout.mps", "gt2.mps", "p0548.mps")
"""Files that SCIP solves in the root with clean settings."""
FILES = tuple(name for name in OPTIMA if name not in UNBRANCHED)


def file(name: str) -> Callable[[], Model]:
    return lambda: read(INSTANCES / name)


def small() -> Model:
    """A model with some twenty decisions, built in no time."""
    return knapsack(3, 15, 0)


def random_episode(environment: BranchingEnv, seed: int | None, actions: int = 0) -> list[tuple[Any, ...]]:
    """Observation, reward, terminated, truncated, info of every step."""
    generator = np.random.default_rng(actions)
    state, info = environment.reset(seed=seed)
    steps = [(state, 0.0, False, False, info)]
    while not (steps[-1][2] or steps[-1][3]):
        steps.append(environment.step(generator.integers(steps[-1][4]["action_mask"].sum())))
    return steps


def same_state(one: BranchState, other: BranchState) -> bool:
    return all(
        np.array_equal(a, b, equal_nan=a.dtype.kind == "f") if isinstance(a, np.ndarray) else a == b
        for a, b in ((getattr(one, field.name), getattr(other, field.name)) for field in fields(BranchState))
    )


def same_info(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return (
        one.keys() == other.keys()
        and all(np.array_equal(one[key], other[key]) for key in one if key != "node")
        and one["node"] == other["node"]
    )


def solver_threads() -> int:
    return sum(thread.name.startswith("revibranch") for thread in threading.enumerate())


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


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


# ---- rewards -------------------------------------------------------------------------------------------------------------


def test_rewards_add_up() -> None:
    with BranchingEnv([file("lseu.mps")], reward=-nodes - 0.25 * lp_iterations) as environment:
        steps = random_episode(environment, 0)
        first, last = steps[0][4], steps[-1][4]
        assert last["nodes"] > 100
        expected = -(last["nodes"] - first["nodes"]) - 0.25 * (last["lp_iterations"] - first["lp_iterations"])
        assert sum(step[1] for step in steps) == pytest.approx(expected)
        assert last["nodes"] == environment.model.getNTotalNodes()


def test_seconds_are_those_of_scip() -> None:
    with BranchingEnv([small], reward=seconds) as environment:
        started = time.perf_counter()
        state, _ = environment.reset(seed=0)
        spent, asleep, ended = 0.0, 0.0, False
        while not ended:
            time.sleep(0.005)
            asleep += 0.005
            state, reward, terminated, truncated, _ = environment.step(0)
            assert reward >= 0.0
            spent += reward
            ended = terminated or truncated
        assert 0.0 < spent <= time.perf_counter() - started - asleep
        assert state is not None


finite = st.floats(-1e6, 1e6)
progresses = st.builds(
    Progress,
    instance=st.just("a"),
    nodes=st.integers(0, 10**6),
    lp_iterations=st.integers(0, 10**9),
    seconds=st.floats(0, 1e5),
    primal_bound=finite,
    dual_bound=st.one_of(finite, st.sampled_from([1e20, -1e20, np.inf, -np.inf, np.nan])),
    maximises=st.booleans(),
)


@given(progresses, progresses, finite, finite)
def test_reward_algebra(before: Progress, after: Progress, factor: float, constant: float) -> None:
    def custom(one: Progress, other: Progress) -> float:
        return constant

    n, lp = nodes(before, after), lp_iterations(before, after)
    assert (nodes + lp_iterations)(before, after) == n + lp
    assert (nodes - lp_iterations)(before, after) == n - lp
    assert (factor * nodes)(before, after) == (nodes * factor)(before, after) == factor * n
    assert (-nodes)(before, after) == -n
    assert (nodes + custom)(before, after) == n + constant
    assert (2 * (nodes + RewardFunction(custom)) - lp_iterations)(before, after) == pytest.approx(2 * (n + constant) - lp)


@given(progresses, progresses, finite)
def test_dual_integral(before: Progress, after: Progress, optimum: float) -> None:
    lack = dual_integral(optimum)(before, after)
    assert lack == dual_integral(lambda progress: {"a": optimum}[progress.instance])(before, after)
    if not np.isfinite(before.dual_bound) or abs(before.dual_bound) >= 1e20:
        assert lack == 0.0
        return
    sense = -1.0 if before.maximises else 1.0
    assert lack == pytest.approx(sense * (optimum - before.dual_bound) * (after.seconds - before.seconds))
    mirrored = [replace(one, maximises=not one.maximises, dual_bound=-one.dual_bound) for one in (before, after)]
    assert dual_integral(-optimum)(*mirrored) == pytest.approx(lack)


def test_what_is_no_reward_is_refused() -> None:
    for wrong in (lambda: nodes + 1, lambda: nodes - 1, lambda: nodes * lp_iterations):
        with pytest.raises(TypeError):
            wrong()


@pytest.mark.parametrize("name", ["lseu.mps", "MANN_a9.clq.lp"])
def test_the_dual_bound_never_passes_the_optimum(name: str) -> None:
    with BranchingEnv([file(name)], reward=dual_integral(OPTIMA[name] or 0.0)) as environment:
        assert all(step[1] >= -1e-6 for step in random_episode(environment, 0))


def test_a_reward_that_raises_does_not_end_the_episode() -> None:
    calls = []

    def fails_once(before: Progress, after: Progress) -> float:
        calls.append(after.nodes)
        if len(calls) == 1:
            raise ZeroDivisionError("as planned")
        return 1.0

    with BranchingEnv([small], reward=fails_once) as environment:
        environment.reset(seed=0)
        with pytest.raises(ZeroDivisionError):
            environment.step(0)
        _, reward, _, _, info = environment.step(0)
        assert (reward, info["decisions"]) == (1.0, 2)


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
        with pytest.raises(InstancesExhaustedError, match="ended after 2"):
            environment.reset()
        with pytest.raises(ValueError, match="no places"):
            environment.reset(options={"instance": 0})


def test_wrong_instances_are_told() -> None:
    used = small()
    used.optimize()
    for wrong, message in ((lambda: used, "solve has begun"), (lambda: 3, "gave int"), (3, "neither a source nor a function")):
        with BranchingEnv([wrong]) as environment, pytest.raises(ValueError, match=message):
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


# ---- ends ----------------------------------------------------------------------------------------------------------------


def half_finished() -> tuple[BranchingEnv, weakref.ref[Model]]:
    environment = BranchingEnv([lambda: knapsack(10, 60, 1)])
    environment.reset(seed=0)
    for _ in range(3):
        environment.step(0)
    assert solver_threads() == 1
    return environment, weakref.ref(environment.model)


def test_close_ends_the_solve() -> None:
    environment, model = half_finished()
    environment.close()
    assert (model(), solver_threads()) == (None, 0)
    environment.close()


def test_reset_ends_the_solve() -> None:
    environment, model = half_finished()
    environment.reset()
    assert (model(), solver_threads()) == (None, 1)
    environment.close()


def test_garbage_ends_the_solve() -> None:
    environment, model = half_finished()
    del environment
    assert eventually(lambda: model() is None and solver_threads() == 0)


def test_garbage_in_a_cycle_ends_the_solve() -> None:
    environment, model = half_finished()
    cycle: list[object] = [environment]
    cycle.append(cycle)
    del environment, cycle
    gc.collect()
    assert eventually(lambda: model() is None and solver_threads() == 0)


def test_garbage_collected_by_another_solves_thread() -> None:
    environment, model = half_finished()

    class Collects(MostFractional):
        def score(self, state: BranchState, path: Any) -> Any:
            gc.collect()
            return super().score(state, path)

    cycle: list[object] = [environment]
    cycle.append(cycle)
    gc.disable()
    try:
        del environment, cycle
        other = small()
        apply_settings(other, "clean")
        brancher = attach(other, Collects())
        solver = threading.Thread(target=optimize, args=(other,))
        solver.start()
        solver.join(60)
        assert not solver.is_alive()
        assert brancher.statistics.decisions > 0
        assert model() is None  # collected by the other thread, before gc.enable()
    finally:
        gc.enable()
    assert eventually(lambda: solver_threads() == 0)


def test_a_users_exception_ends_the_solve() -> None:
    def user_code() -> None:
        with BranchingEnv([small]) as environment:
            environment.reset(seed=0)
            raise ZeroDivisionError("as planned")

    with pytest.raises(ZeroDivisionError):
        user_code()
    assert solver_threads() == 0


class Slow(Heur):
    """Holds SCIP up before the first decision."""

    def __init__(self, entered: threading.Event) -> None:
        self.entered = entered

    def heurexec(self, heurtiming: object, nodeinfeasible: bool) -> dict[str, Any]:
        self.entered.set()
        time.sleep(0.3)
        return {"result": SCIP_RESULT.DIDNOTFIND}


def test_ctrl_c_ends_a_step_that_waits() -> None:
    entered = threading.Event()

    def slow() -> Model:
        model = small()
        heuristic = Slow(entered)
        model.includeHeur(heuristic, "slow", "", "s", timingmask=SCIP_HEURTIMING.BEFORENODE)
        heuristic.model = None
        return model

    def press() -> None:
        entered.wait(30)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    environment = BranchingEnv([slow])
    finger = threading.Thread(target=press)
    finger.start()
    with pytest.raises(KeyboardInterrupt):
        environment.reset(seed=0)
    finger.join()
    assert solver_threads() == 0
    with pytest.raises(gymnasium.error.ResetNeeded):
        environment.step(0)
    environment.reset(seed=0)  # and goes on when asked to
    environment.close()


class Broken(Model):
    def optimizeNogil(self) -> None:  # noqa: N802  (PySCIPOpt's name)
        raise ArithmeticError("as planned")


def test_what_the_solve_raises_is_raised() -> None:
    with BranchingEnv([Broken, small]) as environment:
        with pytest.raises(ArithmeticError, match="as planned"):
            environment.reset(seed=0)
        assert solver_threads() == 0
        environment.reset()


SCRIPT = """
import sys
sys.path.insert(0, {root!r})
from revibranch.branching.environment import BranchingEnv
from tests.branching.models import knapsack
environment = BranchingEnv([lambda: knapsack(10, 60, 1)])
environment.reset(seed=0)
environment.step(0)
print("half", flush=True)
{end}
"""


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("", 0),
        ("sys.exit(3)", 3),
        ("raise ZeroDivisionError", 1),
        ("environment.cycle = environment", 0),
        ("others = [BranchingEnv([lambda: knapsack(10, 60, 2)]) for _ in range(3)]; [other.reset() for other in others]", 0),
    ],
)
def test_the_interpreter_ends(end: str, code: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(root=str(ROOT), end=end)], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.stdout.strip(), done.returncode) == ("half", code), done.stderr
    assert "ZeroDivisionError" in done.stderr if code == 1 else not done.stderr


def test_episodes_leave_nothing_behind() -> None:
    process = psutil.Process()
    environment = BranchingEnv([small])

    def episodes(n: int) -> None:
        for place in range(n):
            environment.reset()
            truncated = terminated = False
            steps = 0
            while not (terminated or truncated) and (steps < 2 or place % 4 == 0):
                _, _, terminated, truncated, _ = environment.step(0)
                steps += 1
        environment.close()
        gc.collect()

    episodes(20)
    before = process.memory_info().rss
    episodes(200)
    assert solver_threads() == 0
    assert process.num_threads() < 20 + threading.active_count()
    assert process.memory_info().rss - before < 20 * 2**20  # a leaked model of this size takes some MB
