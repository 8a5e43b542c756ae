"""An end to every solve of the environment, however it comes."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from typing import Any

import psutil
import pytest
from pyscipopt import SCIP_HEURTIMING, SCIP_RESULT, Heur, Model

from revibranch.branching.settings import apply_settings
from revibranch.branching.solving import attach, optimize
from revibranch.branching.state import BranchState

from .environments import ROOT, eventually, small, solver_threads
from .models import knapsack
from .policies import MostFractional

gymnasium = pytest.importorskip("gymnasium", reason="the extra gym is not installed")

from revibranch.branching.environment import BranchingEnv  # noqa: E402


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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("what", ["close", "reset", "step", "forget"])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_leaves_the_solve_to_the_parent(what: str) -> None:
    environment, _ = half_finished()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            if what == "step":
                with pytest.raises(RuntimeError, match="a fork does not take it along"):
                    environment.step(0)
            elif what == "forget":
                del environment
                gc.collect()
            else:
                getattr(environment, what)()
                if what == "reset":
                    environment.step(0)
                    environment.close()
            code = 0
        finally:
            os._exit(code)
    process = psutil.Process(child)
    ended = eventually(lambda: process.status() == psutil.STATUS_ZOMBIE)
    process.kill()
    assert os.waitpid(child, 0)[1] == 0
    assert ended
    assert not environment.step(0)[2]
    environment.close()
