"""The probabilities that policy gradients learn are those that decisions were drawn with."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from revibranch.gnn.training.exploration import Exploration, choice_shares
from revibranch.gnn.training.losses import Candidates
from revibranch.gnn.training.policy_learning import log_choice_shares


@given(
    nodes=st.lists(st.lists(st.floats(-3, 3), min_size=1, max_size=6), min_size=1, max_size=4),
    temperature=st.sampled_from([0.1, 1.0, 5.0]),
    epsilon=st.sampled_from([0.0, 0.1, 0.9, 1.0]),
)
def test_shares_are_those_of_exploration(nodes: list[list[float]], temperature: float, epsilon: float) -> None:
    exploration = Exploration(temperature, epsilon)
    candidates = Candidates.from_counts(torch.tensor([len(scores) for scores in nodes]))
    flat = torch.tensor([score for scores in nodes for score in scores], dtype=torch.float64, requires_grad=True)
    found = log_choice_shares(flat, candidates, exploration)
    for row, scores in zip(found, nodes, strict=True):
        expected = choice_shares(np.array(scores), exploration)
        assert row[: len(scores)].exp().tolist() == pytest.approx(expected.tolist(), abs=1e-12)
        assert (row[len(scores) :] == -torch.inf).all()
    found[found > -torch.inf].sum().backward()
    assert flat.grad is None or flat.grad.isfinite().all()
