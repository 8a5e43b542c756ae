"""Revival: the decisions on the way to a node, as vectors that the decoder can ask."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .batch import GraphBatch
from .facts import NODE_FACTS
from .history import CHILDREN, select_history
from .segments import segment_sum

__all__ = ["CHILDREN", "Revival", "gather_history", "select_history"]


class Revival(nn.Module):
    """Builds the step embeddings of a decision, one for each child (the StepBuilder of the ReviBranch paper).

        step = MLP([embedding of the chosen variable; mean variable embedding; node facts; child]) + PE(depth)

    PE is the sinusoidal encoding of Vaswani et al. (2017).
    """

    frequencies: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(2 * width + len(NODE_FACTS) + CHILDREN, width), nn.ReLU(), nn.Linear(width, width))
        # In double precision, as the native network has them: at great depths the angles' last bits would tell.
        frequencies = torch.exp(torch.arange(0, width, 2, dtype=torch.float64) * (-math.log(10_000.0) / width)).float()
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(self, batch: GraphBatch, embeddings: Tensor, chosen: Tensor) -> Tensor:
        """Steps of one decision per graph.

        Args:
            batch: B graphs.
            embeddings: (n, D) variable embeddings of the batch.
            chosen: (B,) int64: the branched variables, as positions among the batch's n variables.

        Returns:
            (B, 3, D).
        """
        counts = batch.variable_offsets.diff().clamp(min=1)
        sums = segment_sum(embeddings, batch.variable_offsets, batch.variable_batch)
        shared = torch.cat([embeddings[chosen], sums / counts[:, None], batch.node_facts], dim=1)
        children = torch.eye(CHILDREN, dtype=shared.dtype, device=shared.device)
        inputs = torch.cat(
            [shared[:, None].expand(-1, CHILDREN, -1), children.expand(batch.n_graphs, -1, -1)],
            dim=2,
        )
        angles = batch.depths[:, None] * self.frequencies
        position = torch.cat([angles.sin(), angles.cos()], dim=1)
        steps: Tensor = self.mlp(inputs) + position[:, None]
        return steps


def gather_history(steps: Tensor, histories: Sequence[Sequence[int]], length: int) -> tuple[Tensor, Tensor]:
    """The decoder's memory for many graphs, out of one table of steps.

    Args:
        steps: (S, D) step embeddings, those of the children that were entered.
        histories: per graph the places in ``steps`` of its ancestors' steps, root first.
        length: most steps to keep for a graph, see ``select_history``.

    Returns:
        Memory (B, T, D), zero where padded, and mask (B, T), True where there is a step. T is the longest kept history.
    """
    kept = [[history[place] for place in select_history(len(history), length)] for history in histories]
    longest = max(map(len, kept), default=0)
    places = torch.tensor([[*part, *[0] * (longest - len(part))] for part in kept], dtype=torch.int64)
    mask = torch.tensor([[column < len(part) for column in range(longest)] for part in kept], dtype=torch.bool)
    places, mask = places.reshape(len(kept), longest).to(steps.device), mask.reshape(len(kept), longest).to(steps.device)
    # Not by a product: where it is padded the place is that of some step, and infinity times zero is no zero.
    memory = torch.where(mask[..., None], steps[places], 0.0) if longest else steps.new_zeros(len(kept), 0, steps.shape[1])
    return memory, mask
