"""Families are told by their structure, after presolving too; other models are claimed by none."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyscipopt import SCIP_PARAMSETTING, Model

from revibranch.branching.policy import PathStep, Policy
from revibranch.branching.settings import apply_settings
from revibranch.branching.solving import attach, optimize
from revibranch.branching.state import BranchState
from revibranch.gnn.recognition import FAMILIES, MOST_ROWS, Structure, read_structure, recognise, row_kind
from revibranch.instances import families

from ..branching.models import DATA, knapsack, read

SIZES = {
    "setcover": "200x400",
    "auction": "60x250",
    "independent-set": "150",
    "facility": "30x20",
    "knapsack": "30x4",
    "general": "40x60",
}
FILES = {
    "instances/misc03.mps": None,
    "instances/lseu.mps": None,
    "instances/enigma.mps": None,
    "golden/bell5.mps": None,
    "golden/vpm2_fzn.mps": None,
    "golden/mixed_free.mps": None,
    # These two are members, if unusual ones: a Steiner triple system to be covered, a largest clique as an independent set.
    "instances/stein27_inf.lp": "setcover",
    "instances/MANN_a9.clq.lp": "independent-set",
    "golden/setcover_100x200.mps": "setcover",
    "golden/auction_50x250.mps": "auction",
    "golden/indset_200.mps": "independent-set",
    "golden/cfl_20x20.mps": "facility",
}


class Looks(Policy):
    extended = False
    needs_path = False

    def __init__(self) -> None:
        self.seen: Structure | None = None

    def begin(self, model: Model) -> None:
        self.seen = read_structure(model)

    def score(self, state: BranchState, path: Sequence[PathStep]) -> None:
        return None


def structure(model: Model, settings: str) -> Structure | None:
    """None where the model has no tree."""
    apply_settings(model, settings)
    model.setHeuristics(SCIP_PARAMSETTING.OFF)  # for more models with a tree, in less time
    model.setParam("limits/totalnodes", 2)
    looks = Looks()
    attach(model, looks, strict=True)
    optimize(model)
    return looks.seen


# ---- models ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", ["clean", "default"])
@pytest.mark.parametrize("family", SIZES)
def test_generated_models_are_told(family: str, settings: str) -> None:
    seen = []
    for seed in range(4):
        found = structure(families.get(family).generate(SIZES[family], seed).to_model(), settings)
        if found is not None:
            seen.append(recognise(found)[0])
    assert seen, "none of the models had a tree"
    assert seen == [family if family in FAMILIES else None] * len(seen)


@pytest.mark.slow
@pytest.mark.parametrize("settings", ["clean", "default"])
@pytest.mark.parametrize(
    ("family", "size"),
    [
        ("setcover", "500x1000"),
        ("auction", "100x500"),
        ("independent-set", "500"),
        ("facility", "35x35"),
        ("knapsack", "100x6"),
        ("general", "100x150"),
    ],
)
def test_generated_models_of_published_sizes_are_told(family: str, size: str, settings: str) -> None:
    for seed in range(100, 105):
        found = structure(families.get(family).generate(size, seed).to_model(), settings)
        if found is not None:
            assert recognise(found)[0] == (family if family in FAMILIES else None)


@pytest.mark.parametrize("file", FILES)
def test_public_files_are_claimed_by_nobody_else(file: str) -> None:
    seen = [structure(read(DATA / file), settings) for settings in ("clean", "default")]
    assert any(seen), "the file had no tree"
    for found in seen:
        if found is not None:
            assert recognise(found)[0] == FILES[file]


def test_knapsack_of_several_dimensions_is_another_problem() -> None:
    found = structure(knapsack(5, 40, 0), "clean")
    assert found is not None
    assert recognise(found)[0] is None


def test_large_models_are_sampled() -> None:
    found = structure(families.get("independent-set").generate("400", 0).to_model(), "clean")
    assert found is not None
    assert found.rows == MOST_ROWS
    assert sum(found.kinds.values()) == pytest.approx(1.0)
    assert sum(found.entries.values()) == pytest.approx(1.0)


def test_reason_names_the_facts() -> None:
    plain = Structure(1.0, 0.0, 1.0, 0.0, False, 20, {"cover": 0.95, "other": 0.05}, {"cover": 0.5, "other": 0.5})
    assert recognise(plain) == ("setcover", "variables: 100% binary, 100% with a cost, 0% with a profit; rows: 95% cover, 5% other")


def test_few_rows_prove_nothing() -> None:
    found = Structure(1.0, 0.0, 1.0, 0.0, False, 4, {"cover": 1.0}, {"cover": 1.0})
    assert recognise(found)[0] is None
    assert recognise(Structure(0.0, 0.0, 0.0, 0.0, False, 0, {}, {}))[0] is None


# ---- rows ------------------------------------------------------------------------------------------------------------

ROWS = [
    ("cover", [1, 1, 1], 1, inf, None),
    ("edge", [1, 1], -inf, 1, None),
    ("clique", [1, 1, 1], -inf, 1, None),
    ("clique", [1, 1, 1], 0, 1, None),
    ("partition", [1, 1, 1], 1, 1, None),
    ("knapsack", [3, 1, 2], -inf, 4, None),
    ("knapsack", [1, 1, 1], -inf, 2, None),
    ("supply", [3, 1, 2], 4, inf, None),
    ("supply", [1, 1, 1], 2, inf, None),
    ("other", [1, -1, 1], -inf, 1, None),
    ("other", [1, 2, 1], 1, 2, None),
    ("bound", [1, -5], -inf, 0, [True, False]),
    ("other", [1, -5], -inf, 2, [True, False]),
    ("other", [-1, 5], -inf, 0, [True, False]),
    ("demand", [1, 1], 1, 1, [True, True]),
    ("demand", [1, 1], 1, inf, [True, True]),
    ("other", [1, 1], -inf, 1, [True, True]),
    ("other", [1, -1], 0, 0, [True, True]),
    ("capacity", [2, 3, -9], -inf, 0, [True, True, False]),
    ("other", [2, 3, -9], 0, 0, [True, True, False]),
    ("other", [2, 3, -9, -9], -inf, 0, [True, True, False, False]),
    ("other", [2, -3, -9], -inf, 0, [True, True, False]),
]


@pytest.mark.parametrize(("kind", "values", "lhs", "rhs", "continuous"), ROWS)
@given(scale=st.sampled_from([1.0, 0.5, 3.0, 100.0]), flip=st.booleans())
def test_kind_does_not_depend_on_scale_or_direction(
    kind: str, values: list[float], lhs: float, rhs: float, continuous: list[bool] | None, scale: float, flip: bool
) -> None:
    factor = -scale if flip else scale
    sides = sorted((factor * lhs, factor * rhs))
    scip = [max(-1e20, min(1e20, side)) for side in sides]
    assert row_kind([factor * value for value in values], scip[0], scip[1], continuous) == kind
