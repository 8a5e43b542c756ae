"""``auto`` takes the policy of the model's family, says so, and has something for every model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pyscipopt import SCIP_EVENTTYPE, Eventhdlr

import revibranch
from revibranch.branching.policy import PathStep
from revibranch.branching.settings import apply_settings
from revibranch.branching.state import VARIABLE_COLUMNS, BranchState
from revibranch.gnn.automatic import AutoPolicy, choose
from revibranch.gnn.recognition import FAMILIES
from revibranch.instances import families

from ..branching.models import INSTANCES, read
from ..branching.policies import MostFractional, Recorder

ALL = {family: family for family in FAMILIES}
names = st.sampled_from(["setcover", "setcover-small", "auction", "knapsack", "general", "mine"])
trained = st.sampled_from([None, "general", *FAMILIES])


@pytest.mark.parametrize(
    ("family", "there", "chosen", "said"),
    [
        ("setcover", {**ALL, "general": None}, "setcover", "looks like setcover"),
        ("setcover", {"setcover-small": "setcover", "a": "setcover", "setcover": "setcover"}, "setcover", "looks like setcover"),
        ("setcover", {"setcover-small": "setcover", "general": None}, "setcover-small", "looks like setcover"),
        ("auction", {"setcover": "setcover", "general": None}, "general", "no policy ships"),
        (None, {**ALL, "general": None}, "general", "none of the families"),
        (None, {"mixture": "general", "a": "setcover"}, "mixture", "none of the families"),
        (None, {"setcover-small": "setcover", "auction": "auction"}, "auction", "first by name"),
        ("facility", {"setcover-small": "setcover"}, "setcover-small", "first by name"),
    ],
)
def test_choice(family: str | None, there: dict[str, str | None], chosen: str, said: str) -> None:
    name, reason = choose(family, there)
    assert name == chosen
    assert said in reason


@given(st.none() | st.sampled_from(FAMILIES), st.dictionaries(names, trained, min_size=1))
def test_there_is_a_choice_whatever_ships(family: str | None, there: dict[str, str | None]) -> None:
    name, _ = choose(family, there)
    assert name in there
    fitting = [other for other, data in there.items() if data == family or other == family]
    assert name in fitting or family is None or not fitting


class Wide(MostFractional):
    """Needs all columns and the path, which MostFractional does not."""

    extended = True
    needs_path = True

    def __init__(self) -> None:
        self.widths: set[int] = set()

    def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[np.floating]:
        self.widths.add(state.variable_features.shape[1])
        assert len(path) == state.node.depth
        return super().score(state, path)

    def remember(self, state: BranchState, path: Sequence[PathStep], choice: int) -> object:
        return choice


def test_one_policy_serves_models_of_different_families() -> None:
    made = {"auction": Wide(), "general": MostFractional()}
    auto = AutoPolicy({"auction": "auction", "general": None}, made.__getitem__)
    assert auto.report() == {}
    for model, name, family in (
        (read(INSTANCES / "lseu.mps"), "general", "none"),
        (families.get("auction").generate("60x250", 201).to_model(), "auction", "auction"),
        (read(INSTANCES / "misc03.mps"), "general", "none"),
    ):
        apply_settings(model, "clean")
        brancher = revibranch.include(model, auto, guard=False, strict=True)
        revibranch.optimize(model)
        facts = brancher.statistics.as_dict()
        assert (facts["auto_policy"], facts["auto_family"]) == (name, family)
        assert "rows:" in str(facts["auto_facts"])
        assert brancher.statistics.decisions > 0
    assert made["auction"].widths == {len(VARIABLE_COLUMNS)}  # type: ignore[attr-defined]


def test_paths_and_memories_pass_through() -> None:
    recorder = Recorder()
    model = families.get("auction").generate("60x250", 201).to_model()
    apply_settings(model, "clean")
    revibranch.include(model, AutoPolicy({"mine": None}, lambda _: recorder), strict=True)
    revibranch.optimize(model)
    assert max(len(path) for _, _, path, _ in recorder.decisions) > 1
    assert all(len(path) == depth for _, depth, path, _ in recorder.decisions)


def test_shipped_policies_are_chosen_and_watched() -> None:
    model = families.get("setcover").generate("200x400", 1).to_model()
    apply_settings(model, "clean")
    brancher = revibranch.include(model, strict=True)
    revibranch.optimize(model)
    facts = brancher.statistics.as_dict()
    assert str(facts["auto_policy"]).startswith("setcover")
    assert facts["auto_reason"] == "the model looks like setcover"
    assert facts["guard_handovers"] == 0


class Between(Eventhdlr):  # type: ignore[misc]
    """Does something once, at the third node."""

    def __init__(self, action: Callable[[], object]) -> None:
        self.action, self.nodes = action, 0

    def eventinitsol(self) -> None:
        self.model.catchEvent(SCIP_EVENTTYPE.NODEFOCUSED, self)

    def eventexec(self, event: object) -> None:
        self.nodes += 1
        if self.nodes == 3:
            self.action()


def test_models_whose_solves_overlap_have_one_each() -> None:
    shared = revibranch.load_policy("auto", device="cpu")
    models = {name: families.get(name).generate(size, seed=1).to_model() for name, size in (("setcover", "100x200"), ("auction", "50x250"))}
    for model in models.values():
        apply_settings(model, "clean")
    branchers = {name: revibranch.include(model, shared) for name, model in models.items()}
    outer, inner = models.values()
    outer.includeEventhdlr(Between(inner.optimize), "between", "")
    outer.optimize()
    for name, brancher in branchers.items():
        assert models[name].getStatus() == "optimal"
        assert brancher.statistics.decisions > 2
        assert brancher.statistics.policy["auto_policy"] == name
