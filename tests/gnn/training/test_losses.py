from __future__ import annotations

import math

import torch

from revibranch.gnn.training.losses import Candidates, cross_entropy, expert_best, hits

NAN = math.nan


def nodes(*counts: int) -> Candidates:
    return Candidates.from_counts(torch.tensor(counts))


def test_loss_against_numbers_by_hand() -> None:
    logits = torch.tensor([0.0, math.log(3.0), 1.0, 1.0])
    scores = torch.tensor([1.0, 2.0, 5.0, 4.0], dtype=torch.float64)
    loss = cross_entropy(logits, scores, nodes(2, 2))
    torch.testing.assert_close(loss, torch.tensor([math.log(4 / 3), math.log(2.0)]))


def test_ties_share_the_target() -> None:
    # Shares 1/6, 2/6, 3/6; the first and the last tie: -(log 1/6 + log 3/6) / 2.
    logits = torch.tensor([1.0, 2.0, 3.0]).log()
    scores = torch.tensor([7.0, 0.0, 7.0], dtype=torch.float64)
    torch.testing.assert_close(cross_entropy(logits, scores, nodes(3)), torch.tensor([(math.log(6.0) + math.log(2.0)) / 2]))


def test_invalid_candidates_take_no_part() -> None:
    logits = torch.tensor([50.0, 0.0, 0.0], requires_grad=True)
    scores = torch.tensor([NAN, 1.0, 0.5], dtype=torch.float64)
    loss = cross_entropy(logits, scores, nodes(3))
    torch.testing.assert_close(loss.detach(), torch.tensor([math.log(2.0)]))
    loss.sum().backward()
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, torch.tensor([0.0, -0.5, 0.5]))


def test_gradients_are_finite_with_padding_and_masks() -> None:
    logits = torch.tensor([0.3, -0.2, 0.9, 0.1, 0.0], requires_grad=True)
    scores = torch.tensor([1.0, NAN, NAN, 2.0, 2.0], dtype=torch.float64)
    cross_entropy(logits, scores, nodes(1, 4)).mean().backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_best_ties_only_within_rounding() -> None:
    scores = torch.tensor([1e6, 1e6 * (1 + 1e-12), 1e6 * (1 + 1e-6), 0.0, 0.0, -1.0], dtype=torch.float64)
    assert expert_best(scores, nodes(3, 3)).tolist() == [[False, False, True], [True, True, False]]
    assert expert_best(scores[:2], nodes(2)).tolist() == [[True, True]]


def test_a_hit_may_be_lost_to_an_invalid_candidate() -> None:
    scores = torch.tensor([NAN, 3.0, 1.0], dtype=torch.float64)
    logits = torch.tensor([9.0, 2.0, 1.0])
    assert hits(logits, scores, nodes(3), 1).tolist() == [False]
    assert hits(logits, scores, nodes(3), 2).tolist() == [True]


def test_more_places_than_candidates() -> None:
    scores = torch.tensor([1.0, 2.0, 2.0, 1.0, 0.0], dtype=torch.float64)
    logits = torch.tensor([1.0, 0.0, 0.0, 2.0, 1.0])
    assert hits(logits, scores, nodes(2, 3), 5).tolist() == [True, True]
    assert hits(logits, scores, nodes(2, 3), 1).tolist() == [False, False]
