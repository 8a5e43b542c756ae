"""A gradient step of the learners that change a policy's probabilities: ``tmdp`` and ``finetune``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..network import BranchingNetwork
from .exploration import Exploration
from .losses import Candidates
from .reinforcement_recipe import LearningSettings
from .replay import Draw
from .value_learning import collate_decisions
from .value_losses import clipped_policy_gradient, entropy, hl_gauss, policy_gradient

__all__ = ["PolicyLoss", "policy_loss"]


@dataclass(frozen=True)
class PolicyLoss:
    """What a batch of decisions cost."""

    loss: Tensor
    """Scalar."""
    critic_loss: Tensor | None
    """Scalar, of the critic; None without one."""
    bias: float
    """Mean of the critic's prediction - log2 of the return; 0 without a critic."""
    error: float
    """Mean absolute difference of the same."""
    entropy: float
    """Mean entropy of the policy, in nats."""


def policy_loss(
    network: BranchingNetwork,
    draws: Sequence[Draw],
    settings: LearningSettings,
    exploration: Exploration,
    *,
    critic: BranchingNetwork | None = None,
    initial: BranchingNetwork | None = None,
) -> PolicyLoss:
    """Loss of today's policy on a round's decisions.

    The policy is what explores: candidates are drawn from it, at its temperature and with its epsilon, and its probabilities are what
    learns. Without a critic it is REINFORCE with returns standardised over the batch. With one, a decision's advantage is what the
    critic expected, log2 of the return averaged over the policy's candidates, minus what came.

    Args:
        network: today's; its scores are logits.
        draws: decisions with their targets, which hold the whole return.
        settings: of the recipe.
        exploration: with which the decisions were drawn; of a temperature above 0.
        critic: a network with classes.
        initial: the policy that today's is pulled back to.
    """
    keys = [(draw.stored.number, decision) for draw in draws for decision in draw.decisions]
    device = network.device
    queries = collate_decisions({draw.stored.number: draw.stored for draw in draws}, keys, network.config.history_length).to(device)
    candidates = queries.candidates
    chosen = candidates.first + queries.choices[: len(keys)]
    log_shares = log_choice_shares(queries.scores(network), candidates, exploration)
    taken = log_shares.gather(1, queries.choices[: len(keys), None])[:, 0]
    entropies = entropy(log_shares)
    returns = torch.from_numpy(np.concatenate([_returns(draw) for draw in draws])).float().to(device)

    if critic is None:
        advantages = _standardised(-returns)
        loss = policy_gradient(taken, advantages) - settings.entropy * entropies
        return PolicyLoss(loss.mean(), None, 0.0, 0.0, float(entropies.mean().detach()))

    goal = returns.clamp(min=1.0).log2()
    logits = queries.logits(critic)
    values = critic.values(logits).detach()
    expected = (candidates.padded(values, 0.0) * log_shares.detach().exp()).sum(1)
    advantages = _standardised(expected - goal)
    before = torch.from_numpy(np.concatenate([draw.stored.episode.log_probability[draw.decisions] for draw in draws])).float().to(device)
    loss = clipped_policy_gradient(taken, before, advantages, settings.ratio_clip) - settings.entropy * entropies
    if initial is not None and settings.pull > 0.0:
        with torch.no_grad():
            anchor = log_choice_shares(queries.scores(initial), candidates, exploration)
        loss = loss + settings.pull * divergence(anchor, log_shares, candidates)
    critic_losses = hl_gauss(logits[chosen], goal, critic.config.highest, settings.sigma)
    off = values[chosen] - goal
    return PolicyLoss(loss.mean(), critic_losses.mean(), float(off.mean()), float(off.abs().mean()), float(entropies.mean().detach()))


def log_choice_shares(scores: Tensor, candidates: Candidates, exploration: Exploration) -> Tensor:
    """Logarithms of ``exploration.choice_shares``, to be differentiated: (B, longest), -inf where there is no candidate.

    Args:
        scores: (k,).
        candidates: whose they are.
        exploration: of a temperature above 0.
    """
    log_shares = candidates.padded(scores / exploration.temperature, -torch.inf).log_softmax(1)
    if not exploration.epsilon:
        return log_shares
    counts = candidates.batch.bincount(minlength=candidates.n_nodes)[:, None]
    even = torch.full_like(log_shares, math.log(exploration.epsilon)) - counts.to(log_shares.dtype).log()
    mixed = torch.logaddexp(log_shares + math.log1p(-exploration.epsilon), even) if exploration.epsilon < 1.0 else even
    return torch.where(log_shares == -torch.inf, log_shares, mixed)


def divergence(anchor: Tensor, log_shares: Tensor, candidates: Candidates) -> Tensor:
    """Kullback-Leibler divergence of a policy from its anchor, KL(anchor || policy), (B,); both (B, longest) log shares."""
    real = candidates.padded(torch.ones_like(candidates.place, dtype=anchor.dtype), 0.0) > 0
    difference = torch.where(real, anchor - log_shares, torch.zeros_like(anchor))
    return (anchor.exp() * difference).sum(1)


def _returns(draw: Draw) -> np.ndarray:
    targets = draw.stored.targets
    if targets is None:
        raise ValueError("policy gradients take no importance by attention")
    constant: np.ndarray = targets.constant[draw.decisions]
    return constant


def _standardised(values: Tensor) -> Tensor:
    return (values - values.mean()) / (values.std(correction=0) + 1e-6)
