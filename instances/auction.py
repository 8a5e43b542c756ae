"""Combinatorial auctions after Leyton-Brown, Pearson and Shoham, scheme "arbitrary".

K. Leyton-Brown, M. Pearson and Y. Shoham, "Towards a universal test suite for combinatorial auction algorithms", EC 2000,
section 4.3, with the parameters of Gasse et al. 2019. All bidders of a batch are drawn at once: bundles grow by one item
a step, every row of the arrays below being one bundle.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from .draws import Draws
from .family import Family, Parameters, Size
from .milp import INFINITY, FloatArray, LongArray, Milp, ragged_ranges, rows_from_entries

__all__ = ["FAMILY", "AuctionParameters"]

_BATCH = 512
_DECIMALS = 6  # so that 15 digits in a file hold every price exactly


class AuctionParameters(Parameters):
    """The published generator's parameters.

    Attributes:
        min_value: least resale value of an item.
        max_value: highest resale value of an item.
        value_deviation: how far a bidder's value of an item strays from its resale value, relative to ``max_value``.
        add_item_probability: chance that a bundle takes one more item.
        max_substitutes: most bids of a bidder besides the first.
        additivity: a bundle of k items is worth k^(1 + additivity) more than its items.
        budget_factor: highest price of a substitute, relative to the first bid's price.
        resale_factor: least resale value of a substitute, relative to the first bundle's.
        integer_prices: round prices down.
        compatibility: what a bundle's next item should go well with. ``bundle``: the items that are in it, as the paper says.
            ``first-item``: the items 0 and 1, with the weights of the items outside and inside the bundle. So the code of Gasse et
            al. 2019 draws in fact, for it takes the bundle's 0/1 mask for a list of items, and many works after it: a few items
            become popular, and the trees several times smaller. Compare published node counts with these.
    """

    min_value: float = Field(default=1.0, ge=0.0)
    max_value: float = Field(default=100.0, gt=0.0)
    value_deviation: float = Field(default=0.5, ge=0.0)
    add_item_probability: float = Field(default=0.7, ge=0.0, lt=1.0)
    max_substitutes: int = Field(default=5, ge=0)
    additivity: float = Field(default=0.2, ge=-1.0)
    budget_factor: float = Field(default=1.5, ge=0.0)
    resale_factor: float = Field(default=0.5, ge=0.0)
    integer_prices: bool = False
    compatibility: Literal["bundle", "first-item"] = "bundle"

    @model_validator(mode="after")
    def _ordered(self) -> AuctionParameters:
        if self.min_value > self.max_value:
            raise ValueError(f"min_value {self.min_value} is above max_value {self.max_value}")
        return self


@dataclass(frozen=True)
class _Market:
    """What all bidders share: resale values (items,), compatibilities (items, items), codes of the items (items,) u8.

    Row i of ``compatibilities`` says how well the items go with item i.
    """

    values: FloatArray
    compatibilities: FloatArray
    codes: NDArray[np.uint64]
    of_bundle: bool
    """Whether it is the bundle that the next item should go well with."""

    def affinity(self, start: LongArray) -> FloatArray:
        """How well each item goes with a bundle of one item, (r, items), up to a factor a row."""
        if self.of_bundle:
            return self.compatibilities[start]
        first, second = self.compatibilities[:2]
        return np.tile((self.values.size - 1) * first + second, (start.size, 1))

    def add_affinity(self, affinity: FloatArray, rows: LongArray, item: LongArray) -> None:
        """Bring ``affinity`` up to date: an item has joined the bundle of each of these rows."""
        first, second = self.compatibilities[:2]
        affinity[rows] += self.compatibilities[item] if self.of_bundle else second - first


@dataclass(frozen=True)
class _Bundles:
    """Bundles as rows: members (r, items), sum of codes (r,) as the set's identity, private and resale value (r,)."""

    members: NDArray[np.bool_]
    identity: NDArray[np.uint64]
    private: FloatArray
    resale: FloatArray


@dataclass(frozen=True)
class _Bids:
    """Bids in order: bidder (r,), members (r, items), price (r,)."""

    bidder: LongArray
    members: NDArray[np.bool_]
    price: FloatArray


def draw(size: Size, parameters: AuctionParameters, draws: Draws) -> Milp:
    """Draw the arrays: a variable per bid, a row per item that is bid for, a row per bidder with three bids or more."""
    n_items, n_bids = size
    spread = parameters.max_value - parameters.min_value
    values = parameters.min_value + spread * draws.uniform(n_items)
    upper = np.triu(draws.uniform(n_items, n_items), 1)
    compatibilities = upper + upper.T
    compatibilities /= np.cumsum(compatibilities, axis=1)[:, -1:]  # cumsum adds in one order on every machine
    market = _Market(values, compatibilities.T, draws.words(n_items), parameters.compatibility == "bundle")

    batches: list[_Bids] = []
    n_drawn, n_bidders = 0, min(_BATCH, n_bids // 2 + 16)
    while n_drawn < n_bids:
        batches.append(_bids(n_bidders, len(batches) * n_bidders, market, parameters, draws))
        n_drawn += batches[-1].bidder.size
    bidder = np.concatenate([batch.bidder for batch in batches])[:n_bids]
    members = np.concatenate([batch.members for batch in batches])[:n_bids]
    price = np.concatenate([batch.price for batch in batches])[:n_bids]

    bids, items = np.nonzero(members)
    _, group, group_sizes = np.unique(bidder, return_inverse=True, return_counts=True)
    # Two bids of a bidder share an item or not; only from three on does the published generator forbid to win several.
    exclusive = group_sizes > 2
    dummy = n_items + np.cumsum(exclusive) - 1
    tied = np.flatnonzero(exclusive[group])
    rows = np.concatenate([items, dummy[group[tied]]])
    _, rows = np.unique(rows, return_inverse=True)
    n_rows = int(rows.max()) + 1
    offsets, columns, ones = rows_from_entries(rows, np.concatenate([bids, tied]), 1.0, n_rows)
    return Milp(
        objective=price,
        lower=np.zeros(n_bids),
        upper=np.ones(n_bids),
        types=np.full(n_bids, b"B", dtype="S1"),
        row_offsets=offsets,
        columns=columns,
        values=ones,
        lhs=np.full(n_rows, -INFINITY),
        rhs=np.ones(n_rows),
        maximise=True,
    )


def _bids(n_bidders: int, first: int, market: _Market, parameters: AuctionParameters, draws: Draws) -> _Bids:
    """Draw the bids of some bidders, bidder by bidder, each one's first bid in front and its substitutes by falling price."""
    interests = draws.uniform(n_bidders, market.values.size)
    private = market.values + parameters.max_value * parameters.value_deviation * (2.0 * interests - 1.0)
    sizes = _bundle_sizes(n_bidders, market.values.size, parameters.add_item_probability, draws)
    initial = _grow(interests, private, _weighted_choice(interests, draws), sizes, market, draws)

    owner, start = np.nonzero(initial.members)  # one substitute for every item of the first bundle, of the same size
    substitutes = _grow(interests[owner], private[owner], start, sizes[owner], market, draws)

    premium = np.array([0.0, *(float(Decimal(k) ** (1 + Decimal(str(parameters.additivity)))) for k in range(1, int(sizes.max()) + 1))])
    price = _rounded(initial.private + premium[sizes], parameters.integer_prices)
    substitute_price = _rounded(substitutes.private + premium[sizes[owner]], parameters.integer_prices)
    fits = (
        (price[owner] >= 0.0)
        & (substitute_price >= 0.0)
        & (substitute_price <= parameters.budget_factor * price[owner])
        & (substitutes.resale >= parameters.resale_factor * initial.resale[owner])
        & (substitutes.identity != initial.identity[owner])
    )
    candidates = np.flatnonzero(fits)
    candidates = candidates[np.lexsort((-substitute_price[candidates], owner[candidates]))]
    # The same set found twice by one bidder counts once; equal codes of different sets have probability 2^-64.
    pairs = np.stack([owner[candidates].astype(np.uint64), substitutes.identity[candidates]], axis=1)
    first_seen = np.sort(np.unique(pairs, axis=0, return_index=True)[1])
    candidates = candidates[first_seen]
    rank = ragged_ranges(np.bincount(owner[candidates], minlength=n_bidders))
    candidates = candidates[rank < parameters.max_substitutes]

    accepted = np.flatnonzero(price >= 0.0)
    bidder = np.concatenate([accepted, owner[candidates]])
    order = np.argsort(bidder, kind="stable")
    return _Bids(
        bidder=first + bidder[order],
        members=np.concatenate([initial.members[accepted], substitutes.members[candidates]])[order],
        price=np.concatenate([price[accepted], substitute_price[candidates]])[order],
    )


def _bundle_sizes(n_bidders: int, n_items: int, probability: float, draws: Draws) -> LongArray:
    sizes = np.ones(n_bidders, dtype=np.int64)
    growing = np.arange(n_bidders)
    while growing.size:
        growing = growing[(draws.uniform(growing.size) < probability) & (sizes[growing] < n_items)]
        sizes[growing] += 1
    return sizes


def _grow(interests: FloatArray, private: FloatArray, start: LongArray, sizes: LongArray, market: _Market, draws: Draws) -> _Bundles:
    """Grow every bundle from its start item to its size; items come by interest times affinity."""
    rows = np.arange(start.size)
    members = np.zeros(interests.shape, dtype=np.bool_)
    members[rows, start] = True
    identity = market.codes[start]
    private_sum, resale_sum = private[rows, start], market.values[start]
    affinity = market.affinity(start)
    weights = interests.copy()
    weights[rows, start] = 0.0
    active = rows[sizes > 1]
    length = 1
    while active.size:
        item = _weighted_choice(weights[active] * affinity[active], draws)
        members[active, item] = True
        weights[active, item] = 0.0
        identity[active] += market.codes[item]
        private_sum[active] += private[active, item]
        resale_sum[active] += market.values[item]
        length += 1
        staying = sizes[active] > length
        active, item = active[staying], item[staying]
        market.add_affinity(affinity, active, item)
    return _Bundles(members, identity, private_sum, resale_sum)


def _weighted_choice(weights: FloatArray, draws: Draws) -> LongArray:
    """Draw one column of every row in proportion to its weight, (r,) i8; a column of weight zero is never drawn."""
    sums = np.cumsum(weights, axis=1)
    threshold = np.minimum(draws.uniform(weights.shape[0]) * sums[:, -1], np.nextafter(sums[:, -1], 0.0))
    choice: LongArray = np.argmax(sums > threshold[:, None], axis=1).astype(np.int64)
    return choice


def _rounded(prices: FloatArray, integer: bool) -> FloatArray:
    return np.floor(prices) if integer else np.round(prices, _DECIMALS)


_SMALL, _MEDIUM = Size((100, 500)), Size((200, 1000))

FAMILY = Family(
    name="auction",
    title="combinatorial auction, scheme arbitrary: items x bids",
    source="Leyton-Brown, Pearson & Shoham 2000, as in Gasse et al. 2019",
    number=2,
    version=1,
    dimensions={"items": 2, "bids": 1},
    default_size=_SMALL,
    published_sizes={
        "small": _SMALL,
        "medium": _MEDIUM,
        "large": Size((300, 1500)),
        "rl2branch": _SMALL,
        "rl2branch-transfer": _MEDIUM,
    },
    parameters=AuctionParameters,
    draw=draw,
)
