"""Decoder: candidates ask the revived steps; scores come out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["Decoder"]


class Decoder(nn.Module):
    """Cross-attention from candidates to revived steps, then an MLP on [candidate, answer].

    Before the steps of every graph stands a learned null token, so a graph without history has something to attend to.

    Args:
        width: embedding width D, a multiple of ``heads``.
        heads: attention heads.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.null = nn.Parameter(torch.randn(width) * width**-0.5)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.answer = nn.Linear(width, width)
        self.score = nn.Sequential(nn.Linear(2 * width, width), nn.ReLU(), nn.Linear(width, 1))

    def forward(self, candidates: Tensor, candidate_batch: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        """Scores (k,); arguments as in ``BranchingNetwork.decode``."""
        graphs, _, width = memory.shape
        memory = torch.cat([self.null.expand(graphs, 1, width), memory], dim=1)
        mask = torch.cat([mask.new_ones(graphs, 1), mask], dim=1)

        # Attention wants a rectangle: (B, K, D) with the candidates of each graph at its front.
        counts = candidate_batch.bincount(minlength=graphs)
        first = counts.cumsum(0) - counts
        places = torch.arange(len(candidates), device=candidates.device) - first[candidate_batch]
        queries = candidates.new_zeros(graphs, int(counts.max()), width)
        queries[candidate_batch, places] = self.query(candidates)

        answers = self._attend(queries, self.key(memory), self.value(memory), mask)[candidate_batch, places]
        scores: Tensor = self.score(torch.cat([candidates, self.answer(answers)], dim=1))
        return scores[:, 0]

    def _attend(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        """Scaled dot-product attention, (B, K, D) from queries (B, K, D), keys and values (B, T, D), mask (B, T)."""
        shape = (self.heads, queries.shape[2] // self.heads)
        q, k, v = (part.reshape(*part.shape[:2], *shape).transpose(1, 2) for part in (queries, keys, values))
        logits = q @ k.transpose(2, 3) * q.shape[3] ** -0.5
        weights = logits.masked_fill(~mask[:, None, None], -torch.inf).softmax(3)
        answers: Tensor = (weights @ v).transpose(1, 2).flatten(2)
        return answers
