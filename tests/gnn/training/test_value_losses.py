from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from revibranch.gnn.training.value_losses import (
    clipped_policy_gradient,
    entropy,
    hl_gauss,
    hl_gauss_shares,
    policy_gradient,
    probed_losses,
)


@given(value=st.floats(0, 12), classes=st.integers(8, 64), sigma=st.floats(0.6, 1.5))
def test_shares_sum_to_one_and_have_the_targets_mean_away_from_the_ends(value: float, classes: int, sigma: float) -> None:
    shares = hl_gauss_shares(torch.tensor([value], dtype=torch.float64), classes, 12.0, sigma)
    assert shares.shape == (1, classes)
    assert (shares >= 0).all()
    assert float(shares.sum()) == pytest.approx(1.0)
    distance = 12.0 / (classes - 1)
    if 4 * sigma * distance < value < 12 - 4 * sigma * distance:
        mean = float((shares * torch.linspace(0, 12, classes, dtype=torch.float64)).sum())
        assert mean == pytest.approx(value, abs=0.02 * distance + 1e-4 * 12)


def test_targets_beyond_the_classes_count_as_the_outermost() -> None:
    shares = hl_gauss_shares(torch.tensor([-3.0, 0.0, 10.0, 1e9]), 11, 10.0, 0.5)
    assert torch.equal(shares[0], shares[1])
    assert torch.equal(shares[2], shares[3])


def test_the_loss_is_least_at_the_targets_own_shares() -> None:
    values = torch.tensor([1.3, 6.0])
    shares = hl_gauss_shares(values, 16, 10.0, 0.75)
    logits = shares.clamp(min=1e-30).log().requires_grad_()
    loss = hl_gauss(logits, values, 10.0, 0.75)
    loss.sum().backward()
    assert logits.grad is not None
    assert logits.grad.abs().max() < 1e-6
    assert torch.allclose(loss, -(shares * shares.clamp(min=1e-30).log()).sum(1), atol=1e-6)


def test_probes_rank_the_probed_candidates_and_say_nothing_of_others() -> None:
    nan = math.nan
    logits = torch.tensor([0.5, -1.0, 2.0, 0.3, 0.7, 1.0, -0.2], requires_grad=True)
    probed = [np.array([1.0, 4.0, nan]), np.array([nan, nan]), np.array([7.0, 7.0])]
    losses = probed_losses(logits, probed)
    assert losses.tolist() == pytest.approx(
        [math.log(math.exp(0.5) + math.exp(-1.0)) + 1.0, 0.0, math.log(math.exp(1.0) + math.exp(-0.2)) - (1.0 - 0.2) / 2]
    )
    losses.sum().backward()
    assert logits.grad is not None
    assert logits.grad[1] < 0 < logits.grad[0]
    assert (logits.grad[2:5] == 0).all()
    assert probed_losses(logits[3:5], probed[1:2]).tolist() == [0.0]


def test_reinforce_pushes_good_choices_up() -> None:
    log_probabilities = torch.tensor([-1.0, -2.0], requires_grad=True)
    policy_gradient(log_probabilities, torch.tensor([2.0, -3.0])).sum().backward()
    assert log_probabilities.grad is not None
    assert log_probabilities.grad.tolist() == [-2.0, 3.0]


@pytest.mark.parametrize(("ratio", "advantage", "moves"), [(1.1, 1.0, True), (1.3, 1.0, False), (1.3, -1.0, True), (0.7, -1.0, False)])
def test_the_clipped_surrogate_stops_where_it_has_gone_far_enough(ratio: float, advantage: float, moves: bool) -> None:
    now = torch.tensor([math.log(ratio) - 1.0], requires_grad=True)
    loss = clipped_policy_gradient(now, torch.tensor([-1.0]), torch.tensor([advantage]), 0.2)
    loss.sum().backward()
    assert now.grad is not None
    assert (float(now.grad) != 0.0) == moves
    if moves:
        assert float(now.grad) == pytest.approx(-ratio * advantage, rel=1e-5)


def test_entropy_of_even_shares_is_the_logarithm_of_their_number() -> None:
    table = torch.tensor([[0.0, 0.0, 0.0, -torch.inf], [5.0, -torch.inf, -torch.inf, -torch.inf]]).log_softmax(1)
    assert entropy(table).tolist() == pytest.approx([math.log(3), 0.0], abs=1e-6)
