"""A process that solves thousands of models does not grow."""

from __future__ import annotations

import gc

import psutil
import pytest

from revibranch.branching.solving import attach, optimize

from .models import INSTANCES, read
from .policies import Recorder


def growth(warm_up: int, solves: int) -> int:
    """Bytes the resident set grows by over these solves."""
    process = psutil.Process()

    def solve(times: int) -> None:
        for _ in range(times):
            model = read(INSTANCES / "lseu.mps", limits__totalnodes=20, presolving__maxrounds=0, separating__maxroundsroot=0)
            brancher = attach(model, Recorder())
            optimize(model)
            assert brancher.statistics.decisions > 0
        del model, brancher
        gc.collect()

    solve(warm_up)
    before = process.memory_info().rss
    solve(solves)
    return process.memory_info().rss - before


def test_solves_do_not_grow_the_process() -> None:
    # A leaked model is 9 MB: one in ten of them would be seen here.
    assert growth(20, 100) < 20 * 2**20


@pytest.mark.slow
def test_a_thousand_solves_do_not_grow_the_process() -> None:
    assert growth(50, 950) < 20 * 2**20
