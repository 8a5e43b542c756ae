"""Input normalisation: fitted on data once, stored with the weights, and neutral where a value is missing."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .columns import LIMIT, LOGARITHMIC_COLUMNS, MISSING_COLUMNS

__all__ = ["ColumnNormalisation", "Moments"]


class Moments:
    """Count, mean and variance of columns over many tensors, in double precision; NaN and infinities are left out."""

    def __init__(self) -> None:
        self.count = torch.zeros(1, dtype=torch.float64)
        self.mean = torch.zeros(1, dtype=torch.float64)
        self.squares = torch.zeros(1, dtype=torch.float64)

    def add(self, values: Tensor) -> None:
        """Take in (rows, columns) values (Chan, Golub & LeVeque 1979: exact merging of moments)."""
        values = values.detach().double().cpu()
        present = values.isfinite()
        values = values.where(present, 0.0)
        count = present.sum(0).double()
        mean = values.sum(0) / count.clamp(min=1)
        squares = ((values - mean).square() * present).sum(0)
        total = self.count + count
        difference = mean - self.mean
        self.squares = self.squares + squares + difference.square() * self.count * count / total.clamp(min=1)
        self.mean = self.mean + difference * count / total.clamp(min=1)
        self.count = total

    def scale(self) -> Tensor:
        """Standard deviation of each column; 1 where a column is constant up to rounding, or was never seen."""
        deviation = (self.squares / self.count.clamp(min=1)).sqrt()
        return deviation.where(deviation > 1e-6 * self.mean.abs().clamp(min=1), 1.0)


class ColumnNormalisation(nn.Module):
    """Brings named columns to mean 0 and deviation 1 on the data it was fitted on.

    Args:
        names: columns that are read, in the order in which they come out.
        available: names of the columns of the input; they may go on behind those that are read.

    Shapes: (rows, columns) in, (rows, ``width``) out: the named columns, then a 0/1 flag for each of those that can be
    missing. A missing value becomes 0, the mean.
    """

    logarithmic: Tensor
    mean: Tensor
    inverse_scale: Tensor

    def __init__(self, names: Sequence[str], available: Sequence[str]) -> None:
        super().__init__()
        self.places = [available.index(name) for name in names]
        self.prefix = self.places == list(range(len(names)))
        logarithmic = [place for place, name in enumerate(names) if name in LOGARITHMIC_COLUMNS]
        self.missing = [place for place, name in enumerate(names) if name in MISSING_COLUMNS]
        self.width = len(names) + len(self.missing)
        self.register_buffer("logarithmic", torch.tensor(logarithmic, dtype=torch.int64), persistent=False)
        self.register_buffer("mean", torch.zeros(len(names)))
        self.register_buffer("inverse_scale", torch.ones(len(names)))

    def select(self, values: Tensor) -> Tensor:
        """The named columns, heavy tails pulled in; a new tensor.

        Raises:
            ValueError: the input lacks a named column.
        """
        if values.shape[1] <= max(self.places):
            raise ValueError(f"the state has {values.shape[1]} columns; this network reads column {max(self.places) + 1}")
        chosen = values[:, : len(self.places)].clone() if self.prefix else values[:, self.places]
        if len(self.logarithmic):
            heavy = chosen.index_select(1, self.logarithmic)
            chosen.index_copy_(1, self.logarithmic, heavy.abs().log1p_().copysign_(heavy))
        return chosen

    def fit(self, moments: Moments) -> None:
        """Take mean and scale from the moments of selected columns."""
        self.mean.copy_(moments.mean)
        self.inverse_scale.copy_(1.0 / moments.scale())

    def forward(self, values: Tensor) -> Tensor:
        """Normalised columns and flags, (rows, ``width``) float32, always finite."""
        chosen = self.select(values)
        absent = chosen.isnan()
        normal = chosen.sub_(self.mean).mul_(self.inverse_scale).nan_to_num_(nan=0.0).clamp_(-LIMIT, LIMIT)
        return torch.cat([normal, absent[:, self.missing].to(normal.dtype)], dim=1) if self.missing else normal
