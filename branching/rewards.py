"""Reward of a path and its redistribution by importance (IWRR).

A path is d_0 ... d_{L-1}, from its head down, with subtree sizes S_t and S_L = 0. All of its cost arrives at its end, R = -S_0;
importance weights w_t >= 0 with sum 1 spread it over the path:

    r_t = alpha w_t R + (1 - alpha) [t = L-1] R        so that sum_t r_t = R
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .settings import INFINITY

__all__ = ["Importance", "bound_gains", "gap_levels", "importance", "redistribute", "returns"]

Importance = Literal["subtree", "bound", "attention", "uniform"]

_LEAST_SHARE = 1 / 256  # of a gap: smaller gains are not told apart
_EQUAL = 1e-9  # relative: gains that differ by less differ by the rounding of LP bounds only


def importance(
    kind: Importance,
    sizes: NDArray[np.number],
    *,
    gains: NDArray[np.floating] | None = None,
    attention: NDArray[np.floating] | None = None,
) -> NDArray[np.float64]:
    """Importance weights of a path's decisions.

    - ``subtree``: (S_t - S_{t+1}) / S_0, each decision pays for the nodes it opened off the path. With alpha = 1 the return
      from every decision on is -S_t, the return of the tree MDP (Scavuzzo et al. 2022).
    - ``bound``: share of (max gain - gain_t): decisions that moved the dual bound pay less. Gains of +inf (all children
      infeasible) count as the largest finite gain, -inf as the smallest, NaN (not known) as the middle between the two;
      where no gain is finite these are 1, 0 and 1/2. 1e20 and more is infinite. Uniform where all gains are equal (1e-9).
    - ``attention``: share of the attention. Uniform where it is zero everywhere.
    - ``uniform``: 1 / L.

    Args:
        kind: which weights.
        sizes: (L,) subtree sizes S_t, positive, not increasing.
        gains: (L,) gain of each decision in the dual bound, see ``bound_gains``; for ``bound``.
        attention: (L,) attention of the path's last step on each step, not negative; for ``attention``.

    Returns:
        (L,) float64, not negative, sum 1.

    Raises:
        ValueError: an empty path, sizes that are no subtree sizes of a path, an array that is missing or of another length,
            attention that is negative or not finite, or an unknown kind.
    """
    sizes = np.asarray(sizes, dtype=np.float64)
    if sizes.ndim != 1 or not len(sizes):
        raise ValueError(f"subtree sizes of a path are a vector of at least one, not of shape {list(sizes.shape)}")
    if not (np.isfinite(sizes).all() and (sizes > 0).all() and (np.diff(sizes) <= 0).all()):
        raise ValueError("subtree sizes along a path are positive and do not increase")
    if kind == "subtree":
        opened: NDArray[np.float64] = sizes - np.append(sizes[1:], 0.0)
        return opened / float(sizes[0])
    if kind == "uniform":
        return _shares(np.zeros(len(sizes)))
    if kind == "bound":
        return _shares(_shortfalls(_vector("gains", gains, len(sizes))))
    if kind == "attention":
        weights = _vector("attention", attention, len(sizes))
        if not (np.isfinite(weights).all() and (weights >= 0).all()):
            raise ValueError("attention must be finite and not negative")
        return _shares(weights)
    raise ValueError(f"unknown importance {kind!r}; known are subtree, bound, attention, uniform")


def bound_gains(bounds: NDArray[np.floating], after: NDArray[np.floating] | None = None) -> NDArray[np.float64]:
    """Gain of each decision of a path in the dual bound, in the sense of minimisation.

    Args:
        bounds: (L,) lower bound of each decision's node.
        after: (L,) the bound that each decision led to, such as the lowest of its children's; +inf where all of them are
            infeasible. None: the bound of the path's next decision, and not known for the last.

    Returns:
        (L,) float64: ``after - bounds``; +inf where ``after`` is, NaN where one of the two is not known (NaN, or infinite in
        any other way). 1e20 and more is infinite.

    Raises:
        ValueError: arrays of different length.
    """
    before = np.asarray(bounds, dtype=np.float64)
    reached = np.append(before[1:], np.nan)[: len(before)] if after is None else _vector("after", after, len(before))
    known = (np.abs(before) < INFINITY) & (reached > -INFINITY)
    gains = np.full(len(before), np.nan)
    gains[known] = np.where(reached[known] >= INFINITY, np.inf, reached[known] - before[known])
    return gains


def redistribute(weights: NDArray[np.floating], cost: float, alpha: float) -> NDArray[np.float64]:
    """Rewards of a path's decisions; their sum is -cost.

    Args:
        weights: (L,) importance weights, not negative, sum 1; up to a millionth, and so the rewards' sum.
        cost: S_0, what the whole path costs; not negative.
        alpha: share that is redistributed, in [0, 1]; the rest arrives at the last decision.

    Returns:
        (L,) float64.

    Raises:
        ValueError: weights, cost or alpha are not such.
    """
    shares = np.asarray(weights, dtype=np.float64)
    if shares.ndim != 1 or not len(shares) or not (shares >= 0).all() or not abs(shares.sum() - 1) <= 1e-6:
        raise ValueError("importance weights are a vector of numbers that are not negative and sum to 1")
    if not 0 <= cost < np.inf:
        raise ValueError(f"a cost is finite and not negative, unlike {cost}")
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must be in [0, 1], not {alpha}")
    rewards: NDArray[np.float64] = -(alpha * cost) * shares
    rewards[-1] -= (1 - alpha) * cost
    return rewards


def gap_levels(gap: NDArray[np.floating], first: NDArray[np.floating], second: NDArray[np.floating]) -> NDArray[np.float64]:
    """Levels of branching that decisions as good as these would need: log2 of the leaves of the tree they predict.

    At the end of a search it is known what a decision's subtree had to gain in the dual bound: the gap G between its node's
    bound and the optimum. A tree whose every decision gains ``first`` on one side and ``second`` on the other closes the gap
    with phi^G leaves, where phi^-first + phi^-second = 1 (Le Bodic & Nemhauser 2017, eq. 4, for large gaps).

    Args:
        gap: (d,) what was to be gained, positive and finite.
        first: (d,) gain of one child; what lies outside of [G / 256, G] is taken as the nearest of the two.
        second: (d,) gain of the other.

    Returns:
        (d,) float64, G log2 phi: 1 where both children close the gap, 256 where both gain nothing.

    Raises:
        ValueError: arrays of different length, a gap that is not positive and finite, or gains that are not known.
    """
    gaps = np.asarray(gap, dtype=np.float64)
    if not ((gaps > 0).all() and np.isfinite(gaps).all()):
        raise ValueError("gaps must be positive and finite")
    shares = np.stack([_vector("gains", gains, len(gaps)) / gaps for gains in (first, second)])
    if np.isnan(shares).any():
        raise ValueError("gains must be known")
    shares = shares.clip(_LEAST_SHARE, 1.0)
    # phi falls where a gain grows, so the root for two gains lies between those for twice the larger and twice the smaller.
    low, high = 1.0 / shares.max(axis=0), 1.0 / shares.min(axis=0)
    for _ in range(50):
        middle = (low + high) / 2
        above = np.exp2(-middle * shares).sum(axis=0) > 1.0
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    levels: NDArray[np.float64] = (low + high) / 2
    return levels


def returns(rewards: NDArray[np.floating], gamma: float = 1.0) -> NDArray[np.float64]:
    """Rewards to go: G_t = r_t + gamma G_{t+1}, (L,) float64 from (L,)."""
    result = np.array(rewards, dtype=np.float64)
    if gamma == 1.0:
        return result[::-1].cumsum()[::-1]
    for t in range(len(result) - 2, -1, -1):
        result[t] += gamma * result[t + 1]
    return result


def _shares(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of the sum; uniform where that is zero. Divided by the largest first: sums of the tiniest numbers lose all digits."""
    largest = values.max()
    if largest <= 0:
        return np.full(len(values), 1 / len(values))
    scaled = values / largest
    shares: NDArray[np.float64] = scaled / scaled.sum()
    return shares


def _shortfalls(gains: NDArray[np.float64]) -> NDArray[np.float64]:
    """What each gain lacks to the largest, finite and not negative whatever the gains; zero where all are equal."""
    finite = np.abs(gains) < INFINITY  # False for NaN
    low, high = (float(gains[finite].min()), float(gains[finite].max())) if finite.any() else (0.0, 1.0)
    values = np.where(finite, gains, np.where(gains > 0, high, low))
    values[np.isnan(gains)] = (low + high) / 2
    if values.max() - values.min() <= _EQUAL * max(1.0, abs(high)):
        return np.zeros(len(gains))
    shortfalls: NDArray[np.float64] = values.max() - values
    return shortfalls


def _vector(name: str, values: NDArray[np.floating] | None, length: int) -> NDArray[np.float64]:
    if values is None:
        raise ValueError(f"these weights need {name}")
    vector = np.asarray(values, dtype=np.float64)
    if vector.shape != (length,):
        raise ValueError(f"{name} must have shape [{length}], not {list(vector.shape)}")
    return vector
