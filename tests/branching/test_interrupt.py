"""Ctrl-C stops a solve and leaves its incumbent."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = """
import json, sys
sys.path.insert(0, {root!r})
from tests.branching.models import knapsack
from tests.branching.policies import MostFractional
from revibranch.branching.solving import attach, optimize
model = knapsack(30, 200, 1)
brancher = attach(model, MostFractional())
print("ready", flush=True)
optimize(model)
print(json.dumps({{"status": model.getStatus(), "solutions": model.getNSols(), "fallbacks": brancher.statistics.fallbacks}}))
"""


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_sigint_keeps_the_incumbent() -> None:
    root = str(Path(__file__).parents[2])
    process = subprocess.Popen([sys.executable, "-c", SCRIPT.format(root=root)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "ready"
    time.sleep(2.0)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    # SCIP's own word on Ctrl-C waits in C's buffer and may come out before this line or behind it.
    (line,) = (line for line in output.splitlines() if line.startswith("{"))
    result = json.loads(line)
    assert result == {"status": "userinterrupt", "solutions": pytest.approx(result["solutions"]), "fallbacks": 0}
    assert result["solutions"] > 0
    assert process.returncode == 0
