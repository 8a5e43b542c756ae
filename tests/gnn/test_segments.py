"""Sums of segments: the two ways they are taken agree, and so do their gradients."""

from __future__ import annotations

import pytest
import torch

from revibranch.gnn.segments import reduced, segment_sum


@pytest.mark.parametrize("lengths", [[3, 1, 4], [0, 2, 0], [5], [0], []])
def test_both_ways_agree(lengths: list[int]) -> None:
    torch.manual_seed(0)
    total = sum(lengths)
    offsets = torch.tensor([0, *torch.tensor(lengths, dtype=torch.int64).cumsum(0).tolist()])
    owners = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths, dtype=torch.int64))
    results, gradients = [], []
    weights = torch.randn(len(lengths), 3, dtype=torch.float64)
    values = torch.randn(total, 3, dtype=torch.float64)
    for way in (lambda part: segment_sum(part, offsets, owners), lambda part: reduced(part, offsets)):
        part = values.clone().requires_grad_()
        sums = way(part)
        (sums * weights).sum().backward()
        results.append(sums.detach())
        gradients.append(part.grad)
    starts = [sum(lengths[:place]) for place in range(len(lengths))]
    expected = [values[start : start + length].sum(0) for start, length in zip(starts, lengths, strict=True)]
    torch.testing.assert_close(results[0], torch.stack(expected) if expected else torch.zeros(0, 3, dtype=torch.float64))
    torch.testing.assert_close(results[1], results[0])
    torch.testing.assert_close(gradients[1], gradients[0])
