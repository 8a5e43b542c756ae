"""The branching network: encoder, revival and decoder in a row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from ..branching.state import BranchState
from .batch import GraphBatch
from .config import NetworkConfig
from .decoder import Decoder
from .encoder import Encoder
from .revival import Revival

__all__ = ["BranchingNetwork", "NetworkConfig"]


class BranchingNetwork(nn.Module):
    """Scores branching candidates from the LP's graph and from the revived steps on the way to the node.

    Shapes: n variables, k candidates, B graphs, D width, T steps (see ``GraphBatch``).

    Example of a training step on the decisions of one path, root first::

        embeddings = network.encode(batch)
        steps = network.steps(batch, embeddings, choices)[range(L), children]
        memory, mask = gather_history(steps, [range(t) for t in range(L)], network.config.history_length)
        scores = network.decode(embeddings[batch.candidates], batch.candidate_batch, memory, mask)

    A network with K classes (``NetworkConfig.classes``) says of every candidate how likely the subtree below it has which
    size: ``logits`` of classes whose centres lie evenly on [0, highest], in log2 of nodes or of levels, as the training
    had it (Imani & White 2018; Farebrother et al. 2024). Its score is minus their mean, ``-values(logits)``: the highest is the best,
    as without classes.
    """

    centres: Tensor

    def __init__(self, config: NetworkConfig | None = None) -> None:
        super().__init__()
        self.config = config = NetworkConfig() if config is None else config
        self.encoder = Encoder(config.variable_columns, config.row_columns, config.width)
        self.revival = Revival(config.width)
        self.decoder = Decoder(config.width, config.heads, config.classes or 1)
        # Follows from the configuration, so it is no part of a checkpoint.
        self.register_buffer("centres", torch.linspace(0.0, config.highest, config.classes, dtype=torch.float32), persistent=False)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.centres.device

    def fit_normalisation(self, states: Sequence[BranchState]) -> None:
        """Fit the input normalisation and the encoder's scales on data; before training, once.

        Raises:
            ValueError: there is no state.
        """
        if not states:
            raise ValueError("normalisation needs at least one state")
        self.encoder.fit(_Views(states, self.device))

    def encode(self, batch: GraphBatch) -> Tensor:
        """Variable embeddings (n, D)."""
        embeddings: Tensor = self.encoder(batch)
        return embeddings

    def steps(self, batch: GraphBatch, embeddings: Tensor, choices: Tensor) -> Tensor:
        """The steps that a decision leads to, one for each child it may create.

        Args:
            batch: B graphs, each with at least one candidate.
            embeddings: (n, D), out of ``encode``.
            choices: (B,) int64: place of the branched variable among its graph's candidates.

        Returns:
            (B, 3, D): child down, up, middle (``PathStep.child``).
        """
        chosen = batch.candidates[batch.candidate_offsets[:-1] + choices]
        steps: Tensor = self.revival(batch, embeddings, chosen)
        return steps

    def decode(self, candidates: Tensor, candidate_batch: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        """Scores of all candidates.

        Args:
            candidates: (k, D) embeddings.
            candidate_batch: (k,) int64, ascending: graph of each candidate.
            memory: (B, T, D) steps, padded; T may be 0.
            mask: (B, T) bool, True where there is a step.

        Returns:
            (k,) scores.
        """
        if self.config.classes:
            return -self.values(self.logits(candidates, candidate_batch, memory, mask))
        scores: Tensor = self.decoder(candidates, candidate_batch, memory, mask)[:, 0]
        return scores

    def logits(self, candidates: Tensor, candidate_batch: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        """Class logits of all candidates, (k, K); arguments as in ``decode``.

        Raises:
            ValueError: the network has no classes.
        """
        if not self.config.classes:
            raise ValueError("a network without classes has scores, no logits")
        logits: Tensor = self.decoder(candidates, candidate_batch, memory, mask)
        return logits

    def values(self, logits: Tensor) -> Tensor:
        """Mean log2 of the subtree's size, in nodes or levels, under the softmax of the logits: (..., ) from (..., K)."""
        return logits.softmax(-1) @ self.centres

    def forward(self, batch: GraphBatch, memory: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Scores of all candidates, (k,); without ``memory`` no graph has a history.

        Raises:
            ValueError: only one of ``memory`` and ``mask`` is given.
        """
        if (memory is None) != (mask is None):
            raise ValueError("memory and mask belong together")
        embeddings = self.encode(batch)
        if memory is None or mask is None:
            memory = embeddings.new_zeros(batch.n_graphs, 0, self.config.width)
            mask = torch.zeros(batch.n_graphs, 0, dtype=torch.bool, device=embeddings.device)
        return self.decode(embeddings[batch.candidates], batch.candidate_batch, memory, mask)


class _Views:
    """The states as batches of one, made anew on every way through: memory does not grow with the data."""

    def __init__(self, states: Sequence[BranchState], device: torch.device) -> None:
        self._states, self._device = states, device

    def __iter__(self) -> Iterator[GraphBatch]:
        return (GraphBatch.view(state).to(self._device) for state in self._states)
