"""What a network's scores cost, and how good they are. All on many nodes at once, their candidates one behind the other."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

__all__ = ["Candidates", "cross_entropy", "expert_best", "hits"]

_TIE = 1e-9
"""Relative difference below which two scores of the expert are the same."""


@dataclass(frozen=True)
class Candidates:
    """How k candidates belong to B nodes."""

    batch: Tensor
    """(k,) int64, ascending: the node of each."""
    place: Tensor
    """(k,) int64: its place among its node's candidates."""
    n_nodes: int
    longest: int
    """Most candidates of a node."""

    @classmethod
    def from_counts(cls, counts: Tensor) -> Candidates:
        """Out of the number of candidates of each node, (B,) int64."""
        n_nodes, total = len(counts), int(counts.sum())
        batch = torch.arange(n_nodes, device=counts.device).repeat_interleave(counts, output_size=total)
        place = torch.arange(total, device=counts.device) - (counts.cumsum(0) - counts)[batch]
        return cls(batch, place, n_nodes, int(counts.max()) if n_nodes else 0)

    def to(self, device: torch.device | str) -> Candidates:
        """The same on another device."""
        return replace(self, batch=self.batch.to(device), place=self.place.to(device))

    @property
    def first(self) -> Tensor:
        """(B,) int64: place of each node's first candidate among all."""
        counts = self.batch.bincount(minlength=self.n_nodes)
        return counts.cumsum(0) - counts

    def padded(self, values: Tensor, fill: float) -> Tensor:
        """(k,) -> (B, longest)."""
        table = values.new_full((self.n_nodes, self.longest), fill)
        return table.index_put((self.batch, self.place), values)


def expert_best(scores: Tensor, candidates: Candidates) -> Tensor:
    """Which candidates the expert finds best: the highest valid score of the node, and all that tie with it.

    Args:
        scores: (k,) float64, NaN where invalid.
        candidates: whose they are.

    Returns:
        (B, longest) bool. A node without valid scores has none.
    """
    table = candidates.padded(scores, torch.nan).nan_to_num(nan=-torch.inf, posinf=torch.finfo(scores.dtype).max)
    top = table.amax(1, keepdim=True)
    return (table >= top - _TIE * top.abs().clamp(max=1e300)) & table.isfinite()


def cross_entropy(logits: Tensor, scores: Tensor, candidates: Candidates) -> Tensor:
    """Cross-entropy of the expert's best candidate under the softmax of the logits, for each node, (B,).

    Candidates without a valid score take no part in the softmax. Candidates that tie share the target evenly.

    Args:
        logits: (k,).
        scores: (k,) float64, the expert's, NaN where invalid; at least one valid for each node.
        candidates: whose they are.
    """
    best = expert_best(scores, candidates)
    masked = torch.where(scores.isnan(), logits.new_tensor(-torch.inf), logits)
    log_shares = candidates.padded(masked, -torch.inf).log_softmax(1)
    picked = torch.where(best, log_shares, log_shares.new_zeros(()))
    return -picked.sum(1) / best.sum(1)


def hits(logits: Tensor, scores: Tensor, candidates: Candidates, top: int) -> Tensor:
    """Whether one of the expert's best is among the ``top`` highest logits, (B,) bool.

    All candidates compete, those without a valid score too: a solve does not know which they are.
    """
    best = expert_best(scores, candidates)
    ranked = candidates.padded(logits, -torch.inf).topk(min(top, candidates.longest), dim=1).indices
    return best.gather(1, ranked).any(1)
