"""The environment's rewards."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from revibranch.branching.reward_functions import Progress, RewardFunction, dual_integral, lp_iterations, nodes, seconds

from .environments import file, random_episode, small
from .models import OPTIMA

gymnasium = pytest.importorskip("gymnasium", reason="the extra gym is not installed")

from revibranch.branching.environment import BranchingEnv  # noqa: E402


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
