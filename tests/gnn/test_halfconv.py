from __future__ import annotations

import pytest
import torch

from revibranch.gnn.batch import Edges, GraphBatch
from revibranch.gnn.halfconv import HalfConvolution

from .states import random_state

WIDTH = 8


@pytest.fixture
def half() -> HalfConvolution:
    torch.manual_seed(1)
    half = HalfConvolution(WIDTH)
    half.edge_mean.fill_(0.3)
    half.edge_scale.fill_(1.7)
    half.norm.weight.data.uniform_(0.5, 1.5)
    half.norm.bias.data.uniform_(-0.5, 0.5)
    return half


def edge_wise(half: HalfConvolution, targets: torch.Tensor, sources: torch.Tensor, edges: Edges) -> torch.Tensor:
    """The published form, one edge at a time: the message's last linear layer before the sum."""
    sums = torch.zeros(len(targets), WIDTH)
    for source, target, value in zip(*edges.edge_index.tolist(), edges.values.tolist(), strict=True):
        normalised = (value - half.edge_mean) / half.edge_scale
        pre = half.source(sources[source]) + half.target(targets[target]) + half.edge * normalised
        sums[target] += half.message_output(torch.relu(half.norm(pre)))
    return sums


def test_last_linear_layer_behind_the_sum_equals_the_edge_wise_form(half):
    edges = GraphBatch.view(random_state(n_variables=12, n_rows=8, n_edges=40)).structure.by_row
    targets, sources = torch.randn(8, WIDTH), torch.randn(12, WIDTH)
    with torch.no_grad():
        expected = edge_wise(half, targets, sources, edges)
        torch.testing.assert_close(half.sum_messages(targets, sources, edges), expected, rtol=1e-5, atol=1e-5)


def test_gradients_equal_those_of_the_edge_wise_form(half):
    edges = GraphBatch.view(random_state(n_variables=6, n_rows=5, n_edges=14)).structure.by_variable
    targets, sources = torch.randn(6, WIDTH, requires_grad=True), torch.randn(5, WIDTH, requires_grad=True)
    wanted = [targets, sources, *half.parameters()]
    weights = torch.randn(6, WIDTH)
    ours = torch.autograd.grad((half.sum_messages(targets, sources, edges) * weights).sum(), wanted, allow_unused=True)
    theirs = torch.autograd.grad((edge_wise(half, targets, sources, edges) * weights).sum(), wanted, allow_unused=True)
    assert sum(gradient is not None for gradient in ours) >= 9
    for mine, its in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-4, atol=1e-5)


def test_a_target_without_edges_gets_an_empty_sum(half):
    edges = Edges(torch.tensor([0, 0, 2, 2]), torch.tensor([0, 1], dtype=torch.int32), torch.ones(2))
    sums = half.sum_messages(torch.randn(3, WIDTH), torch.randn(2, WIDTH), edges)
    assert sums[0].tolist() == sums[2].tolist() == [0.0] * WIDTH
    assert sums[1].abs().max() > 0


def test_fitted_scale_brings_sums_to_magnitude_one(half):
    edges = GraphBatch.view(random_state(n_edges=90)).structure.by_row
    sums = half.sum_messages(torch.randn(8, WIDTH), torch.randn(12, WIDTH), edges).detach()
    half.fit_scale([sums[:3], sums[3:]])
    assert (sums / half.sum_scale).square().mean().item() == pytest.approx(1.0, rel=1e-5)
    half.fit_scale([torch.zeros(4, WIDTH)])
    assert half.sum_scale == 1
