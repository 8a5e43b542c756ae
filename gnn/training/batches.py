"""Batches of samples: the samples' graphs, and behind them the graphs of their ancestors, each once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...branching.episode import Episode
from ...branching.state import BranchState
from ..batch import GraphBatch
from ..network import BranchingNetwork
from .errors import TrainingError
from .losses import Candidates
from .queries import Queries

__all__ = ["SampleBatch", "SampleSet", "shuffled_batches"]


@dataclass(frozen=True)
class SampleBatch:
    """Samples ready for a gradient step."""

    queries: Queries
    """The samples' nodes and their history."""
    scores: Tensor
    """(k,) float64: the expert's scores of the samples' candidates; NaN where invalid."""

    def to(self, device: torch.device | str) -> SampleBatch:
        """The same on another device."""
        return SampleBatch(self.queries.to(device), self.scores.to(device))

    def __len__(self) -> int:
        return len(self.queries)

    @property
    def graphs(self) -> GraphBatch:
        """The samples' graphs first, then those of ancestors that are no samples of this batch."""
        return self.queries.graphs

    @property
    def candidates(self) -> Candidates:
        """Of the samples alone."""
        return self.queries.candidates

    def logits(self, network: BranchingNetwork) -> Tensor:
        """The network's scores of the samples' candidates, (k,). Ancestors are encoded with the weights of today."""
        return self.queries.scores(network)


class SampleSet:
    """All samples of many episodes.

    Args:
        paths: the episodes' files.
        history_length: most ancestors of a sample that its batch carries.

    Raises:
        EpisodeError: an episode is damaged.
        TrainingError: there is no sample.
    """

    def __init__(self, paths: Sequence[Path], history_length: int) -> None:
        self.episodes = [Episode.load(path) for path in paths]
        self.history_length = history_length
        self.trees: NDArray[np.int64] = np.repeat(np.arange(len(self.episodes)), [len(episode.samples) for episode in self.episodes])
        """(samples,) int64: the episode of each sample, ascending."""
        if not len(self.trees):
            raise TrainingError("there are no samples")
        self._decisions = np.concatenate([episode.samples for episode in self.episodes])
        self._states: dict[tuple[int, int], BranchState] = {}

    def __len__(self) -> int:
        return len(self.trees)

    @property
    def n_decisions(self) -> int:
        """Decisions in the episodes: the samples, and those on the way to them."""
        return sum(map(len, self.episodes))

    def states(self) -> list[BranchState]:
        """The samples' states."""
        return [self._state((int(tree), int(decision))) for tree, decision in zip(self.trees, self._decisions, strict=True)]

    def collate(self, samples: Sequence[int]) -> SampleBatch:
        """The batch of these samples, in their order."""
        keys = [(int(self.trees[sample]), int(self._decisions[sample])) for sample in samples]
        queries = Queries.collate(keys, self._history, self._state, self._choice, self.history_length)
        return SampleBatch(queries, torch.from_numpy(np.concatenate([self.episodes[tree].scores(decision) for tree, decision in keys])))

    def _history(self, key: tuple[int, int]) -> list[tuple[tuple[int, int], int]]:
        tree, decision = key
        return [((tree, ancestor.decision), ancestor.child) for ancestor in self.episodes[tree].ancestors(decision)]

    def _choice(self, key: tuple[int, int]) -> int:
        return int(self.episodes[key[0]].choice[key[1]])

    def _state(self, key: tuple[int, int]) -> BranchState:
        state = self._states.get(key)
        if state is None:
            state = self._states[key] = self.episodes[key[0]].state(key[1])
        return state


def shuffled_batches(trees: NDArray[np.int64], size: int, samples_per_tree: int, entropy: Sequence[int]) -> list[NDArray[np.int64]]:
    """An epoch's batches: every sample once, in an order that the entropy alone decides.

    Args:
        trees: (samples,) the tree of each sample, ascending.
        size: samples of a batch; the last may be smaller.
        samples_per_tree: samples of a tree that stay together.
        entropy: seeds.
    """
    random = np.random.default_rng(entropy)
    order = np.lexsort((random.random(len(trees)), trees))  # shuffled within each tree
    starts = np.flatnonzero(np.diff(trees, prepend=-1))
    rank = np.arange(len(trees)) - starts[np.searchsorted(starts, np.arange(len(trees)), side="right") - 1]
    group = np.cumsum(rank % samples_per_tree == 0) - 1
    keys = random.permutation(group[-1] + 1)[group]
    order = order[np.argsort(keys, kind="stable")]
    return [order[begin : begin + size] for begin in range(0, len(order), size)]
