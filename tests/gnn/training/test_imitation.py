from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch

from revibranch.gnn.devices import Device
from revibranch.gnn.training.batches import SampleSet
from revibranch.gnn.training.errors import TrainingError
from revibranch.gnn.training.imitation import Imitation, one_cycle
from revibranch.gnn.training.interruption import Interrupted
from revibranch.gnn.training.recipe import OptimiserSettings, Recipe
from revibranch.gnn.training.state import StateError

from .episodes import recipe, with_history, write_episodes


def learner(folder: Path, settings: Recipe, **options: object) -> Imitation:
    data = folder / "data"
    if not data.exists():
        data.mkdir()
        write_episodes(data, 4)
    paths = [data / f"{seed}.npz" for seed in range(4)]
    length = settings.network.history_length
    return Imitation(settings, SampleSet(paths[:3], length), SampleSet(paths[3:], length), folder / "state", **options)  # type: ignore[arg-type]


def test_the_loss_falls_on_a_tiny_set(tmp_path: Path) -> None:
    run = learner(tmp_path, recipe(epochs=25))
    run.run()
    assert run.reports[-1].training_loss < 0.25 * run.reports[0].training_loss


@pytest.mark.parametrize("length", [0, 4])
@pytest.mark.parametrize("stop", [2, 5, 7])  # within an epoch of five steps, at its end, within the second one
def test_resumed_equals_uninterrupted_bit_for_bit(tmp_path: Path, length: int, stop: int) -> None:
    stop_and_resume(tmp_path, with_history(recipe(), length), stop)


def stop_and_resume(tmp_path: Path, settings: Recipe, stop: int, first: Device = "cpu", second: Device = "cpu") -> None:
    """Train in one go, and in two on two devices; the weights are the same, on the CPU bit for bit."""
    exact = first == second == "cpu"
    (tmp_path / "whole").mkdir()
    whole = learner(tmp_path / "whole", settings, device=first)
    expected = whole.run().state_dict()

    def interrupt(step: int, steps: int, loss: float) -> None:
        if step == stop:
            os.kill(os.getpid(), signal.SIGTERM)

    (tmp_path / "parts").mkdir()
    with pytest.raises(Interrupted) as caught:
        learner(tmp_path / "parts", settings, device=first, on_step=interrupt).run()
    assert caught.value.number == signal.SIGTERM
    torch.manual_seed(stop)  # the random state of the process must not matter
    resumed = learner(tmp_path / "parts", settings, device=second)
    network = resumed.run(resume=True)
    assert network.device.type == second
    found = network.state_dict()
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if exact:
            assert torch.equal(found[name], value), name
        else:
            torch.testing.assert_close(found[name].cpu(), value.cpu(), rtol=1e-2, atol=1e-3)
    if exact:
        assert resumed.reports == whole.reports
    assert len(resumed.reports) == len(whole.reports)


def test_the_best_weights_are_those_of_the_best_epoch(tmp_path: Path) -> None:
    run = learner(tmp_path, recipe(epochs=15, learning_rate=0.05))
    run.run()
    assert run.best.loss == min(report.loss for report in run.reports)
    assert run.best is not run.reports[-1]  # it overfits
    assert run.validate() == pytest.approx((run.best.loss, run.best.accuracy_1, run.best.accuracy_5))


def test_a_loss_that_is_not_finite_ends_the_training_in_one_error(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"is (nan|inf).*: lower optimiser\.learning_rate"):
        learner(tmp_path, recipe(learning_rate=1e20)).run()


def test_a_finished_run_resumes_to_the_same_weights_at_once(tmp_path: Path) -> None:
    expected = learner(tmp_path, recipe()).run().state_dict()

    def never(step: int, steps: int, loss: float) -> None:
        raise AssertionError("trained again")

    found = learner(tmp_path, recipe(), on_step=never).run(resume=True).state_dict()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_a_state_of_another_recipe_or_a_damaged_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="does not exist"):
        learner(tmp_path, recipe()).run(resume=True)
    learner(tmp_path, recipe()).run()
    with pytest.raises(StateError, match=r"another recipe, optimiser\.learning_rate differs: 0\.01 there, 0\.0001 here; --resume needs"):
        learner(tmp_path, recipe(learning_rate=1e-4)).run(resume=True)
    (tmp_path / "data" / "3.npz").unlink()
    write_episodes(tmp_path / "data", 1, first=3, size=7)
    with pytest.raises(StateError, match="other samples"):
        learner(tmp_path, recipe()).run(resume=True)
    write_episodes(tmp_path / "data", 1, first=3)
    state = tmp_path / "state"
    state.write_bytes(state.read_bytes()[:-10])
    with pytest.raises(StateError, match="damaged"):
        learner(tmp_path, recipe()).run(resume=True)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_ends_the_training_before_it_begins(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no usable CUDA device"):
        learner(tmp_path, recipe(), device="cuda")
    training = learner(tmp_path, recipe(), device="auto")
    assert training.network.device.type == "cpu"


def test_the_learning_rate_is_one_cycle() -> None:
    settings = OptimiserSettings(learning_rate=1.0, warm_up=0.3)
    rates = [one_cycle(step, 101, settings) for step in range(101)]
    top = rates.index(max(rates))
    assert rates[0] == pytest.approx(1 / 25)
    assert max(rates) == pytest.approx(1.0, abs=1e-3)
    assert 28 <= top <= 31
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert rates[-1] == pytest.approx(1 / 250_000)
