"""Auctions of compatibility ``first-item`` are distributed as the code draws them that papers since Gasse et al. 2019 share."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from pyscipopt import Model, quicksum

from revibranch.instances import families

from .distributions import LEAST_P, SAMPLES, p_values

ITEMS, BIDS = 40, 120


class Market:
    """One auction, drawn bid by bid and item by item, with the bundle's mask as a list of row numbers."""

    def __init__(self, random: np.random.Generator) -> None:
        self.random = random
        self.values = random.uniform(1.0, 100.0, ITEMS)
        compatibilities = np.triu(random.random((ITEMS, ITEMS)), 1)
        compatibilities += compatibilities.T
        self.compatibilities = compatibilities / compatibilities.sum(axis=1)

    def grow(self, bundle: set[int], interests: NDArray[np.float64]) -> None:
        mask = np.isin(np.arange(ITEMS), list(bundle)).astype(int)
        weights = (1 - mask) * interests * self.compatibilities[mask].mean(axis=0)
        bundle.add(int(self.random.choice(ITEMS, p=weights / weights.sum())))

    def bidder(self) -> dict[frozenset[int], float]:
        interests = self.random.random(ITEMS)
        private = self.values + 50.0 * (2.0 * interests - 1.0)

        def price(bundle: set[int]) -> float:
            return float(private[list(bundle)].sum() + len(bundle) ** 1.2)

        first = {int(self.random.choice(ITEMS, p=interests / interests.sum()))}
        while self.random.random() < 0.7:
            self.grow(first, interests)
        if price(first) < 0:
            return {}
        bids = {frozenset(first): price(first)}
        substitutes = []
        for item in sorted(first):
            other = {item}
            while len(other) < len(first):
                self.grow(other, interests)
            substitutes.append(other)
        for other in sorted(substitutes, key=price, reverse=True):
            fits = 0 <= price(other) <= 1.5 * price(first) and self.values[list(other)].sum() >= 0.5 * self.values[list(first)].sum()
            if fits and len(bids) < 6:
                bids.setdefault(frozenset(other), price(other))
        return bids

    def model(self) -> Model:
        model = Model()
        model.setMaximize()
        rows: dict[object, list[object]] = {}
        bidders = 0
        while model.getNVars() < BIDS:
            bids = list(self.bidder().items())[: BIDS - model.getNVars()]
            exclusive = [f"bidder {bidders}"] if len(bids) > 2 else []
            bidders += 1
            for bundle, price in bids:
                variable = model.addVar(vtype="B", obj=price)
                for key in (*bundle, *exclusive):
                    rows.setdefault(key, []).append(variable)
        for variables in rows.values():
            model.addCons(quicksum(variables) <= 1)
        return model


def theirs() -> Iterator[Model]:
    random = np.random.default_rng(11)
    while True:
        yield Market(random).model()


def ours(compatibility: str) -> Iterator[Model]:
    family = families.get("auction")
    for seed in range(SAMPLES):
        yield family.generate((ITEMS, BIDS), seed, family.parameters(compatibility=compatibility)).to_model()


@pytest.mark.slow
def test_first_item_is_the_published_codes_distribution_and_bundle_is_not() -> None:
    found = p_values(theirs(), ours("first-item"))
    assert min(found.values()) > LEAST_P, found
    assert p_values(theirs(), ours("bundle"))["spread of rows"] < LEAST_P


def test_first_item_makes_items_popular() -> None:
    family = families.get("auction")

    def spread(compatibility: str) -> float:
        parameters = family.parameters(compatibility=compatibility)
        return float(np.mean([np.diff(family.generate("50x250", seed, parameters).problem.row_offsets).std() for seed in range(10)]))

    assert spread("first-item") > 1.1 * spread("bundle")
