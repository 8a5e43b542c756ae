"""What a brancher counted goes anywhere, also where neither its policy nor SCIP can go."""

from __future__ import annotations

import copy
import gc
import pickle
import time
import weakref
from collections.abc import Callable
from dataclasses import asdict, fields
from typing import Any

import pytest
from pyscipopt import Model

from revibranch.branching._scip import Search
from revibranch.branching.settings import apply_settings
from revibranch.branching.solving import attach, optimize
from revibranch.branching.statistics import BrancherStatistics

from .models import knapsack
from .policies import MostFractional


class Tells(MostFractional):
    """Holds what has no copy, and says how often it was asked."""

    def begin(self, model: Model) -> None:
        self.search = Search(model)
        self.asked = 0

    def report(self) -> dict[str, float | str]:
        self.asked += 1
        return {"asked": self.asked}


def solved(policy: MostFractional) -> BrancherStatistics:
    model = knapsack(3, 15, 0)
    apply_settings(model, "clean")
    brancher = attach(model, policy, strict=True)
    optimize(model)
    assert brancher.statistics.decisions > 3
    return brancher.statistics


def test_all_calls_of_the_policy_are_its_seconds() -> None:
    class Slow(MostFractional):
        def begin(self, model: Model) -> None:
            time.sleep(0.2)

        def skip(self) -> bool:
            time.sleep(0.02)
            return False

    statistics = solved(Slow())
    assert statistics.inference_seconds > 0.2 + 0.02 * statistics.decisions


COPIES: dict[str, Callable[[BrancherStatistics], Any]] = {
    "pickle": lambda statistics: pickle.loads(pickle.dumps(statistics)),
    "old pickle": lambda statistics: pickle.loads(pickle.dumps(statistics, protocol=2)),
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
}


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_a_copy_holds_what_the_policy_said(copied: Callable[[BrancherStatistics], BrancherStatistics]) -> None:
    policy = Tells()
    statistics = solved(policy)
    found = copied(statistics)
    assert found == statistics
    assert type(found) is BrancherStatistics
    assert found.total_seconds == statistics.total_seconds > 0
    for _ in range(2):
        assert found.policy == {"asked": 1}
    assert list(found.as_dict()) == [column.name for column in fields(found)] + ["asked"]
    assert statistics.policy == {"asked": 2}, "the original still asks"
    assert copied(found).as_dict() == found.as_dict()
    found.decisions += 1
    assert found != statistics
    there = weakref.ref(policy)
    del policy, statistics
    gc.collect()
    assert there() is None, "the copy holds nothing of the policy"


def test_fields_as_a_dictionary() -> None:
    statistics = solved(Tells())
    found = asdict(statistics)
    assert found.pop("decisions") == statistics.decisions
    assert found.keys() == {column.name for column in fields(BrancherStatistics)} - {"decisions"}
    assert statistics.as_dict() == {"decisions": statistics.decisions, **found, "asked": 1}
    assert repr(statistics).startswith("BrancherStatistics(decisions=")


def test_a_policy_that_fails_to_report_is_copied_as_silent() -> None:
    class Silent(Tells):
        def report(self) -> dict[str, float | str]:
            raise RuntimeError("nothing to say")

    for statistics in (solved(Silent()), BrancherStatistics()):
        found = pickle.loads(pickle.dumps(statistics))
        assert (found, found.policy) == (statistics, {})
