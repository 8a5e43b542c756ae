from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from revibranch.branching.state import row_column_names, variable_column_names
from revibranch.gnn.columns import LOGARITHMIC_COLUMNS, MISSING_COLUMNS
from revibranch.gnn.normalisation import ColumnNormalisation, Moments


@given(st.lists(st.integers(0, 20), min_size=1, max_size=5), st.integers(0, 1000))
def test_moments_of_pieces_are_those_of_the_whole(sizes, seed):
    generator = np.random.default_rng(seed)
    pieces = [generator.normal(100.0, 3.0, size=(size, 3)) for size in sizes]
    for piece in pieces:
        piece[generator.random(piece.shape) < 0.2] = np.nan
    moments = Moments()
    for piece in pieces:
        moments.add(torch.from_numpy(piece))
    whole = np.concatenate(pieces)
    for column in range(3):
        present = whole[:, column][~np.isnan(whole[:, column])]
        assert moments.count[column] == len(present)
        if len(present) > 1:
            assert moments.mean[column].item() == pytest.approx(present.mean())
            assert moments.scale()[column].item() == pytest.approx(present.std())


def fitted(values: torch.Tensor, names: tuple[str, ...], available: tuple[str, ...]) -> ColumnNormalisation:
    normalisation, moments = ColumnNormalisation(names, available), Moments()
    moments.add(normalisation.select(values))
    normalisation.fit(moments)
    return normalisation


def test_fitted_data_has_mean_zero_and_deviation_one():
    values = torch.randn(500, 5, generator=torch.Generator().manual_seed(0)) * 7 + 3
    out = fitted(values, row_column_names(), row_column_names())(values)
    torch.testing.assert_close(out.mean(0), torch.zeros(5), atol=1e-5, rtol=0)
    torch.testing.assert_close(out.std(0, correction=0), torch.ones(5), atol=1e-4, rtol=0)


def test_constant_and_unseen_columns_keep_scale_one():
    values = torch.full((10, 5), 0.1)
    values[:, 1] = torch.nan
    normalisation = fitted(values, row_column_names(), row_column_names())
    assert normalisation.inverse_scale.tolist() == [1.0] * 5
    assert normalisation(values).abs().max() < 1e-6


def test_a_missing_value_is_neutral_and_flagged():
    names = variable_column_names(extended=False)
    values = torch.randn(6, 19, generator=torch.Generator().manual_seed(0))
    place = names.index("incumbent_value")
    values[2, place] = torch.nan
    out = fitted(values, names, variable_column_names())(values)
    assert out.shape == (6, 21)
    assert out[2, place] == 0
    assert out[:, 19].tolist() == [0, 0, 1, 0, 0, 0]
    assert out[:, 20].tolist() == [0] * 6


def test_columns_are_read_by_name():
    names = ("pseudocost_up", "objective")
    values = torch.randn(6, 28)
    out = ColumnNormalisation(names, variable_column_names())(values)
    up = values[:, variable_column_names().index("pseudocost_up")]
    torch.testing.assert_close(out, torch.stack([up.sign() * up.abs().log1p(), values[:, 0]], dim=1))


def test_input_is_left_as_it_was():
    values = torch.randn(6, 28)
    before = values.clone()
    ColumnNormalisation(variable_column_names(), variable_column_names())(values)
    torch.testing.assert_close(values, before, rtol=0, atol=0)


def test_values_far_outside_the_data_stay_bounded():
    values = torch.tensor([[1e30, -torch.inf, torch.inf, torch.nan, 0.0]])
    assert ColumnNormalisation(row_column_names(), row_column_names())(values).abs().max() <= 10


def test_too_few_columns_are_refused():
    with pytest.raises(ValueError, match="19 columns; this network reads column 28"):
        ColumnNormalisation(variable_column_names(), variable_column_names())(torch.zeros(2, 19))


def test_the_tables_name_columns_that_exist():
    known = {*variable_column_names(), *row_column_names()}
    assert known >= LOGARITHMIC_COLUMNS
    assert known >= MISSING_COLUMNS
