"""The usual eager network, for measurements: the same weights and numbers, computed as learn2branch computes them."""

from __future__ import annotations

from copy import deepcopy
from typing import Literal

from torch import Tensor
from torch.nn import functional
from torch_geometric.utils import scatter

from ..gnn.batch import Edges
from ..gnn.halfconv import HalfConvolution
from ..gnn.network import BranchingNetwork

__all__ = ["VARIANTS", "EagerHalfConvolution", "Variant", "variant_of"]

Variant = Literal["eager", "reordered", "fused"]

VARIANTS: dict[Variant, str] = {
    "eager": "PyG, the message's last linear layer on every edge, as in learn2branch",
    "reordered": "PyG, that layer behind the sum",
    "fused": "that layer behind the sum, and the rest of the message in one loop over the edges",
}


class EagerHalfConvolution(HalfConvolution):
    """The half-convolution with its last linear layer on every edge, and PyG's own sum (Gasse et al. 2019).

    Its linear layers of sources and targets are applied once per node, as in learn2branch; Ecole's example applies these on
    every edge as well and is slower still.
    """

    def sum_messages(self, targets: Tensor, sources: Tensor, edges: Edges) -> Tensor:
        """Sum of W_m relu(...) + b_m, (t, D)."""
        sums: Tensor = self.propagate(
            edges.edge_index,
            size=(len(sources), len(targets)),
            pre_source=self.source(sources),
            pre_target=self.target(targets),
            edge_values=(edges.values - self.edge_mean) / self.edge_scale,
            edge=self.edge,
            offsets=edges.offsets,
        )
        return sums

    def message(self, pre_source_j: Tensor, pre_target_i: Tensor, edge_values: Tensor, edge: Tensor) -> Tensor:
        """W_m relu(LayerNorm(...)) + b_m of each edge, (nnz, D)."""
        messages: Tensor = self.message_output(functional.relu(self.norm(pre_source_j + pre_target_i + edge_values[:, None] * edge)))
        return messages

    def aggregate(self, inputs: Tensor, index: Tensor, offsets: Tensor) -> Tensor:
        """PyG's sum."""
        sums: Tensor = scatter(inputs, index, dim=0, dim_size=len(offsets) - 1, reduce="sum")
        return sums


def variant_of(network: BranchingNetwork, variant: Variant) -> BranchingNetwork:
    """A copy of the network, same weights, whose half-convolutions compute in one of the ways of ``VARIANTS``."""
    network = deepcopy(network)
    for name in ("to_rows", "to_variables"):
        half: HalfConvolution = getattr(network.encoder, name)
        if variant == "eager":
            eager = EagerHalfConvolution(half.edge.shape[0])
            eager.load_state_dict(half.state_dict())
            setattr(network.encoder, name, eager)
        else:
            half.fuse = variant == "fused"
    return network
