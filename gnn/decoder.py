"""Decoder: candidates ask the revived steps; scores or class logits come out."""

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
        outputs: numbers per candidate: 1 for a score, K for the logits of K classes.
    """

    def __init__(self, width: int, heads: int, outputs: int = 1) -> None:
        super().__init__()
        self.heads = heads
        self.null = nn.Parameter(torch.randn(width) * width**-0.5)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.answer = nn.Linear(width, width)
        self.score = nn.Sequential(nn.Linear(2 * width, width), nn.ReLU(), nn.Linear(width, outputs))

    def forward(self, candidates: Tensor, candidate_batch: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        """Numbers (k, outputs); arguments as in ``BranchingNetwork.decode``."""
        memory, mask = self._with_null(memory, mask)
        places = _places(candidate_batch, len(memory))
        values = self._heads(self.value(memory))
        answers = (self._weights(candidates, candidate_batch, places, memory, mask) @ values).transpose(1, 2).flatten(2)
        outputs: Tensor = self.score(torch.cat([candidates, self.answer(answers[candidate_batch, places])], dim=1))
        return outputs

    def attention(self, candidates: Tensor, candidate_batch: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        """What each candidate attends to, mean over heads; arguments as in ``BranchingNetwork.decode``.

        Returns:
            (k, 1 + T): the null token, then the steps; not negative, each row sums to one, 0 where there is no step.
        """
        memory, mask = self._with_null(memory, mask)
        places = _places(candidate_batch, len(memory))
        return self._weights(candidates, candidate_batch, places, memory, mask).mean(1)[candidate_batch, places]

    def _with_null(self, memory: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        graphs, _, width = memory.shape
        return torch.cat([self.null.expand(graphs, 1, width), memory], dim=1), torch.cat([mask.new_ones(graphs, 1), mask], dim=1)

    def _weights(self, candidates: Tensor, candidate_batch: Tensor, places: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        """Scaled dot-product attention, (B, heads, K, T): shares of the T tokens for up to K candidates of each graph."""
        graphs, _, width = memory.shape
        # Attention wants a rectangle: (B, K, D) with the candidates of each graph at its front.
        longest = int(places.max()) + 1 if len(places) else 0
        queries = candidates.new_zeros(graphs, longest, width)
        queries[candidate_batch, places] = self.query(candidates)
        q, k = self._heads(queries), self._heads(self.key(memory))
        logits = q @ k.transpose(2, 3) * q.shape[3] ** -0.5
        weights: Tensor = logits.masked_fill(~mask[:, None, None], -torch.inf).softmax(3)
        return weights

    def _heads(self, tokens: Tensor) -> Tensor:
        """(B, heads, T, D / heads) from (B, T, D)."""
        return tokens.reshape(*tokens.shape[:2], self.heads, tokens.shape[2] // self.heads).transpose(1, 2)


def _places(candidate_batch: Tensor, graphs: int) -> Tensor:
    """Place of each candidate among those of its graph, (k,)."""
    counts = candidate_batch.bincount(minlength=graphs)
    first = counts.cumsum(0) - counts
    return torch.arange(len(candidate_batch), device=candidate_batch.device) - first[candidate_batch]
