"""Reinforcement learning: rounds of rollouts with frozen weights, and gradient steps between them.

With the same recipe and seed a training on a CPU gives the same weights, whatever the number of workers, and also when it was
killed and resumed: rollouts, draws and schedules are functions of the recipe's seed and of counters, all else is in the
state, which is written between rounds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import NoReturn, TypeAlias

import numpy as np
import torch

from ...branching.measures import shifted_geometric_mean
from ..devices import Device
from ..network import BranchingNetwork
from .devices import torch_device
from .errors import TrainingError
from .exploration import Exploration
from .interruption import Interrupted, Signals
from .learners import LEARNERS
from .policy_learning import policy_loss
from .reinforcement_recipe import ReinforcementRecipe
from .reinforcement_state import RunState
from .replay import Draw, Stored, store
from .reports import Learned, RoundReport, ValidationReport, mean
from .rollout import RolloutResult, RolloutTask, Weights
from .sections import settings_of
from .tasks import Outcome, Tasks
from .value_learning import value_loss

__all__ = ["Reinforcement"]

_STATE_SECONDS = 120.0
_STATE_SHARE = 0.05
"""The state is written when writing it takes less than this share of the time since, and at least every so many seconds."""
_NORMALISATION_STATES = 400
"""At most so many states of the first round fit the input normalisation."""
_HOPELESS = 100
"""Episodes without any decision after which there is no point in going on."""
_SEED_EXPLORATION, _SEED_DRAWS, _SEED_ORDER = 1, 2, 3

_Lost: TypeAlias = Outcome[RolloutTask, RolloutResult]


class Reinforcement:
    """One training run.

    Args:
        recipe: what to train.
        out: folder of the state and of the replay's episodes.
        pool: where rollouts run.
        start: the network to start from; None for random weights.
        device: where gradient steps run (``devices.torch_device``); rollouts stay on the CPU. On a GPU, weights repeat up to rounding only.
        seconds: wall seconds of training, those before a resumption included, after which the budget counts as used up; how far it
            comes, depends on the machine.
        on_round: called after every round.
        on_validation: called after every validation.
        on_lost: called with the instance's name and the cause for every episode that was lost.

    Raises:
        TrainingError: the device cannot be used, or ``start`` does not fit the recipe.
    """

    def __init__(
        self,
        recipe: ReinforcementRecipe,
        out: Path,
        pool: Tasks[RolloutTask, Weights | None, RolloutResult],
        *,
        start: BranchingNetwork | None = None,
        device: Device = "cpu",
        seconds: float | None = None,
        on_round: Callable[[RoundReport], None] | None = None,
        on_validation: Callable[[ValidationReport], None] | None = None,
        on_lost: Callable[[str, str], None] | None = None,
    ) -> None:
        self.recipe = recipe
        self.out = out
        self.learner = LEARNERS[recipe.learner]
        self._pool = pool
        self._on_round, self._on_validation, self._on_lost = on_round, on_validation, on_lost
        torch.set_num_threads(recipe.threads)
        self.state = RunState(recipe, start, torch_device(device))
        self._seconds, self._began = seconds, monotonic()
        self._written, self._save_seconds = monotonic(), 0.0

    @property
    def share(self) -> float:
        """Share of the budget that is used up, 0 .. 1: of decisions or, where time is limited and runs out faster, of seconds."""
        decisions = self.state.decisions / self.recipe.rollout.decisions
        return min(1.0, max(decisions, 0.0 if self._seconds is None else (monotonic() - self._began) / self._seconds))

    @property
    def best(self) -> ValidationReport:
        """The validation whose weights ``run`` returns: the first of the best of those that lost no instance; without such, the last."""
        complete = [report for report in self.state.validations if not report.lost]
        return min(complete, key=lambda report: report.rank) if complete else self.state.validations[-1]

    def run(self, *, resume: bool = False) -> BranchingNetwork:
        """Train to the end of the budget.

        Args:
            resume: go on from the state in ``out``, which may be that of a finished run.

        Returns:
            The network with the best weights, in evaluation mode.

        Raises:
            Interrupted: SIGINT or SIGTERM came; the state is written.
            StateError: the state to go on from cannot be used.
            OSError: something cannot be written; the last state is as it was.
            TrainingError: the instances need no branching.
            RuntimeError: all episodes of a round or all instances of a validation were lost.
        """
        self._began = monotonic()
        with Signals() as signals:
            if resume:
                self.state.load(self.out)
                self._began -= self.state.seconds
            while not self.state.finished:
                if not self.state.validating:
                    self._round(signals)
                ended = self.share >= 1.0
                due = self.state.decisions - self.state.validated >= self.recipe.validation.every
                if ended or due or self.state.validating:
                    self._validate(signals)
                self.state.finished = ended
                patience = min(self._save_seconds / _STATE_SHARE, _STATE_SECONDS)
                if self.state.finished or signals.received is not None or monotonic() - self._written >= patience:
                    self._save()
                if signals.received is not None:
                    raise Interrupted(signals.received)
        network = self.state.network
        network.load_state_dict(self.state.best)
        return network.eval()

    # ---- a round ---------------------------------------------------------------------------------------------------

    def _round(self, signals: Signals) -> None:
        began = monotonic()
        tasks = self._tasks()
        results, lost = self._roll_out(tasks, self._weights(self.state.rollout_network), signals)
        self._tell(lost)
        rolled = monotonic()
        state, recipe = self.state, self.recipe
        if not results:
            raise RuntimeError("all episodes of a round were lost; the first cause was reported")
        recorded = [(number, result.episode) for number, result in sorted(results.items()) if result.episode is not None]
        fresh = [store(number, episode, self.learner, recipe.learning) for number, episode in recorded]
        state.episodes += len(tasks)
        state.decisions += sum(len(stored.episode) for stored in fresh)
        at_random = not state.warm
        if at_random:
            self._warm_up(fresh)
        learned = Learned()
        if not self.learner.on_policy:
            learned = self._learn_values(fresh)
        elif not at_random:
            learned = self._learn_policy(fresh, tasks[0].exploration)
        state.round += 1
        self._report([result for _, result in sorted(results.items())], learned, rolled - began, monotonic() - rolled)

    def _report(self, results: Sequence[RolloutResult], learned: Learned, rollout_seconds: float, learning_seconds: float) -> None:
        state = self.state
        ages = [state.episodes - stored.number for stored in state.replay.episodes]
        report = RoundReport(
            round=state.round,
            decisions=state.decisions,
            episodes=state.episodes,
            steps=state.step,
            nodes=shifted_geometric_mean([result.nodes for result in results], 10.0),
            lp_iterations=shifted_geometric_mean([result.lp_iterations for result in results], 100.0),
            loss=mean(learned.losses),
            bias=mean(learned.biases),
            error=mean(learned.errors),
            entropy=mean(learned.entropies),
            buffer_age=mean(ages),
            buffer_decisions=len(state.replay),
            round_episodes=len(results),
            round_steps=len(learned.losses),
            rollout_seconds=rollout_seconds,
            learning_seconds=learning_seconds,
        )
        if self._on_round is not None:
            self._on_round(report)

    def _tasks(self) -> list[RolloutTask]:
        state, recipe, rollout = self.state, self.recipe, self.recipe.rollout
        explored = min(1.0, self.share / rollout.exploration_share)
        temperature = rollout.temperature * (rollout.last_temperature / rollout.temperature) ** explored
        epsilon = rollout.epsilon + (rollout.last_epsilon - rollout.epsilon) * explored
        count = rollout.warm_up if state.round == 0 and rollout.warm_up else rollout.episodes
        return [
            RolloutTask(
                instance=recipe.instances.training(number, recipe.size_at(self.share)),
                settings=settings_of(rollout.settings, recipe.seed, number),
                node_limit=rollout.node_limit,
                time_limit=rollout.time_limit,
                exploration=Exploration(temperature, epsilon, rollout.probing, rollout.probes),
                entropy=(recipe.seed, _SEED_EXPLORATION, number),
                random=not state.warm,
            )
            for number in range(state.episodes, state.episodes + count)
        ]

    def _roll_out(self, tasks: Sequence[RolloutTask], weights: Weights, signals: Signals) -> tuple[dict[int, RolloutResult], list[_Lost]]:
        """Results by the task's number, and what was lost.

        A signal gives up what runs and writes the state: nothing has changed since the tasks were made.
        """
        results: dict[int, RolloutResult] = {}
        lost: list[_Lost] = []
        outcomes = self._pool.run(tasks, weights)
        for outcome in outcomes:
            if signals.received is not None:
                break
            if outcome.result is None:
                lost.append(outcome)
            else:
                results[outcome.task.entropy[-1]] = outcome.result
        if signals.received is not None and len(results) < len(tasks):  # also where it was the signal that lost the last one
            close = getattr(outcomes, "close", None)
            if close is not None:
                close()
            self._stop(signals.received)
        return results, lost

    def _stop(self, number: int) -> NoReturn:
        self._save()
        raise Interrupted(number)

    def _tell(self, lost: Sequence[_Lost]) -> None:
        if self._on_lost is not None:
            for outcome in lost:
                self._on_lost(outcome.task.instance.name, str(outcome.error))

    def _weights(self, network: BranchingNetwork) -> Weights:
        tensors = {name: tensor.detach().cpu().numpy().copy() for name, tensor in network.state_dict().items()}
        return Weights(self.state.step, network.config, tensors)

    def _warm_up(self, fresh: Sequence[Stored]) -> None:
        """Fit the input normalisation on what random branching saw."""
        places = [(stored, decision) for stored in fresh for decision in range(len(stored.episode))]
        if not places:
            if self.state.episodes >= _HOPELESS:
                raise TrainingError(f"the first {self.state.episodes} episodes have no decision: the instances are too easy")
            return
        every = -(-len(places) // _NORMALISATION_STATES)
        states = [stored.episode.state(decision) for stored, decision in places[::every]]
        for network in self.state.networks():
            network.fit_normalisation(states)
        self.state.copy_target()
        self.state.restart_mean()
        self.state.warm = True

    # ---- learning --------------------------------------------------------------------------------------------------

    def _learn_values(self, fresh: Sequence[Stored]) -> Learned:
        state, settings = self.state, self.recipe.learning
        for stored in fresh:
            state.replay.add(stored)
        state.acting = None
        due = int(settings.updates_per_decision * state.decisions) - state.step
        learned = Learned()
        state.network.train()
        for _ in range(max(0, due)):
            random = np.random.default_rng((self.recipe.seed, _SEED_DRAWS, state.step))
            draws = state.replay.draw(random, settings.batch)
            if not draws:
                break
            result = value_loss(state.network, state.target, draws, self.learner, settings)
            self._descend(state.network, state.optimiser, result.loss)
            state.replay.reprioritise(draws, result.errors)
            learned.add(float(result.loss.detach()), result.bias, sum(result.errors) / len(result.errors), result.entropy)
            state.step += 1
            state.move_mean()
            if state.step % settings.target_every == 0:
                state.copy_target()
        return learned

    def _learn_policy(self, fresh: Sequence[Stored], exploration: Exploration) -> Learned:
        state, settings = self.state, self.recipe.learning
        learned = Learned()
        state.acting = None
        state.network.train()
        for turn in range(settings.passes):
            random = np.random.default_rng((self.recipe.seed, _SEED_ORDER, state.round, turn))
            for draws in _passes(fresh, random, settings.batch, settings.paths_per_episode):
                result = policy_loss(state.network, draws, settings, exploration, critic=state.critic, initial=state.initial)
                # The critic alone learns first: advantages against a random critic would undo the initial policy.
                if state.round > 0 or state.critic is None:
                    self._descend(state.network, state.optimiser, result.loss)
                if state.critic is not None and state.critic_optimiser is not None and result.critic_loss is not None:
                    self._descend(state.critic, state.critic_optimiser, result.critic_loss)
                learned.add(float(result.loss.detach()), result.bias, abs(result.bias), result.entropy)
                state.step += 1
                state.move_mean()
        return learned

    def _descend(self, network: BranchingNetwork, optimiser: torch.optim.Adam, loss: torch.Tensor) -> None:
        settings = self.recipe.learning
        turn = (1 + math.cos(math.pi * self.share)) / 2
        for group in optimiser.param_groups:
            group["lr"] = settings.last_learning_rate + (settings.learning_rate - settings.last_learning_rate) * turn
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), settings.clip)
        optimiser.step()

    # ---- validation and state --------------------------------------------------------------------------------------

    def _validate(self, signals: Signals) -> None:
        """Validate. An interrupt leaves nothing of it but that it is to be done.

        Instances that are lost are tried once more: by then, what took them may be over.
        """
        state = self.state
        state.validating = True
        if signals.received is not None:
            self._stop(signals.received)
        weights = self._weights(state.validated_network)
        results, lost = self._roll_out(self._validation_tasks(), weights, signals)
        if lost:
            found, lost = self._roll_out([outcome.task for outcome in lost], weights, signals)
            results |= found
            self._tell(lost)
        if not results:
            self._save()
            raise RuntimeError("all instances of a validation were lost; the first cause was reported")
        report = ValidationReport.of(state.decisions, [result for _, result in sorted(results.items())], len(lost))
        state.validations.append(report)
        if self.best is report:
            state.best = {name: tensor.detach().clone() for name, tensor in state.validated_network.state_dict().items()}
        state.validated = state.decisions
        state.validating = False
        if self._on_validation is not None:
            self._on_validation(report)

    def _validation_tasks(self) -> list[RolloutTask]:
        recipe = self.recipe
        like = self._tasks()[0]
        return [
            replace(
                like,
                instance=instance,
                settings=settings_of(recipe.rollout.settings, recipe.seed, number),
                node_limit=recipe.validation.node_limit,
                exploration=Exploration(),
                entropy=(number,),
                random=False,
                record=False,
            )
            for number, instance in enumerate(recipe.instances.validations(recipe.validation.instances))
        ]

    def _save(self) -> None:
        began = monotonic()
        self.state.seconds = began - self._began
        self.state.save(self.out)
        self._written = monotonic()
        self._save_seconds = self._written - began


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
