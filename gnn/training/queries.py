"""Nodes that a network is asked about, with the graphs of their ancestors behind them, each graph once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from ...branching.state import BranchState
from ..batch import GraphBatch
from ..network import BranchingNetwork
from ..revival import gather_history, select_history
from .losses import Candidates

__all__ = ["Asked", "Queries"]

Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True)
class Asked:
    """What the decoder needs of all queries."""

    embeddings: Tensor
    """(k, D) of the queries' candidates."""
    memory: Tensor
    """(B, T, D) revived steps."""
    mask: Tensor
    """(B, T)."""


@dataclass(frozen=True)
class Queries:
    """B nodes with k candidates in all, and what their revived history needs."""

    graphs: GraphBatch
    """The queries' graphs first, then those of ancestors that are no queries."""
    candidates: Candidates
    """Of the queries alone."""
    choices: Tensor
    """(graphs,) int64: place of the branched candidate of every graph."""
    histories: tuple[tuple[int, ...], ...]
    """Per query its ancestors' steps, root first, as 3 * graph + child."""

    @classmethod
    def collate(
        cls,
        keys: Sequence[Name],
        history: Callable[[Name], Sequence[tuple[Name, int]]],
        state: Callable[[Name], BranchState],
        choice: Callable[[Name], int],
        length: int,
    ) -> Queries:
        """The queries of these nodes, in their order.

        Args:
            keys: names of the nodes, all different, at least one.
            history: decisions on the way to a node, root first: (name, child entered).
            state: a node's state.
            choice: place of a node's branched candidate.
            length: most steps of a history that are kept.
        """
        places: dict[Name, int] = {key: place for place, key in enumerate(keys)}
        if len(places) != len(keys):
            raise ValueError("a node is asked twice")
        histories = []
        for key in keys:
            path = history(key) if length else ()
            kept = [path[place] for place in select_history(len(path), length)]
            histories.append(tuple(3 * places.setdefault(ancestor, len(places)) + child for ancestor, child in kept))
        states = [state(key) for key in places]
        return cls(
            graphs=GraphBatch.from_states(states),
            candidates=Candidates.from_counts(torch.tensor([len(part.candidates) for part in states[: len(keys)]])),
            choices=torch.tensor([choice(key) for key in places]),
            histories=tuple(histories),
        )

    def to(self, device: torch.device | str) -> Queries:
        """The same on another device."""
        return Queries(self.graphs.to(device), self.candidates.to(device), self.choices.to(device), self.histories)

    def __len__(self) -> int:
        return len(self.histories)

    def ask(self, network: BranchingNetwork) -> Asked:
        """Encode all graphs with the network's weights of today."""
        graphs = self.graphs
        embeddings = network.encode(graphs)
        length = network.config.history_length
        if length and any(self.histories):
            steps = network.steps(graphs, embeddings, self.choices)
            memory, mask = gather_history(steps.flatten(0, 1), self.histories, length)
        else:
            memory = embeddings.new_zeros(len(self), 0, network.config.width)
            mask = torch.zeros(len(self), 0, dtype=torch.bool, device=embeddings.device)
        return Asked(embeddings[graphs.candidates[: len(self.candidates.batch)]], memory, mask)

    def scores(self, network: BranchingNetwork) -> Tensor:
        """The network's scores of the queries' candidates, (k,)."""
        asked = self.ask(network)
        return network.decode(asked.embeddings, self.candidates.batch, asked.memory, asked.mask)

    def logits(self, network: BranchingNetwork) -> Tensor:
        """The class logits of the queries' candidates, (k, classes)."""
        asked = self.ask(network)
        return network.logits(asked.embeddings, self.candidates.batch, asked.memory, asked.mask)

    def attention(self, network: BranchingNetwork) -> Tensor:
        """Attention of the queries' candidates over the null token and the steps, (k, 1 + T), mean over heads."""
        asked = self.ask(network)
        return network.decoder.attention(asked.embeddings, self.candidates.batch, asked.memory, asked.mask)
