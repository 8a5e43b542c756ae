"""A training by reinforcement: repeated, resumed and limited in time; what is lost, damaged or does not fit."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch

from revibranch.branching.workers.pool import Outcome
from revibranch.gnn.checkpoint import load_checkpoint, save_checkpoint
from revibranch.gnn.description import Description
from revibranch.gnn.network import BranchingNetwork
from revibranch.gnn.training import reinforcement
from revibranch.gnn.training.errors import TrainingError
from revibranch.gnn.training.interruption import Interrupted
from revibranch.gnn.training.recipe import ReinforcementRecipe, load_recipe
from revibranch.gnn.training.reinforcement import Reinforcement
from revibranch.gnn.training.reports import RoundReport
from revibranch.gnn.training.rollout import RolloutResult, RolloutTask, Weights, roll_out
from revibranch.gnn.training.tasks import SerialTasks
from revibranch.gnn.training.train_reinforcement import ReinforcementObserver, train_reinforcement

from .trainings import LEARNERS, TEXT, recipe, run


@pytest.mark.parametrize(
    ("learner", "changes"), [*((name, ()) for name in LEARNERS), ("revibranch", ("learning.importance=subtree", "learning.alpha=0.5"))]
)
def test_every_learner_changes_its_weights_and_keeps_the_best(tmp_path: Path, learner: str, changes: tuple[str, ...]) -> None:
    rounds: list[Any] = []
    validations: list[Any] = []
    training = run(recipe(tmp_path, learner, *changes), tmp_path / "run", on_round=rounds.append, on_validation=validations.append)
    before = {name: tensor.clone() for name, tensor in training.state.network.named_parameters()}
    network = training.run()
    last = dict(training.state.network.named_parameters())
    assert any(not torch.equal(before[name], last[name]) for name in before)
    assert rounds[-1].decisions >= 100 > rounds[-2].decisions
    assert training.best.nodes == min(report.nodes for report in validations)
    assert all(torch.isfinite(tensor).all() for tensor in network.state_dict().values())
    assert not network.training


@pytest.mark.parametrize(
    ("learner", "stop", "changes"),
    [("revibranch", 1, ()), ("revibranch", 2, ("learning.averaging=0.9",)), ("tmdp", 2, ("learning.averaging=0.9",)), ("finetune", 2, ())],
)
def test_resumed_equals_uninterrupted_bit_for_bit(tmp_path: Path, learner: str, stop: int, changes: tuple[str, ...]) -> None:
    settings = recipe(tmp_path, learner, "replay.priority=0.5", *changes)
    whole = run(settings, tmp_path / "whole")
    expected = whole.run().state_dict()

    def interrupt(report: Any) -> None:
        if report.round == stop:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted):
        run(settings, tmp_path / "parts", on_round=interrupt).run()
    torch.manual_seed(stop)  # the random state of the process must not matter
    resumed = run(settings, tmp_path / "parts")
    found = resumed.run(resume=True).state_dict()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name
    assert resumed.state.validations == whole.state.validations


def test_time_ends_a_training_like_its_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = count(step=0.125)
    monkeypatch.setattr(reinforcement, "monotonic", lambda: next(clock))
    settings = recipe(tmp_path, "revibranch", "rollout.decisions=1000000", "learning.last_learning_rate=1e-5")
    rounds: list[Any] = []
    training = run(settings, tmp_path / "run", seconds=10.0, on_round=rounds.append)
    network = training.run()
    assert training.state.finished
    assert 0 < rounds[-1].decisions < 1_000_000
    # The learning rate is near its end, and the last weights were validated.
    assert training.state.optimiser.param_groups[0]["lr"] < 0.2 * settings.learning.learning_rate
    assert training.state.validations[-1].decisions == rounds[-1].decisions
    assert all(torch.isfinite(tensor).all() for tensor in network.state_dict().values())


def test_a_resumed_training_has_the_time_that_was_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = recipe(tmp_path, "revibranch", "rollout.decisions=1000000", "validation.every=1000000")

    def interrupt(report: Any) -> None:
        if report.round == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(reinforcement, "monotonic", count().__next__)
    with pytest.raises(Interrupted):
        run(settings, tmp_path / "run", seconds=1e6, on_round=interrupt).run()
    rounds: list[Any] = []
    resumed = run(settings, tmp_path / "run", seconds=5.0, on_round=rounds.append)
    resumed.run(resume=True)
    assert len(rounds) == 1  # more than five ticks had gone by before
    assert resumed.state.finished


def test_a_signal_during_rollouts_loses_the_round_only(tmp_path: Path) -> None:
    settings = recipe(tmp_path)
    expected = run(settings, tmp_path / "whole").run().state_dict()

    class Interrupting(SerialTasks[RolloutTask, Weights | None, RolloutResult]):
        def run(self, tasks: Iterable[RolloutTask], shared: Weights | None) -> Iterator[Outcome[RolloutTask, RolloutResult]]:
            for place, outcome in enumerate(super().run(tasks, shared)):
                if place == 1 and outcome.task.entropy[-1] > 3:
                    os.kill(os.getpid(), signal.SIGINT)
                yield outcome

    with pytest.raises(Interrupted):
        run(settings, tmp_path / "parts", Interrupting(roll_out)).run()
    found = run(settings, tmp_path / "parts").run(resume=True).state_dict()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_lost_episodes_are_told_and_cost_nothing_else(tmp_path: Path) -> None:
    lost: list[tuple[str, str]] = []

    class Losing(SerialTasks[RolloutTask, Weights | None, RolloutResult]):
        def run(self, tasks: Iterable[RolloutTask], shared: Weights | None) -> Iterator[Outcome[RolloutTask, RolloutResult]]:
            for place, outcome in enumerate(super().run(tasks, shared)):
                yield Outcome(outcome.task, None, "the worker died") if place == 0 and outcome.task.record else outcome

    training = run(recipe(tmp_path), tmp_path / "run", Losing(roll_out), on_lost=lambda instance, cause: lost.append((instance, cause)))
    training.run()
    assert len(lost) >= 2
    assert {cause for _, cause in lost} == {"the worker died"}
    assert training.state.decisions >= 100


def test_time_that_a_validation_used_up_ends_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]

    def validated(report: Any) -> None:
        now[0] += 60.0

    monkeypatch.setattr(reinforcement, "monotonic", lambda: now[0])
    settings = recipe(tmp_path, "revibranch", "rollout.decisions=1000000", "validation.every=1")
    rounds: list[Any] = []
    training = run(settings, tmp_path / "run", seconds=60.0, on_round=rounds.append, on_validation=validated)
    training.run()
    assert training.state.finished
    assert len(rounds) == len(training.state.validations) == 1


def test_a_checkpoint_names_the_code_that_trained_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commits: list[str | None] = ["a"]
    monkeypatch.setattr("revibranch.gnn.training.train_reinforcement.source_commit", lambda: commits[-1])

    class CommitsMeanwhile(Silent):
        def round_ended(self, report: RoundReport) -> None:
            commits.append("b")

    class Interrupts(CommitsMeanwhile):
        def round_ended(self, report: RoundReport) -> None:
            super().round_ended(report)
            os.kill(os.getpid(), signal.SIGTERM)

    def trained(folder: str, observer: ReinforcementObserver, *, resume: bool = False) -> str | None:
        return train_reinforcement(recipe(tmp_path), "", tmp_path / folder, observer, workers=0, resume=resume).description.commit

    assert trained("whole", CommitsMeanwhile()) == "a"
    commits[:] = ["a"]
    with pytest.raises(Interrupted):
        trained("parts", Interrupts())
    assert trained("parts", Silent(), resume=True) == "a,b"
    commits.append("c")  # nothing is left to train
    assert trained("parts", Silent(), resume=True) == "a,b"
    commits.append(None)  # no checkout
    assert trained("unknown", Silent()) is None


def test_a_curriculum_moves_from_size_to_size(tmp_path: Path) -> None:
    path = tmp_path / "tiny.toml"
    path.write_text(TEXT + '[[curriculum]]\nsize = "26x110"\nuntil = 0.4\n')
    settings = load_recipe(path, ["network.classes=12"])
    assert isinstance(settings, ReinforcementRecipe)
    sizes: list[tuple[int, ...] | None] = []

    class Noting(SerialTasks[RolloutTask, Weights | None, RolloutResult]):
        def run(self, tasks: Iterable[RolloutTask], shared: Weights | None) -> Iterator[Outcome[RolloutTask, RolloutResult]]:
            part = list(tasks)
            sizes.extend(task.instance.size for task in part if task.record)
            return super().run(part, shared)

    run(settings, tmp_path / "run", Noting(roll_out)).run()
    assert sizes[0] == (26, 110)
    assert sizes[-1] == (30, 120)
    assert sizes == sorted(sizes, key=str)


def test_instances_without_branching_are_one_clear_error(tmp_path: Path) -> None:
    settings = recipe(tmp_path, "revibranch", "instances.size=5x10", "rollout.episodes=50")
    with pytest.raises(TrainingError, match="too easy"):
        run(settings, tmp_path / "run").run()
    # Nor does a training that begins with a checkpoint, and so not at random, wait for decisions for ever.
    with pytest.raises(TrainingError, match="too easy"):
        run(recipe(tmp_path, "revibranch", "instances.size=5x10", "rollout.episodes=50", "start=somewhere"), tmp_path / "other").run()


def test_any_learner_starts_from_an_imitation_checkpoint(tmp_path: Path) -> None:
    settings = recipe(tmp_path, "revibranch", "start=imitation")
    torch.manual_seed(1)
    imitation = BranchingNetwork(settings.network.model_copy(update={"classes": 0}))
    training = Reinforcement(settings, tmp_path, SerialTasks(roll_out), start=imitation)
    encoder = imitation.encoder.state_dict()
    assert all(torch.equal(value, encoder[name]) for name, value in training.state.network.encoder.state_dict().items())
    assert training.state.acting is imitation
    training.run()
    other = BranchingNetwork(settings.network.model_copy(update={"width": 16}))
    with pytest.raises(ValueError, match=r"start from has network\.width = 16, the recipe"):
        Reinforcement(settings, tmp_path, SerialTasks(roll_out), start=other)


@pytest.mark.parametrize(
    ("classes", "highest", "learner", "kept", "acts"),
    [
        (12, 8.0, "revibranch", True, False),
        (12, 16.0, "revibranch", False, True),  # the same numbers would mean other values
        (0, 8.0, "revibranch", False, True),
        (12, 8.0, "tmdp", False, False),  # on policy: its episodes must be its own
    ],
)
def test_a_head_that_says_something_else_begins_at_random(
    tmp_path: Path, classes: int, highest: float, learner: str, kept: bool, acts: bool
) -> None:
    settings = recipe(tmp_path, learner, "start=somewhere", "network.highest=8.0")
    torch.manual_seed(1)
    start = BranchingNetwork(settings.network.model_copy(update={"classes": classes, "highest": highest}))
    state = Reinforcement(settings, tmp_path, SerialTasks(roll_out), start=start).state
    for name, value in state.network.state_dict().items():
        theirs = start.state_dict()[name]
        same = theirs.shape == value.shape and torch.equal(theirs, value)
        assert same == (kept or not name.startswith("decoder.score.2.")), name
    assert (state.rollout_network is start) == acts


class Silent(ReinforcementObserver):
    """Is told, and says nothing."""


@pytest.mark.parametrize(
    ("learner", "before", "after"),
    [("treedqn", True, True), ("treedqn", False, False), ("revibranch", False, True), ("finetune", False, True)],
)
def test_what_the_policy_is_after_is_kept_from_the_start_or_learnt(tmp_path: Path, learner: str, before: bool, after: bool) -> None:
    settings = recipe(tmp_path, learner, f"start={tmp_path / 'start.safetensors'}", "rollout.decisions=20")
    torch.manual_seed(1)
    save_checkpoint(tmp_path / "start.safetensors", BranchingNetwork(settings.network), Description(family=None, raises_bound=before))
    result = train_reinforcement(settings, "", tmp_path / "run", Silent(), workers=0)
    assert result.description.raises_bound == load_checkpoint(result.checkpoint)[1].raises_bound == after


@pytest.mark.parametrize("mixes", [True, False])
def test_whether_pseudocosts_are_mixed_in_is_what_the_recipe_says(tmp_path: Path, mixes: bool) -> None:
    settings = recipe(tmp_path, "revibranch", f"mixes_pseudocosts={str(mixes).lower()}", "rollout.decisions=20")
    result = train_reinforcement(settings, "", tmp_path / "run", Silent(), workers=0)
    assert result.description.mixes_pseudocosts == load_checkpoint(result.checkpoint)[1].mixes_pseudocosts == mixes


def test_the_checkpoint_of_a_run_is_a_policy(tmp_path: Path) -> None:
    from revibranch.gnn.policy import load_policy

    network = run(recipe(tmp_path), tmp_path / "run").run()
    save_checkpoint(tmp_path / "tiny.safetensors", network, Description(family="auction"))
    assert load_policy(tmp_path / "tiny.safetensors").needs_path


def test_a_loss_that_is_not_finite_ends_the_training_in_one_error(tmp_path: Path) -> None:
    training = run(recipe(tmp_path), tmp_path / "run")
    fit = training.state.fit_normalisation

    def spoil(fresh: Any) -> None:
        fit(fresh)
        with torch.no_grad():
            next(training.state.network.parameters()).fill_(float("nan"))

    training.state.fit_normalisation = spoil  # type: ignore[method-assign]
    with pytest.raises(TrainingError, match=r"gradient step 1 is nan: lower learning\.learning_rate"):
        training.run()


def test_where_all_episodes_that_decide_are_lost_a_training_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class OnlyTheEasy(SerialTasks[RolloutTask, Weights | None, RolloutResult]):
        """From the second round on, one episode of each comes back, without a decision."""

        def run(self, tasks: Iterable[RolloutTask], shared: Weights | None) -> Iterator[Outcome[RolloutTask, RolloutResult]]:
            for outcome in super().run(tasks, shared):
                number = outcome.task.entropy[-1]
                if number < 3 or outcome.result is None or not outcome.task.record:
                    yield outcome
                elif number % 3:
                    yield Outcome(outcome.task, None, "the worker died")
                else:
                    yield replace(outcome, result=replace(outcome.result, decisions=0, episode=None))

    monkeypatch.setattr(reinforcement, "_HOPELESS", 10)
    training = run(recipe(tmp_path), tmp_path / "run", OnlyTheEasy(roll_out))
    with pytest.raises(TrainingError, match="the last 12 episodes have no decision, and 8 of them were lost"):
        training.run()
