"""Reinforcement learning: rounds of rollouts with frozen weights, and gradient steps between them.

With the same recipe and seed a training on a CPU gives the same weights, whatever the number of workers, and also when it was
killed and resumed: rollouts, draws and schedules are functions of the recipe's seed and of counters, all else is in the
state, which is written between rounds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import NoReturn, TypeAlias

import torch

from ...branching.measures import shifted_geometric_mean
from ...branching.workers.pool import Outcome
from ..devices import Device
from ..network import BranchingNetwork
from .devices import torch_device
from .errors import TrainingError
from .exploration import Exploration
from .gradient_steps import GradientSteps
from .interruption import Interrupted, Signals
from .learners import LEARNERS
from .reinforcement_recipe import ReinforcementRecipe
from .reinforcement_state import RunState
from .replay import store
from .reports import Learned, RoundReport, ValidationReport, mean
from .rollout import RolloutResult, RolloutTask, Weights
from .sections import settings_of
from .tasks import Tasks

__all__ = ["Reinforcement"]

_STATE_SECONDS = 120.0
_STATE_SHARE = 0.05
"""The state is written when writing it takes less than this share of the time since, and at least every so many seconds."""
_HOPELESS = 100
"""Episodes without any decision after which there is no point in going on."""
_SEED_EXPLORATION = 1
"""Sets these draws apart from others of the same seed and counter, as those of ``gradient_steps`` and ``sections`` are."""

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
        self._steps = GradientSteps(recipe, self.state, lambda: self.share)
        self._seconds, self._began = seconds, monotonic()
        self._written, self._save_seconds = monotonic(), 0.0
        self._barren = (0, 0)
        """Episodes since the last one with a decision, and how many of them were lost."""

    @property
    def share(self) -> float:
        """Share of the budget that is used up, 0 .. 1: of decisions or, where time is limited and runs out faster, of seconds."""
        decisions = self.state.decisions / self.recipe.rollout.decisions
        return min(1.0, max(decisions, 0.0 if self._seconds is None else (monotonic() - self._began) / self._seconds))

    @property
    def best(self) -> ValidationReport:
        """The validation whose weights ``run`` returns: the last of the best of those that lost no instance; without such, the last."""
        complete = [report for report in self.state.validations if not report.lost]
        return min(complete, key=lambda report: (report.rank, -report.decisions)) if complete else self.state.validations[-1]

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
            TrainingError: the instances need no branching, episodes that do are all lost, or a loss is not finite.
            RuntimeError: all episodes of a round or all instances of a validation were lost.
        """
        self._began = monotonic()
        with Signals() as signals:
            if resume:
                self.state.load(self.out)
                self._began -= self.state.seconds
            else:
                self.state.tidy(self.out)
            while not self.state.finished:
                if not self.state.validating:
                    self._round(signals)
                ended = self.share >= 1.0
                due = self.state.decisions - self.state.validated >= self.recipe.validation.every
                if ended or due or self.state.validating:
                    self._validate(signals)
                # Validating takes time too: where it used up the rest, the weights that it looked at are the last.
                self.state.finished = ended or (self.share >= 1.0 and self.state.validated == self.state.decisions)
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
        self._see_progress(len(tasks), len(lost), bool(fresh))
        at_random = not state.warm
        if at_random:
            state.fit_normalisation(fresh)
        learned = Learned()
        if not self.learner.on_policy:
            learned = self._steps.on_values(fresh)
        elif not at_random:
            learned = self._steps.on_policy(fresh, tasks[0].exploration)
        state.round += 1
        self._report([result for _, result in sorted(results.items())], learned, rolled - began, monotonic() - rolled)

    def _see_progress(self, episodes: int, lost: int, decided: bool) -> None:
        """Give up where no episode comes to a decision, or all that do are lost: the budget of decisions would never be used up."""
        state = self.state
        if not state.decisions and state.episodes >= _HOPELESS:
            raise TrainingError(f"the first {state.episodes} episodes have no decision: the instances are too easy")
        barren, missing = (0, 0) if decided else (self._barren[0] + episodes, self._barren[1] + lost)
        self._barren = (barren, missing)
        if barren >= _HOPELESS and missing:
            raise TrainingError(f"the last {barren} episodes have no decision, and {missing} of them were lost: their causes were reported")

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
        with closing(self._pool.run(tasks, weights)) as outcomes:
            for outcome in outcomes:
                if signals.received is not None:
                    break
                if outcome is None:
                    continue
                if outcome.result is None:
                    lost.append(outcome)
                else:
                    results[outcome.task.entropy[-1]] = outcome.result
        if signals.received is not None and len(results) < len(tasks):  # also where it was the signal that lost the last one
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
        return Weights(network.config, tensors)

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
