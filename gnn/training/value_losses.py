"""What a value of a decision costs, against its target.

Values and targets are in log2 of nodes, or of levels with ``importance = "gap"``, but for ``squared``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .losses import Candidates, cross_entropy

__all__ = ["clipped_policy_gradient", "entropy", "hl_gauss", "hl_gauss_shares", "policy_gradient", "probed_losses"]


def hl_gauss_shares(values: Tensor, classes: int, highest: float, sigma: float) -> Tensor:
    """Class probabilities of a target: a Gaussian around it, cut into classes (Imani & White 2018, eq. 3).

    The classes' centres lie evenly on [0, highest], so the outermost classes reach half a class beyond; what the Gaussian
    has outside of all classes is shared out by normalisation.

    Args:
        values: (n,) targets; clipped to [0, highest].
        classes: K >= 2.
        highest: centre of the last class.
        sigma: the Gaussian's deviation, in classes.

    Returns:
        (n, K), each row sums to one.
    """
    distance = highest / (classes - 1)
    edges = (torch.arange(classes + 1, device=values.device, dtype=torch.float64) - 0.5) * distance
    spread = sigma * distance * math.sqrt(2.0)
    clipped = values.double().clamp(0.0, highest)
    below = torch.special.erf((edges - clipped[:, None]) / spread)
    shares = below.diff(dim=1)
    result: Tensor = (shares / shares.sum(1, keepdim=True)).to(values.dtype)
    return result


def hl_gauss(logits: Tensor, values: Tensor, highest: float, sigma: float) -> Tensor:
    """Cross-entropy of classes against HL-Gauss targets, (n,) (Farebrother et al. 2024).

    Args:
        logits: (n, K).
        values: (n,) targets.
        highest: centre of the last class.
        sigma: the Gaussian's deviation, in classes.
    """
    shares = hl_gauss_shares(values, logits.shape[1], highest, sigma)
    return -(shares * logits.log_softmax(1)).sum(1)


def probed_losses(logits: Tensor, probed: Sequence[NDArray[np.float64]]) -> Tensor:
    """Cross-entropy of the best probed candidate among the probed ones, (n,); 0 for decisions that were not probed.

    Args:
        logits: (k,) of all decisions' candidates.
        probed: strong branching's scores of each decision's candidates, NaN for those that were not probed; n arrays, k in all.
    """
    known = torch.tensor([bool(np.isfinite(scores).any()) for scores in probed])
    if not known.any():
        return logits.new_zeros(len(probed))
    counts = torch.tensor([len(scores) for scores in probed])
    of_known = known.repeat_interleave(counts)
    scores = torch.from_numpy(np.concatenate(probed))[of_known]
    device = logits.device
    losses = cross_entropy(logits[of_known.to(device)], scores.to(device), Candidates.from_counts(counts[known]).to(device))
    return losses.new_zeros(len(probed)).index_put((known.nonzero()[:, 0].to(device),), losses)


def policy_gradient(log_probabilities: Tensor, advantages: Tensor) -> Tensor:
    """REINFORCE (Williams 1992): -advantage * log probability of the choice, (n,)."""
    return -advantages * log_probabilities


def clipped_policy_gradient(log_probabilities: Tensor, before: Tensor, advantages: Tensor, clip: float) -> Tensor:
    """The clipped surrogate as a loss, (n,) (Schulman et al. 2017, eq. 7).

    Args:
        log_probabilities: (n,) of the choices, today's.
        before: (n,) the same when the choices were made.
        advantages: (n,).
        clip: how far the ratio may move from 1.
    """
    ratio = (log_probabilities - before).exp()
    return -torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)


def entropy(log_shares: Tensor) -> Tensor:
    """Entropy of each row's distribution, (n,) in nats; -inf marks places that are no candidates."""
    return -(log_shares.exp() * log_shares.masked_fill(log_shares == -torch.inf, 0.0)).sum(1)
