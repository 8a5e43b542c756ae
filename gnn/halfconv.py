"""One half of a bipartite graph convolution: messages from one side of the graph to the other."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_geometric.nn import MessagePassing

from .batch import Edges
from .fused import halfconv_sum, supports
from .normalisation import Moments
from .segments import segment_sum

__all__ = ["HalfConvolution"]


class HalfConvolution(MessagePassing):  # type: ignore[misc]
    r"""The half-convolution of Gasse et al. (2019) with the message's last linear layer behind the sum.

    .. math::
        t_i \leftarrow f\Big(t_i, \frac{1}{\sigma} \Big( W_m \sum_{(i,j) \in E}
            \mathrm{relu}(\mathrm{LayerNorm}(A s_j + B t_i + b + c\, (e_{ij} - \mu) / \nu)) + n_i b_m \Big)\Big)

    with targets t, sources s, edge values e and n_i the number of edges of target i. A linear layer commutes with the sum:
    it is applied once per target in place of once per edge. Fitted on data before training, then fixed: mean mu and
    deviation nu of the edge values (``fit_edges``), and the scale sigma of the sums (``fit_scale``), so that f meets
    magnitudes it can work with whether targets have many edges or few.

    On a CPU, messages and their sums are one fused operator (``fused.halfconv_sum``), forward and backward; elsewhere, for
    widths that are no multiple of 8, and with PyG's switch ``fuse = False``, PyG gathers and scatters. The numbers are the
    same up to rounding.

    Shapes: targets (t, D), sources (s, D), edges t <- s; result (t, D), not negative.
    """

    edge_mean: Tensor
    edge_scale: Tensor
    sum_scale: Tensor

    def __init__(self, width: int) -> None:
        super().__init__(aggr=None)
        self.source = nn.Linear(width, width, bias=False)
        """A."""
        self.target = nn.Linear(width, width)
        """B and b."""
        self.edge = nn.Parameter(torch.empty(width).uniform_(-1.0, 1.0))
        """c."""
        self.norm = nn.LayerNorm(width)
        self.message_output = nn.Linear(width, width)
        """W_m and b_m."""
        self.update_output = nn.Sequential(nn.Linear(2 * width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        """f, on [t_i, scaled sum]."""
        self.register_buffer("edge_mean", torch.zeros(()))
        self.register_buffer("edge_scale", torch.ones(()))
        self.register_buffer("sum_scale", torch.ones(()))

    def forward(self, targets: Tensor, sources: Tensor, edges: Edges) -> Tensor:
        """New target embeddings."""
        summed: Tensor = self.sum_messages(targets, sources, edges) / self.sum_scale
        updated: Tensor = self.update_output(torch.cat([targets, summed], dim=1))
        return updated

    def sum_messages(self, targets: Tensor, sources: Tensor, edges: Edges) -> Tensor:
        """W_m sum relu(...) + n_i b_m, (t, D), before the scale."""
        # The normalisation of edge values goes into c and b: edges are read as they stand in the state.
        edge = self.edge / self.edge_scale
        target_bias = self.target.bias - edge * self.edge_mean
        if self.fuse and supports(sources, targets, edges.values):
            # What the norm takes off each edge's sum, its mean, is taken off what the sum is made of: at the weights, for free.
            activations = self.message_and_aggregate(
                edges,
                pre_source=functional.linear(sources, _centred(self.source.weight)),
                pre_target=functional.linear(targets, _centred(self.target.weight), _centred(target_bias)),
                edge=_centred(edge),
            )
        else:
            activations = self.propagate(
                edges.edge_index,
                size=(len(sources), len(targets)),
                pre_source=self.source(sources),
                pre_target=functional.linear(targets, self.target.weight, target_bias),
                edge_values=edges.values,
                edge=edge,
                offsets=edges.offsets,
            )
        degrees = edges.degrees.to(activations.dtype)
        return functional.linear(activations, self.message_output.weight) + degrees[:, None] * self.message_output.bias

    def message_and_aggregate(self, edges: Edges, pre_source: Tensor, pre_target: Tensor, edge: Tensor) -> Tensor:
        """Sum of relu(LayerNorm(...)) over the edges of each target, (t, D), in one pass without a tensor of nnz x D.

        Args:
            edges: on the CPU.
            pre_source: (s, D), each row with mean zero; as those of ``pre_target`` (t, D) and ``edge`` (D,).
            pre_target: see above.
            edge: see above.
        """
        norm = self.norm
        sums: Tensor = halfconv_sum(
            edges.offsets, edges.sources, edges.values, pre_source, pre_target, edge, norm.weight, norm.bias, norm.eps
        )
        return sums

    def message(self, pre_source_j: Tensor, pre_target_i: Tensor, edge_values: Tensor, edge: Tensor) -> Tensor:
        """relu(LayerNorm(...)) of each edge, (nnz, D)."""
        # In place: the gathered rows are copies of PyG's, and edges x D is the largest tensor there is.
        pre_activations = pre_source_j.add_(pre_target_i).addcmul_(edge_values[:, None], edge)
        return functional.relu(self.norm(pre_activations), inplace=True)

    def aggregate(self, inputs: Tensor, index: Tensor, offsets: Tensor) -> Tensor:
        """Sum over the edges of each target, (t, D); in the order of the edges, so deterministic."""
        return segment_sum(inputs, offsets, index)

    def fit_edges(self, moments: Moments) -> None:
        """Take mean and deviation of the edge values, one column."""
        self.edge_mean.fill_(float(moments.mean))
        self.edge_scale.fill_(float(moments.scale()))

    def fit_scale(self, sums: Iterable[Tensor]) -> None:
        """Set sigma to the root mean square of the sums; 1 where they are all zero.

        Args:
            sums: results of ``sum_messages`` on data.
        """
        squares, count = 0.0, 0
        for part in sums:
            squares += float(part.detach().double().square().sum())
            count += part.numel()
        self.sum_scale.fill_((squares / count) ** 0.5 if squares > 0 else 1.0)


def _centred(outputs: Tensor) -> Tensor:
    """Weight (D, inputs) or bias (D,) of a linear layer whose outputs then have mean zero."""
    return outputs - outputs.mean(dim=0)
