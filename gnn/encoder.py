"""Encoder: the LP's bipartite graph to variable embeddings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from ..branching.state import row_column_names, variable_column_names
from .batch import GraphBatch
from .halfconv import HalfConvolution
from .normalisation import ColumnNormalisation, Moments

__all__ = ["Encoder"]


class Encoder(nn.Module):
    """Embeds variables and rows, then sends messages from variables to rows and back (Gasse et al. 2019).

    Args:
        variable_columns: names of the variable columns that are read.
        row_columns: names of the row columns that are read.
        width: embedding width D.

    Shapes: a batch with n variables in, (n, D) out.
    """

    def __init__(self, variable_columns: Sequence[str], row_columns: Sequence[str], width: int) -> None:
        super().__init__()
        self.normalise_variables = ColumnNormalisation(variable_columns, variable_column_names())
        self.normalise_rows = ColumnNormalisation(row_columns, row_column_names())
        self.embed_variables = _embedding(self.normalise_variables.width, width)
        self.embed_rows = _embedding(self.normalise_rows.width, width)
        self.to_rows = HalfConvolution(width)
        self.to_variables = HalfConvolution(width)

    def forward(self, batch: GraphBatch) -> Tensor:
        """Variable embeddings, (n, D)."""
        rows, variables = self._embed(batch)
        rows = self.to_rows(rows, variables, batch.structure.by_row)
        embeddings: Tensor = self.to_variables(variables, rows, batch.structure.by_variable)
        return embeddings

    def _embed(self, batch: GraphBatch) -> tuple[Tensor, Tensor]:
        """Rows (m, D) and variables (n, D) before any message."""
        rows: Tensor = self.embed_rows(self.normalise_rows(batch.row_features))
        variables: Tensor = self.embed_variables(self.normalise_variables(batch.variable_features))
        return rows, variables

    @torch.no_grad()
    def fit(self, batches: Iterable[GraphBatch]) -> None:
        """Fit what is fitted once, before training: input normalisation, then the scales behind the sums, first to last.

        Args:
            batches: the data; gone through three times, so no one-way iterator.
        """
        variables, rows, edges = Moments(), Moments(), Moments()
        for batch in batches:
            variables.add(self.normalise_variables.select(batch.variable_features))
            rows.add(self.normalise_rows.select(batch.row_features))
            edges.add(batch.structure.by_row.values[:, None])
        self.normalise_variables.fit(variables)
        self.normalise_rows.fit(rows)
        for half in (self.to_rows, self.to_variables):
            half.fit_edges(edges)

        def first(batch: GraphBatch) -> Tensor:
            return self.to_rows.sum_messages(*self._embed(batch), batch.structure.by_row)

        def second(batch: GraphBatch) -> Tensor:
            rows, variables = self._embed(batch)
            rows = self.to_rows(rows, variables, batch.structure.by_row)
            return self.to_variables.sum_messages(variables, rows, batch.structure.by_variable)

        self.to_rows.fit_scale(first(batch) for batch in batches)
        self.to_variables.fit_scale(second(batch) for batch in batches)


def _embedding(columns: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(columns, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
