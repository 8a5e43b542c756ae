"""Random numbers that are the same on every machine and under every NumPy.

NumPy promises a stable stream for its bit generators only: the methods of ``Generator`` may change between releases
(NEP 19), and logarithms or powers differ in the last bit between processors. So all draws here are made from the raw
64-bit words of PCG64, with additions, multiplications and comparisons alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["Draws"]

_SHIFT = np.uint64(11)
_UNIT = 2.0**-53


class Draws:
    """A stream of random numbers.

    Args:
        entropy: non-negative integers that identify the stream.
    """

    def __init__(self, entropy: Sequence[int]) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence(list(entropy)))

    def words(self, count: int) -> NDArray[np.uint64]:
        """Draw raw 64-bit words, (count,) u8."""
        return self._bits.random_raw(count)

    def uniform(self, *shape: int) -> NDArray[np.float64]:
        """Draw floats from [0, 1) with 53 random bits each, of the given shape."""
        flat = (self.words(_product(shape)) >> _SHIFT).astype(np.float64)
        flat *= _UNIT
        return flat.reshape(shape)

    def integers(self, low: int, high: int, *shape: int) -> NDArray[np.int64]:
        """Draw integers from ``low .. high``, both included; the bias is below 2^-40 for ranges under 2^13."""
        span = high - low + 1
        if span < 1:
            raise ValueError(f"empty range {low} .. {high}")
        return (self.uniform(*shape) * span).astype(np.int64) + low

    def permutation(self, length: int) -> NDArray[np.int64]:
        """Draw a permutation of ``0 .. length - 1``, (length,) i8."""
        return np.argsort(self.words(length), kind="stable").astype(np.int64, copy=False)

    def sample(self, population: int, count: int) -> NDArray[np.int64]:
        """Draw ``count`` different integers from ``0 .. population - 1`` in random order, (count,) i8.

        Raises:
            ValueError: there are fewer than ``count``.
        """
        if not 0 <= count <= population:
            raise ValueError(f"cannot draw {count} different ones out of {population}")
        if 4 * count >= population:
            return self.permutation(population)[:count]
        # Draws with repetition; a value counts when it comes up for the first time, so every set is equally likely.
        drawn = np.empty(0, dtype=np.int64)
        while drawn.size < count:
            drawn = np.concatenate([drawn, self.integers(0, population - 1, count - drawn.size + 8)])
            first = np.unique(drawn, return_index=True)[1]
            first.sort()
            drawn = drawn[first]
        return drawn[:count]


def _product(shape: tuple[int, ...]) -> int:
    product = 1
    for length in shape:
        product *= length
    return product
