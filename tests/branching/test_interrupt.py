"""Ctrl-C stops a solve and leaves its incumbent, whenever it strikes; no other exception of a signal handler ends one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from revibranch.branching import _scip
from revibranch.branching.solving import attach, optimize

from .models import knapsack
from .policies import MostFractional
from .test_brancher import tree

SCRIPT = """
import json, sys
sys.path.append({root!r})
from tests.branching.models import knapsack
from tests.branching.policies import MostFractional
from revibranch.branching.solving import attach, optimize
model = knapsack(30, 200, 1)
model.setParam("misc/catchctrlc", {caught})
brancher = attach(model, MostFractional())
print("ready", flush=True)
optimize(model)
print(json.dumps({{"status": model.getStatus(), "solutions": model.getNSols(), "fallbacks": brancher.statistics.fallbacks}}))
"""


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize(("caught", "pause"), [(True, 2.0), (False, 2.0), (False, 0.1)], ids=["SCIP", "Python", "Python, early"])
def test_sigint_keeps_the_incumbent(caught: bool, pause: float) -> None:
    script = SCRIPT.format(root=str(Path(__file__).parents[2]), caught=caught)
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "ready"
    time.sleep(pause)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    # SCIP's own word on Ctrl-C waits in C's buffer and may come out before this line or behind it.
    (line,) = (line for line in output.splitlines() if line.startswith("{"))
    result = json.loads(line)
    assert result == {"status": "userinterrupt", "solutions": pytest.approx(result["solutions"]), "fallbacks": 0}
    assert result["solutions"] > 0
    assert process.returncode == 0


class Stumbles:
    """Stands for an object of which one call of a method raises; the turns of its calls are counted from 0."""

    def __init__(self, real: Any, method: str, turn: int, error: BaseException) -> None:
        self._real, self._method, self._turn, self._error = real, method, turn, error
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        return self._call if name == self._method else getattr(self._real, name)

    def _call(self, *arguments: object) -> object:
        self.calls += 1
        if self.calls == self._turn + 1:
            raise self._error
        return getattr(self._real, self._method)(*arguments)


@pytest.mark.parametrize("turn", [0, 1], ids=["branchinit", "branchinitsol"])
def test_an_interrupt_while_a_solve_begins_stops_it_and_the_next_one_is_whole(turn: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = knapsack(30, 200, 1)
    brancher = attach(model, MostFractional())
    stumbles = Stumbles(brancher._paths, "clear", turn, KeyboardInterrupt())  # both callbacks clear the paths
    monkeypatch.setattr(brancher, "_paths", stumbles)
    optimize(model)
    assert stumbles.calls >= turn + 2, "the callback was not done again"
    assert model.getStatus() == "userinterrupt"
    assert (brancher.statistics.decisions, brancher.statistics.fallbacks, brancher.error) == (0, 0, None)
    model.freeTransform()
    model.setParam("limits/nodes", 20)
    optimize(model)
    assert model.getStatus() == "nodelimit"
    assert brancher.statistics.decisions > 0


def test_what_a_signal_handler_raises_while_a_solve_begins_is_told_and_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model = tree()
    brancher = attach(model, MostFractional())
    monkeypatch.setattr(brancher, "_paths", Stumbles(brancher._paths, "clear", 1, TimeoutError("too late")))
    optimize(model)
    assert model.getStatus() == "optimal"
    assert brancher.statistics.decisions > 0
    assert isinstance(brancher.error, TimeoutError)
    assert caplog.text.count("too late") == 1


def test_a_shield_answers_for_a_callback_that_raises() -> None:
    def escape(plugin: object, error: BaseException, callback: Callable[..., object]) -> object:
        return plugin, type(error), callback.__name__

    class Plugin:
        @_scip.shielded(escape)
        def callback(self, number: int) -> object:
            """Its text."""
            if number < 0:
                raise KeyboardInterrupt
            return number

    plugin = Plugin()
    assert plugin.callback(1) == 1
    assert plugin.callback.__doc__ == "Its text."
    assert plugin.callback(-1) == (plugin, KeyboardInterrupt, "callback")
