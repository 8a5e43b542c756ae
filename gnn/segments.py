"""Sums of consecutive rows, the same on every call and on every device up to rounding."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["segment_sum"]


def segment_sum(values: Tensor, offsets: Tensor, owners: Tensor) -> Tensor:
    """Sum the rows of each segment in their order. On a GPU, ``index_add`` would take them in any.

    Args:
        values: (rows, D).
        offsets: (segments + 1,) int64: segment i is ``values[offsets[i]:offsets[i+1]]``; it may be empty.
        owners: (rows,) int64: the segment of each row.

    Returns:
        (segments, D).
    """
    if values.device.type == "cpu":
        return values.new_zeros(len(offsets) - 1, values.shape[1]).index_add_(0, owners, values)
    if len(offsets) == 2:  # a whole graph: below, one thread a column would go through all of it
        return values.sum(0, keepdim=True)
    return reduced(values, offsets)


def reduced(values: Tensor, offsets: Tensor) -> Tensor:
    """The sums by torch's own reduction: a thread for each segment and column, so that long segments take their time."""
    return torch.segment_reduce(values, "sum", offsets=offsets, axis=0, unsafe=True, initial=0)
