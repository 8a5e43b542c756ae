"""The distributions are those of gyozas' generators, an independent implementation of the same papers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from pyscipopt import Model

from revibranch.instances import families

from .distributions import LEAST_P, SAMPLES, p_values

gyozas = pytest.importorskip("gyozas.instances", reason="gyozas is not installed")
pytestmark = pytest.mark.slow


def theirs(name: str) -> Iterator[Model]:
    logging.disable(logging.WARNING)  # gyozas reports every bid that it drops
    rng = np.random.default_rng(7)
    makers: dict[str, Callable[[], Any]] = {
        "setcover": lambda: gyozas.SetCoverGenerator(80, 160, density=0.08, rng=rng),
        "auction": lambda: gyozas.CombinatorialAuctionGenerator(40, 120, add_item_prob=0.7, rng=rng),
        "facility": lambda: gyozas.CapacitatedFacilityLocationGenerator(15, 12, rng=rng),
        "barabasi-albert": lambda: gyozas.IndependentSetGenerator(80, affinity=4, rng=rng),
        "erdos-renyi": lambda: gyozas.IndependentSetGenerator(50, edge_probability=0.25, graph_type="erdos_renyi", rng=rng),
    }
    return iter(makers[name]())


# gyozas writes all maximal cliques of a graph, the literature a greedy partition: the first is asked for to compare.
OURS: dict[str, tuple[str, str, dict[str, object]]] = {
    "setcover": ("setcover", "80x160", {"density": 0.08}),
    "auction": ("auction", "40x120", {}),
    "facility": ("facility", "15x12", {}),
    "barabasi-albert": ("independent-set", "80", {"cliques": "maximal"}),
    "erdos-renyi": ("independent-set", "50", {"cliques": "maximal", "graph": "erdos-renyi"}),
}


def ours(name: str, **changes: object) -> Iterator[Model]:
    family_name, size, parameters = OURS[name]
    family = families.get(family_name)
    for seed in range(SAMPLES):
        yield family.generate(size, seed, family.parameters(**{**parameters, **changes})).to_model()


@pytest.mark.parametrize("name", OURS)
def test_distributions_agree(name: str) -> None:
    found = p_values(theirs(name), ours(name))
    assert min(found.values()) > LEAST_P, found


def test_the_comparison_notices_other_parameters() -> None:
    found = p_values(ours("auction"), ours("auction", add_item_probability=0.6))
    assert found["density"] < LEAST_P
    assert found["mean cost"] < LEAST_P
