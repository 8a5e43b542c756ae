"""Validations of a training: what they run with, which of them is the best, and what an interrupt or a lost instance does to them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from revibranch.branching.workers.pool import Outcome
from revibranch.gnn.training.interruption import Interrupted
from revibranch.gnn.training.reports import ValidationReport
from revibranch.gnn.training.rollout import RolloutResult, RolloutTask, Weights, roll_out
from revibranch.gnn.training.sections import settings_of
from revibranch.gnn.training.tasks import SerialTasks

from .trainings import Rollout, beginning, recipe, run


@pytest.mark.parametrize("learner", ["revibranch", "tmdp"])
def test_averaged_weights_are_validated_and_come_out(tmp_path: Path, learner: str) -> None:
    rolled: dict[int, Weights] = {}
    validated: dict[int, Weights] = {}

    class Watching(SerialTasks[RolloutTask, Weights | None, RolloutResult]):
        def run(self, tasks: Iterable[RolloutTask], weights: Weights | None) -> Iterator[Outcome[RolloutTask, RolloutResult]]:
            listed = list(tasks)
            if weights is not None:
                (rolled if listed[0].record else validated)[training.state.step] = weights
            return super().run(listed, weights)

    latest: dict[str, torch.Tensor] = {}
    training = run(
        recipe(tmp_path, learner, "learning.averaging=0.9", "validation.every=1"),
        tmp_path / "run",
        Watching(roll_out),
        on_validation=lambda report: latest.update({name: tensor.clone() for name, tensor in network.state_dict().items()}),
    )
    state = training.state
    network = state.network
    means = [parameter.detach().clone() for parameter in network.parameters()]
    move, restart = state.move_mean, state.restart_mean

    def moved() -> None:
        decay = min(0.9, (1 + state.step) / (10 + state.step))
        for mean, latest in zip(means, network.parameters(), strict=True):
            mean.copy_(decay * mean + (1 - decay) * latest.detach())
        move()

    def restarted() -> None:
        for mean, latest in zip(means, network.parameters(), strict=True):
            mean.copy_(latest.detach())
        restart()

    state.move_mean, state.restart_mean = moved, restarted  # type: ignore[method-assign]
    training.run()
    assert state.mean is not None
    for mean, ours in zip(means, state.mean.parameters(), strict=True):
        torch.testing.assert_close(ours.detach(), mean)
    # The last validation branched with the mean, not with the latest weights.
    last = {name: torch.from_numpy(array) for name, array in validated[max(validated)].tensors.items()}
    averaged = state.mean.state_dict()
    assert all(torch.equal(last[name], averaged[name]) for name in last)
    assert any(not torch.equal(last[name], latest[name]) for name in last)
    # Rollouts branch with the mean too, but for policy gradients.
    alike = [same_tensors(rolled[step], validated[step]) for step in rolled.keys() & validated.keys() if step]
    assert alike
    assert all(alike) if learner == "revibranch" else not any(alike)
    # Normalisation is fitted, not averaged.
    assert torch.equal(averaged["encoder.normalise_rows.mean"], latest["encoder.normalise_rows.mean"])


def test_rollouts_and_validations_take_the_settings_of_their_instance(tmp_path: Path) -> None:
    tasks: list[RolloutTask] = []

    def watched(task: RolloutTask, weights: Weights | None) -> RolloutResult:
        tasks.append(task)
        return roll_out(task, weights)

    settings = recipe(tmp_path, "revibranch", "rollout.settings=['clean', 'default']", "validation.instances=4")
    run(settings, tmp_path / "run", SerialTasks(watched)).run()
    instances = settings.instances
    for purpose in (instances.training, instances.validation):
        expected = {purpose(number): settings_of(("clean", "default"), settings.seed, number) for number in range(50)}
        found = {task.instance: task.settings for task in tasks if task.instance in expected}
        assert set(found.values()) == {"clean", "default"}
        assert found == {instance: expected[instance] for instance in found}


def same_tensors(one: Weights, other: Weights) -> bool:
    return all((one.tensors[name] == other.tensors[name]).all() for name in one.tensors)


def test_what_solves_more_ranks_before_what_was_cut_off_early() -> None:
    cut_off, solved = ValidationReport(1, 30.0, 100.0, 1, 10), ValidationReport(2, 50.0, 100.0, 0, 10)
    assert min((cut_off, solved), key=lambda report: report.rank) is solved
    assert ValidationReport(3, 40.0, 100.0, 0, 10).rank < solved.rank


class Validating(SerialTasks[RolloutTask, Weights | None, RolloutResult]):
    """Does something to the outcomes of validations, given the number of the attempt."""

    def __init__(self, change: Callable[[int, Rollout], Rollout]) -> None:
        super().__init__(roll_out)
        self.change, self.attempts = change, 0

    def run(self, tasks: Iterable[RolloutTask], shared: Weights | None) -> Iterator[Rollout]:
        listed = list(tasks)
        validates = not listed[0].record
        self.attempts += validates
        for outcome in super().run(listed, shared):
            yield self.change(self.attempts, outcome) if validates else outcome


def gone(outcome: Rollout) -> Rollout:
    return Outcome(outcome.task, None, "the worker died")


@pytest.mark.parametrize("place", [0, 1])  # the signal takes the solve that runs, as where it ends the worker
def test_a_validation_that_a_signal_interrupts_is_done_anew(tmp_path: Path, place: int) -> None:
    settings = recipe(tmp_path)
    whole = run(settings, tmp_path / "whole")
    expected = whole.run().state_dict()
    rounds: list[int] = []

    def interrupt(attempt: int, outcome: Rollout) -> Rollout:
        if attempt == 1 and outcome.task.entropy == (place,):
            os.kill(os.getpid(), signal.SIGTERM)
            return gone(outcome)
        return outcome

    stopped = run(settings, tmp_path / "parts", Validating(interrupt), on_round=lambda report: rounds.append(report.round))
    with pytest.raises(Interrupted):
        stopped.run()
    assert stopped.state.validations == []
    resumed = run(settings, tmp_path / "parts", on_round=lambda report: rounds.append(report.round))
    found = resumed.run(resume=True).state_dict()
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert resumed.state.validations == whole.state.validations
    assert rounds == list(range(1, whole.state.round + 1))


def test_an_instance_that_a_validation_loses_is_solved_once_more(tmp_path: Path) -> None:
    whole = run(recipe(tmp_path), tmp_path / "whole")
    whole.run()
    lost: list[str] = []
    every_other = Validating(lambda attempt, outcome: gone(outcome) if attempt % 2 and outcome.task.entropy == (0,) else outcome)
    training = run(recipe(tmp_path), tmp_path / "run", every_other, on_lost=lambda instance, cause: lost.append(instance))
    training.run()
    assert training.state.validations == whole.state.validations
    assert every_other.attempts == 2 * len(whole.state.validations)
    assert lost == []


@pytest.mark.parametrize("lasting", [False, True])
def test_a_validation_that_lost_an_instance_is_reported_and_not_compared(tmp_path: Path, lasting: bool) -> None:
    lost: list[str] = []
    told: list[ValidationReport] = []
    weights: list[dict[str, torch.Tensor]] = []

    def lose(attempt: int, outcome: Rollout) -> Rollout:
        assert outcome.result is not None
        # An instance with a large tree is lost, in the first validation or in all: the mean over the others looks better.
        if outcome.task.entropy == (0,):
            return gone(outcome) if lasting or attempt <= 2 else replace(outcome, result=replace(outcome.result, nodes=10**6))
        return outcome

    def validated(report: ValidationReport) -> None:
        told.append(report)
        weights.append({name: tensor.clone() for name, tensor in training.state.network.state_dict().items()})

    training = run(
        recipe(tmp_path), tmp_path / "run", Validating(lose), on_lost=lambda name, cause: lost.append(name), on_validation=validated
    )
    found = training.run().state_dict()
    assert len(told) >= 2
    assert [report.lost for report in told] == ([1] * len(told) if lasting else [1] + [0] * (len(told) - 1))
    assert len(lost) == sum(report.lost for report in told)
    assert told[0].instances == 1
    assert training.best is (told[-1] if lasting else told[1])
    assert all(torch.equal(found[name], value) for name, value in weights[-1 if lasting else 1].items())


def test_a_validation_without_any_result_ends_the_training_and_can_be_resumed(tmp_path: Path) -> None:
    whole = run(recipe(tmp_path), tmp_path / "whole")
    whole.run()
    with pytest.raises(RuntimeError, match="validation were lost"):
        run(recipe(tmp_path), tmp_path / "run", Validating(lambda attempt, outcome: gone(outcome))).run()
    resumed = run(recipe(tmp_path), tmp_path / "run")
    resumed.run(resume=True)
    assert resumed.state.validations == whole.state.validations


def test_what_a_training_starts_from_is_kept_where_nothing_better_comes(tmp_path: Path) -> None:
    settings = recipe(tmp_path, "finetune")
    start = beginning(settings)
    assert start is not None

    def worse(attempt: int, outcome: Rollout) -> Rollout:
        assert outcome.result is not None
        return replace(outcome, result=replace(outcome.result, nodes=100 * attempt))

    training = run(settings, tmp_path / "run", Validating(worse))
    found = training.run().state_dict()
    assert training.state.validations[0].decisions == 0
    assert len(training.state.validations) > 1
    assert all(torch.equal(found[name], value) for name, value in start.state_dict().items())


def test_of_equal_validations_the_last_is_kept(tmp_path: Path) -> None:
    training = run(
        recipe(tmp_path), tmp_path / "run", Validating(lambda _, outcome: replace(outcome, result=replace(outcome.result, nodes=7)))
    )
    training.run()
    assert len(training.state.validations) > 1
    assert training.best is training.state.validations[-1]
