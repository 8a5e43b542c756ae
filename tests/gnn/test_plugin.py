"""``include``: from a policy's name to a solve, with its guard."""

from __future__ import annotations

import os

import pytest
from pyscipopt import Model

import revibranch
from revibranch.branching import guard
from revibranch.branching.guard import GuardedPolicy
from revibranch.branching.policy import innermost
from revibranch.branching.settings import apply_rule, apply_settings
from revibranch.branching.shortlist import ShortlistPolicy
from revibranch.gnn.description import read_header
from revibranch.gnn.native import NativePolicy
from revibranch.gnn.policy import load_policy
from revibranch.gnn.pretrained import pretrained_names, pretrained_path
from revibranch.instances import families

from ..branching.policies import MostFractional


def build(family: str, size: str, seed: int, settings: str = "clean") -> Model:
    model = families.get(family).generate(size, seed).to_model()
    apply_settings(model, settings)
    return model


SHIPPED = [
    ("setcover", "setcover", "300x600"),
    ("auction", "auction", "75x375"),
    ("independent-set", "independent-set", "400"),
]
"""Policies that choose better than pseudocosts, and the family and size that they are tried on."""
LEVEL = [
    ("facility", "facility", "30x30"),
    ("general", "general", "60x80"),
]
"""Policies that choose about as well as pseudocosts (benchmarks/POLICIES.md): the guard may step in."""
SEEKERS = [("knapsack", "knapsack", "30x4")]
"""Policies that look for solutions, not for bounds."""


def handovers(seeds: range, policy: str, family: str, size: str) -> int:
    count = 0
    for seed in seeds:
        model = build(family, size, seed)
        brancher = revibranch.include(model, policy, strict=True)
        revibranch.optimize(model)
        assert model.getStatus() == "optimal"
        count += int(brancher.statistics.as_dict()["guard_handovers"])
    return count


def test_every_policy_that_ships_is_tried_here_and_small() -> None:
    tried = SHIPPED + LEVEL + SEEKERS
    assert sorted(policy for policy, _, _ in tried) == list(pretrained_names())
    for policy, family, _ in tried:
        trained = read_header(pretrained_path(policy)).description.family
        assert trained == (None if policy == "general" else family)
        assert load_policy(policy).raises_bound == (policy not in {name for name, _, _ in SEEKERS})
        assert pretrained_path(policy).stat().st_size < 1_000_000


@pytest.mark.parametrize(("policy", "family", "size"), SHIPPED)
def test_shipped_policy_keeps_its_office_in_its_family(policy: str, family: str, size: str) -> None:
    assert handovers(range(4), policy, family, size) == 0


@pytest.mark.parametrize(("policy", "family", "size"), LEVEL)
def test_shipped_policy_without_guard_takes_hardly_more_nodes_than_pseudocosts(policy: str, family: str, size: str) -> None:
    nodes = {"policy": 0, "pscost": 0}
    for seed in range(6):
        for rule in nodes:
            model = build(family, size, seed)
            if rule == "policy":
                revibranch.include(model, policy, guard=False, strict=True)
            else:
                apply_rule(model, rule)
            revibranch.optimize(model)
            assert model.getStatus() == "optimal"
            nodes[rule] += model.getNTotalNodes()
    assert nodes["policy"] < 1.3 * nodes["pscost"]


@pytest.mark.slow
@pytest.mark.parametrize(("policy", "family", "size"), SHIPPED)
def test_shipped_policy_keeps_its_office_on_many_instances_of_its_family(policy: str, family: str, size: str) -> None:
    assert handovers(range(4, 40), policy, family, size) <= 1


@pytest.mark.parametrize(("policy", "family", "size"), SEEKERS)
@pytest.mark.parametrize("name", ["auto", "its own"])
def test_shipped_policy_that_looks_for_solutions_takes_turns(
    monkeypatch: pytest.MonkeyPatch, policy: str, family: str, size: str, name: str
) -> None:
    monkeypatch.setattr(guard, "FIRST_TURN", 10)
    turns = 0
    for seed in range(8):
        model = build(family, size, seed)
        brancher = revibranch.include(model, policy if name == "its own" else name, strict=True)
        revibranch.optimize(model)
        assert model.getStatus() == "optimal"
        facts = brancher.statistics.as_dict()
        assert "guard_gain_to_promise" not in facts
        handed_over = int(facts.get("guard_handovers", 0))  # nothing is reported of a solve without branching
        assert (handed_over > 0) == (int(facts["passes"]) > 0)
        assert int(facts["decisions"]) >= 10 * handed_over
        turns += handed_over
    assert turns


@pytest.mark.parametrize(("policy", "family", "size"), SHIPPED + SEEKERS)
def test_auto_takes_the_policy_of_the_family(policy: str, family: str, size: str) -> None:
    model = build(family, size, 1)
    brancher = revibranch.include(model, strict=True)
    revibranch.optimize(model)
    assert brancher.statistics.as_dict()["auto_policy"] == policy


def test_guard_is_on_unless_switched_off() -> None:
    policy = MostFractional()
    assert isinstance(revibranch.include(Model(), policy).policy, GuardedPolicy)
    assert revibranch.include(Model(), policy, guard=False).policy is policy


def test_mode_that_buys_nodes_puts_the_shortlist_inside_the_guard() -> None:
    counts = []
    for mode in ("time", "nodes"):
        model = build("setcover", "300x600", 7)
        brancher = revibranch.include(model, "setcover", mode=mode, strict=True)
        revibranch.optimize(model)
        counts.append(model.getNTotalNodes())
    assert counts[1] < counts[0]
    facts = brancher.statistics.as_dict()
    assert facts["guard_handovers"] == 0
    assert facts["shortlist_nodes"] > 0
    plain = revibranch.include(Model(), MostFractional(), mode="nodes", guard=False).policy
    assert isinstance(plain, ShortlistPolicy)


def test_any_kind_of_path_names_a_checkpoint() -> None:
    class Somewhere(os.PathLike[str]):
        def __fspath__(self) -> str:
            return str(pretrained_path("auction"))

    model = Model()
    brancher = revibranch.include(model, Somewhere())
    assert isinstance(innermost(brancher.policy), NativePolicy)


def test_unknown_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown mode 'memory'; known are time, nodes"):
        revibranch.include(Model(), MostFractional(), mode="memory")  # type: ignore[arg-type]
