"""Random trees of decisions for tests, as plain arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st


@dataclass(frozen=True)
class Tree:
    """A forest of d decisions (restarts make several roots): what an episode says of them."""

    parent: np.ndarray
    """(d,) decision before each, -1 for a root."""
    entered: np.ndarray
    """(d,) child of that decision, or -1 where another rule stood between."""
    sizes: np.ndarray
    """(d,) subtree sizes: decisions below plus nodes at which nothing was decided."""
    order: np.ndarray
    """(d,) processing order."""

    def __len__(self) -> int:
        return len(self.parent)

    def ancestors(self, decision: int) -> list[int]:
        """The decision and those above it, root first."""
        result = []
        while decision >= 0:
            result.append(decision)
            decision = int(self.parent[decision])
        return result[::-1]

    def subtree(self, decision: int) -> set[int]:
        return {other for other in range(len(self)) if decision in self.ancestors(other)}


@st.composite
def trees(draw: st.DrawFn, least: int = 1, most: int = 40) -> Tree:
    """From chains (parents close by) to bushes, with one root or several; processed in any order, parents first."""
    size = draw(st.integers(least, most))
    reach = draw(st.sampled_from([1, 3, most]))
    several = draw(st.booleans())
    generator = np.random.default_rng(draw(st.integers(0, 2**16)))
    parent = np.full(size, -1)
    for place in range(1, size):
        parent[place] = generator.integers(max(place - reach, -1 if several else 0), place)
    sizes = 1 + generator.integers(0, 3, size)
    for place in range(size - 1, 0, -1):
        if parent[place] >= 0:
            sizes[parent[place]] += sizes[place]
    waiting, order = [int(root) for root in np.flatnonzero(parent < 0)], np.zeros(size, dtype=np.int64)
    for time in range(size):
        taken = waiting.pop(int(generator.integers(len(waiting))))
        order[taken] = 10 * time
        waiting += [int(child) for child in np.flatnonzero(parent == taken)]
    return Tree(parent, np.where(parent >= 0, generator.integers(-1, 3, size), -1), sizes, order)
