"""A gradient step of the learners that estimate subtree sizes: Q-learning on one round's or on replayed decisions.

Where strong branching has probed the best candidates of a decision, a second loss ranks them: the cross-entropy of
imitation, over the probed candidates, with the scores of the value network as logits. Targets of values compare decisions
of different nodes, of which one candidate each is known; probes compare candidates of one node.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..history import select_history
from ..network import BranchingNetwork
from .learners import Learner
from .queries import Queries
from .reinforcement_recipe import LearningSettings
from .replay import Draw, Stored
from .targets import Targets, path_targets
from .value_losses import entropy, hl_gauss, probed_losses

__all__ = ["Key", "ValueLoss", "collate_decisions", "value_loss"]

Key = tuple[int, int]
"""Number of an episode, and of a decision in it."""


@dataclass(frozen=True)
class ValueLoss:
    """What a batch of decisions cost."""

    loss: Tensor
    """Scalar."""
    errors: list[float]
    """Absolute error of each drawn unit, mean over its decisions; log2 of nodes or of levels (``importance = "gap"``), but
    for ``squared``."""
    bias: float
    """Mean of prediction - target, in the same unit."""
    entropy: float
    """Mean entropy, in nats, of the softmax over the candidates' scores."""


def collate_decisions(stored: Mapping[int, Stored], keys: Sequence[Key], length: int) -> Queries:
    """Decisions of stored episodes as queries, in this order.

    Args:
        stored: the episodes by number.
        keys: all different, at least one.
        length: most steps of a history.
    """
    return Queries.collate(
        keys,
        lambda key: [((key[0], ancestor), child) for ancestor, child in stored[key[0]].histories[key[1]]],
        lambda key: stored[key[0]].episode.state(key[1]),
        lambda key: int(stored[key[0]].episode.choice[key[1]]),
        length,
    )


def value_loss(
    network: BranchingNetwork, target: BranchingNetwork, draws: Sequence[Draw], learner: Learner, settings: LearningSettings
) -> ValueLoss:
    """Loss of today's network on drawn decisions.

    Args:
        network: today's.
        target: the target network.
        draws: at least one.
        learner: how targets are made and compared.
        settings: of the recipe.
    """
    device = network.device
    targets = _targets(target, draws, settings)
    stored = {draw.stored.number: draw.stored for draw in draws}
    keys = [(draw.stored.number, decision) for draw in draws for decision in draw.decisions]
    length = network.config.history_length
    total = torch.from_numpy(np.concatenate([part.constant for part in targets])).float().to(device)
    following = [[(draw.stored.number, other) for other in d] for draw, part in zip(draws, targets, strict=True) for d in part.bootstraps]
    place = {key: index for index, key in enumerate(dict.fromkeys(key for group in following for key in group))}
    if place:
        estimates = _estimates(network, target, collate_decisions(stored, list(place), length).to(device), learner)
        owners = [decision for decision, group in enumerate(following) for _ in group]
        sources = [place[key] for group in following for key in group]
        discount = settings.discount if learner.target == "steps" else 1.0
        owned, taken = torch.tensor(owners, device=device), torch.tensor(sources, device=device)
        total = total.index_add(0, owned, discount * estimates[taken])

    queries = collate_decisions(stored, keys, length).to(device)
    candidates = queries.candidates
    output = queries.logits(network) if learner.classes else queries.scores(network)
    chosen = candidates.first + queries.choices[: len(keys)]
    losses, errors = _compare(output[chosen], total, network, learner, settings)
    corrections = torch.tensor([draw.correction for draw in draws for _ in draw.decisions], device=device)
    scores = -network.values(output) if learner.classes else output
    entropies = entropy(candidates.padded(scores.detach(), -torch.inf).log_softmax(1))
    ranking = probed_losses(scores / settings.ranking_temperature, [stored[number].episode.scores(d) for number, d in keys])
    # Divided by all decisions: a probe weighs the same in every batch.
    loss = ((losses + settings.ranking * ranking) * corrections).sum() / len(keys)
    return ValueLoss(loss, _by_unit(errors, draws), float(errors.mean()), float(entropies.mean()))


@torch.no_grad()
def _estimates(network: BranchingNetwork, target: BranchingNetwork, queries: Queries, learner: Learner) -> Tensor:
    """What the target network says of each query's best candidate, (B,)."""
    frozen = queries.scores(target)
    scores = queries.scores(network) if learner.double else frozen
    best = queries.candidates.padded(scores, -torch.inf).argmax(1)
    return _sizes(frozen[queries.candidates.first + best], learner)


def _sizes(scores: Tensor, learner: Learner) -> Tensor:
    """Subtree sizes (steps for ``squared``) that scores stand for."""
    if learner.loss == "squared":
        return (-scores).clamp(min=0.0)
    return torch.exp2((-scores).clamp(0.0, 40.0))


def _compare(
    output: Tensor, target: Tensor, network: BranchingNetwork, learner: Learner, settings: LearningSettings
) -> tuple[Tensor, Tensor]:
    """Loss and error (prediction - target) of each decision, (n,)."""
    if learner.loss == "squared":
        error = -output - target
        return error.square(), error.detach()
    goal = target.clamp(min=1.0).log2()
    if learner.loss == "classes":
        error = (network.values(output) - goal).detach()
        return hl_gauss(output, goal, network.config.highest, settings.sigma), error
    error = -output - goal
    return (math.log(2.0) * error).square(), error.detach()


def _by_unit(errors: Tensor, draws: Sequence[Draw]) -> list[float]:
    lengths = [len(draw.stored.units[unit]) for draw in draws for unit in draw.units]
    return [float(part.abs().mean()) for part in torch.split(errors.cpu(), lengths)]


def _targets(target: BranchingNetwork, draws: Sequence[Draw], settings: LearningSettings) -> list[Targets]:
    """Targets of each draw's decisions, in their order."""
    attention = _path_attention(target, draws) if any(draw.stored.targets is None for draw in draws) else None
    result = []
    for draw in draws:
        everything = draw.stored.targets
        if everything is not None:
            decisions = draw.decisions
            result.append(Targets(everything.constant[decisions], tuple(everything.bootstraps[decision] for decision in decisions)))
            continue
        assert attention is not None
        parts = []
        for unit in draw.units:
            path = draw.stored.units[unit]
            weights = attention[draw.stored.number, int(path[-1])]
            parts.append(path_targets(draw.stored.episode, path, settings, steps=settings.steps, attention=weights))
        result.append(Targets(np.concatenate([part.constant for part in parts]), tuple(b for part in parts for b in part.bootstraps)))
    return result


@torch.no_grad()
def _path_attention(target: BranchingNetwork, draws: Sequence[Draw]) -> dict[Key, NDArray[np.float64]]:
    """For each drawn path, by its last decision: attention of that decision's choice on the path's steps, (L,).

    The last decision has no step of its own in its history; what goes to the null token counts for it. Steps before the
    path, or beyond the history's length, get nothing.
    """
    ends = [(draw.stored, draw.stored.units[unit]) for draw in draws for unit in draw.units]
    keys = [(stored.number, int(path[-1])) for stored, path in ends]
    length = target.config.history_length
    queries = collate_decisions({stored.number: stored for stored, _ in ends}, keys, length)
    rows = queries.to(target.device).attention(target).cpu()
    chosen = (queries.candidates.first + queries.choices[: len(keys)]).tolist()
    result: dict[Key, NDArray[np.float64]] = {}
    for (stored, path), key, candidate in zip(ends, keys, chosen, strict=True):
        row = rows[candidate].double().numpy()
        steps = stored.histories[key[1]]
        share = {steps[place][0]: row[1 + column] for column, place in enumerate(select_history(len(steps), length))}
        share[key[1]] = row[0]
        result[key] = np.array([share.get(decision, 0.0) for decision in path.tolist()])
    return result
