"""The gradient steps of a training by reinforcement: on values, from the replay, or on a policy, over a round's episodes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch

from ..network import BranchingNetwork
from .errors import TrainingError
from .exploration import Exploration
from .learners import LEARNERS
from .policy_learning import policy_loss
from .reinforcement_recipe import ReinforcementRecipe
from .reinforcement_state import RunState
from .replay import Draw, Stored
from .reports import Learned
from .value_learning import value_loss

__all__ = ["GradientSteps"]

_SEED_DRAWS, _SEED_ORDER = 2, 3
"""Set these draws apart from others of the same seed and counter."""


class GradientSteps:
    """Changes the state's networks as the recipe says.

    Its methods raise ``TrainingError`` where a loss is not finite, before that changes a weight.

    Args:
        recipe: of the run.
        state: of the run; its counters say which draws come next.
        share: tells which share of the budget is used up, 0 .. 1; learning rates follow it.
    """

    def __init__(self, recipe: ReinforcementRecipe, state: RunState, share: Callable[[], float]) -> None:
        self._recipe, self._state, self._share = recipe, state, share

    def on_values(self, fresh: Sequence[Stored]) -> Learned:
        """Put a round's episodes into the replay, and do the steps that are due for the decisions so far."""
        state, settings = self._state, self._recipe.learning
        learner = LEARNERS[self._recipe.learner]
        for stored in fresh:
            state.replay.add(stored)
        state.acting = None
        due = int(settings.updates_per_decision * state.decisions) - state.step
        learned = Learned()
        state.network.train()
        for _ in range(max(0, due)):
            random = np.random.default_rng((self._recipe.seed, _SEED_DRAWS, state.step))
            draws = state.replay.draw(random, settings.batch)
            if not draws:
                break
            result = value_loss(state.network, state.target, draws, learner, settings)
            self._descend(state.network, state.optimiser, result.loss)
            state.replay.reprioritise(draws, result.errors)
            learned.add(float(result.loss.detach()), result.bias, sum(result.errors) / len(result.errors), result.entropy)
            state.step += 1
            state.move_mean()
            if state.step % settings.target_every == 0:
                state.copy_target()
        return learned

    def on_policy(self, fresh: Sequence[Stored], exploration: Exploration) -> Learned:
        """Pass over a round's episodes, which were drawn with this exploration, as often as the recipe says."""
        state, settings = self._state, self._recipe.learning
        learned = Learned()
        state.acting = None
        state.network.train()
        for turn in range(settings.passes):
            random = np.random.default_rng((self._recipe.seed, _SEED_ORDER, state.round, turn))
            for draws in _passes(fresh, random, settings.batch, settings.paths_per_episode):
                result = policy_loss(state.network, draws, settings, exploration, critic=state.critic, initial=state.initial)
                # The critic alone learns first: advantages against a random critic would undo the initial policy.
                if state.round > 0 or state.critic is None:
                    self._descend(state.network, state.optimiser, result.loss)
                if state.critic is not None and state.critic_optimiser is not None and result.critic_loss is not None:
                    self._descend(state.critic, state.critic_optimiser, result.critic_loss)
                learned.add(float(result.loss.detach()), result.bias, result.error, result.entropy)
                state.step += 1
                state.move_mean()
        return learned

    def _descend(self, network: BranchingNetwork, optimiser: torch.optim.Adam, loss: torch.Tensor) -> None:
        settings = self._recipe.learning
        if not torch.isfinite(loss):
            raise TrainingError(f"the loss of gradient step {self._state.step + 1} is {loss.item()}: lower learning.learning_rate")
        turn = (1 + math.cos(math.pi * self._share())) / 2
        for group in optimiser.param_groups:
            group["lr"] = settings.last_learning_rate + (settings.learning_rate - settings.last_learning_rate) * turn
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), settings.clip)
        optimiser.step()


def _passes(fresh: Sequence[Stored], random: np.random.Generator, batch: int, per_episode: int) -> list[list[Draw]]:
    """All units once, in batches of about so many decisions, a few units of an episode together."""
    groups: list[Draw] = []
    for stored in fresh:
        order = random.permutation(len(stored.units)).tolist()
        groups += [Draw(stored, tuple(order[begin : begin + per_episode])) for begin in range(0, len(order), per_episode)]
    batches: list[list[Draw]] = []
    size = batch
    for place in random.permutation(len(groups)).tolist():
        if size >= batch:
            batches.append([])
            size = 0
        batches[-1].append(groups[place])
        size += len(groups[place].decisions)
    return batches
