"""``include``: from a policy's name to a solve, with its guard."""

from __future__ import annotations

import pytest
from pyscipopt import Model

import revibranch
from revibranch.branching.guard import GuardedPolicy
from revibranch.branching.settings import apply_settings
from revibranch.branching.shortlist import ShortlistPolicy
from revibranch.instances import families

from ..branching.policies import MostFractional


def build(family: str, size: str, seed: int, settings: str = "clean") -> Model:
    model = families.get(family).generate(size, seed).to_model()
    apply_settings(model, settings)
    return model


def handovers(seeds: range) -> int:
    count = 0
    for seed in seeds:
        model = build("setcover", "300x600", seed)
        brancher = revibranch.include(model, "setcover-small", strict=True)
        revibranch.optimize(model)
        assert model.getStatus() == "optimal"
        count += int(brancher.statistics.as_dict()["guard_handovers"])
    return count


def test_shipped_policy_keeps_its_office_in_its_family() -> None:
    assert handovers(range(4)) == 0


@pytest.mark.slow
def test_shipped_policy_keeps_its_office_on_many_instances_of_its_family() -> None:
    assert handovers(range(4, 40)) <= 1


def test_guard_is_on_unless_switched_off() -> None:
    policy = MostFractional()
    assert isinstance(revibranch.include(Model(), policy).policy, GuardedPolicy)
    assert revibranch.include(Model(), policy, guard=False).policy is policy


def test_mode_that_buys_nodes_puts_the_shortlist_inside_the_guard() -> None:
    counts = []
    for mode in ("time", "nodes"):
        model = build("setcover", "300x600", 7)
        brancher = revibranch.include(model, "setcover-small", mode=mode, strict=True)
        revibranch.optimize(model)
        counts.append(model.getNTotalNodes())
    assert counts[1] < counts[0]
    facts = brancher.statistics.as_dict()
    assert facts["guard_handovers"] == 0
    assert facts["shortlist_nodes"] > 0
    plain = revibranch.include(Model(), MostFractional(), mode="nodes", guard=False).policy
    assert isinstance(plain, ShortlistPolicy)


def test_unknown_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown mode 'memory'; known are time, nodes"):
        revibranch.include(Model(), MostFractional(), mode="memory")  # type: ignore[arg-type]
