"""Imitation: the network learns which candidate strong branching finds best (Gasse et al., NeurIPS 2019).

Departs from the paper in the learning rate's schedule (one cycle, Smith & Topin 2018), in ties, which share the target,
and in candidates without a valid score, which are masked.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..devices import Device
from ..network import BranchingNetwork
from .batches import SampleBatch, SampleSet, shuffled_batches
from .devices import torch_device
from .errors import TrainingError
from .interruption import Interrupted, Signals
from .losses import cross_entropy, hits
from .recipe import OptimiserSettings, Recipe
from .state import StateError, adam_tensors, load_facts, load_state, require_recipe, restore_adam, restoring, save_state

__all__ = ["EpochReport", "Imitation", "one_cycle", "require_run_of"]

_STATE_SECONDS = 120.0
_VALIDATION_BATCH = 32


@dataclass(frozen=True, slots=True)
class EpochReport:
    """How an epoch ended. Losses are in nats, per sample."""

    epoch: int
    """From 1."""
    training_loss: float
    """Mean over the epoch, each batch before its step."""
    loss: float
    """On the validation instances, like the rest."""
    accuracy_1: float
    """Share of nodes at which the highest score is one of the expert's best."""
    accuracy_5: float
    """Share of nodes at which one of the expert's best is among the five highest scores."""


def one_cycle(step: int, steps: int, settings: OptimiserSettings) -> float:
    """Learning rate of a step, 0 .. steps - 1: up from 1/25 of the highest, then down to 1/10,000 of that, on cosines."""
    highest = settings.learning_rate
    lowest, end = highest / 25, highest / 250_000
    turn = max(1.0, settings.warm_up * steps - 1)
    if step <= turn:
        begin, goal, share = lowest, highest, step / turn
    else:
        begin, goal, share = highest, end, (step - turn) / max(1.0, steps - 1 - turn)
    return goal + (begin - goal) * (1 + math.cos(math.pi * min(share, 1.0))) / 2


class Imitation:
    """One training run, which can be stopped and resumed at every gradient step.

    A resumed run ends with the same weights as one that was never stopped, bit for bit, on the same machine's CPU: the order of
    the samples and the learning rate are functions of the recipe's seed and of the step, and all else is in the state.

    Args:
        recipe: what to train.
        training: its samples.
        validation: samples of other instances.
        state_path: where the state is written.
        device: where gradient steps run (``devices.torch_device``). On a GPU, weights repeat up to rounding only.
        seconds: wall seconds of training, those before a resumption included, after which it ends early, its learning rate at the
            end of its cycle all the same; how far it comes, depends on the machine.
        on_epoch: called after every epoch.
        on_step: called after every gradient step with its number from 1, the number of all steps, and the loss.

    Raises:
        TrainingError: the device cannot be used.
    """

    def __init__(
        self,
        recipe: Recipe,
        training: SampleSet,
        validation: SampleSet,
        state_path: Path,
        *,
        device: Device = "cpu",
        seconds: float | None = None,
        on_epoch: Callable[[EpochReport], None] | None = None,
        on_step: Callable[[int, int, float], None] | None = None,
    ) -> None:
        self.recipe = recipe
        self.training, self.validation = training, validation
        self.state_path = state_path
        self.reports: list[EpochReport] = []
        self._on_epoch, self._on_step = on_epoch, on_step
        self._seconds, self._began = seconds, monotonic()
        torch.set_num_threads(recipe.threads)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            self.network = BranchingNetwork(recipe.network).to(torch_device(device))
        self._optimiser = torch.optim.Adam(self.network.parameters(), lr=recipe.optimiser.learning_rate)
        self._best: dict[str, torch.Tensor] = {}
        self._step = 0
        self._finished = False
        self._epoch_loss = 0.0
        self._per_epoch = math.ceil(len(training) / recipe.optimiser.batch)
        self._order: list[NDArray[np.int64]] = []
        self._validation_batches: list[SampleBatch] = []

    @property
    def steps(self) -> int:
        """Gradient steps of the whole run."""
        return self._per_epoch * self.recipe.optimiser.epochs

    @property
    def best(self) -> EpochReport:
        """The epoch whose weights ``run`` returns: that of the lowest validation loss."""
        return min(self.reports, key=lambda report: report.loss)

    def run(self, *, resume: bool = False) -> BranchingNetwork:
        """Train to the end.

        Args:
            resume: go on from the state file, which may be that of a finished run.

        Returns:
            The network with the best weights, in evaluation mode.

        Raises:
            Interrupted: SIGINT or SIGTERM came; the state is written.
            StateError: the state to go on from cannot be used.
            TrainingError: a loss is not finite.
            OSError: the state cannot be written; the last one is as it was.
        """
        self._began = monotonic()
        with Signals() as signals:
            if resume:
                self._load()
            else:
                self.network.fit_normalisation(self.training.states())
            written = monotonic()
            while not self._finished:
                self._train_epoch_step()
                ended = self._step % self._per_epoch == 0 or self._finished
                if ended:
                    self._end_epoch()
                if signals.received is not None or ended or monotonic() - written > _STATE_SECONDS:
                    self._save()
                    written = monotonic()
                if signals.received is not None:
                    raise Interrupted(signals.received)
        self.network.load_state_dict(self._best)
        return self.network.eval()

    # ---- steps ---------------------------------------------------------------------------------------------------

    @property
    def _place(self) -> int:
        """Place in the schedule: the steps done or, where time runs out faster, the same share of all steps."""
        if self._seconds is None:
            return self._step
        return min(self.steps, max(self._step, int(self.steps * (monotonic() - self._began) / self._seconds)))

    def _train_epoch_step(self) -> None:
        settings = self.recipe.optimiser
        epoch, place = divmod(self._step, self._per_epoch)
        if place == 0 or not self._order:
            entropy = (self.recipe.seed, epoch)
            self._order = shuffled_batches(self.training.trees, settings.batch, settings.samples_per_tree, entropy)
        batch = self.training.collate(self._order[place].tolist()).to(self.network.device)
        self.network.train()
        for group in self._optimiser.param_groups:
            group["lr"] = one_cycle(self._place, self.steps, settings)
        loss = cross_entropy(batch.logits(self.network), batch.scores, batch.candidates).mean()
        self._optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), settings.clip)
        self._optimiser.step()
        self._step += 1
        self._finished = self._place >= self.steps
        value = float(loss.detach())
        if not math.isfinite(value):
            raise TrainingError(f"the loss of gradient step {self._step} is {value}: lower optimiser.learning_rate")
        self._epoch_loss += value * len(batch)
        if self._on_step is not None:
            self._on_step(self._step, self.steps, value)

    def _end_epoch(self) -> None:
        losses = self.validate()
        if not math.isfinite(losses[0]):
            raise TrainingError(f"the loss at validation is {losses[0]} after {self._step} gradient steps: lower optimiser.learning_rate")
        epoch = -(-self._step // self._per_epoch)
        steps = self._step - (epoch - 1) * self._per_epoch  # fewer than an epoch's where time ran out
        report = EpochReport(epoch, self._epoch_loss / min(len(self.training), steps * self.recipe.optimiser.batch), *losses)
        self._epoch_loss = 0.0
        self.reports.append(report)
        if self.best is report:
            self._best = {name: tensor.detach().clone() for name, tensor in self.network.state_dict().items()}
        if self._on_epoch is not None:
            self._on_epoch(report)

    def validate(self) -> tuple[float, float, float]:
        """Loss, acc@1 and acc@5 of the weights of today on the validation samples."""
        if not self._validation_batches:  # always the same ones: kept
            order = range(len(self.validation))
            self._validation_batches = [
                self.validation.collate(order[begin : begin + _VALIDATION_BATCH]) for begin in range(0, len(order), _VALIDATION_BATCH)
            ]
        self.network.eval()
        totals = torch.zeros(3, dtype=torch.float64, device=self.network.device)
        with torch.inference_mode():
            for kept in self._validation_batches:
                batch = kept.to(self.network.device)
                logits = batch.logits(self.network)
                parts = [cross_entropy(logits, batch.scores, batch.candidates)]
                parts += [hits(logits, batch.scores, batch.candidates, top) for top in (1, 5)]
                totals += torch.stack([part.double().sum() for part in parts])
        loss, first, fifth = (totals / len(self.validation)).tolist()
        return loss, first, fifth

    # ---- state ---------------------------------------------------------------------------------------------------

    def _save(self) -> None:
        tensors = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self._best.items()}
        tensors |= adam_tensors(self.network, self._optimiser)
        facts = {
            "run": self._identity(),
            "step": self._step,
            "finished": self._finished,
            "seconds": monotonic() - self._began,
            "epoch_loss": self._epoch_loss,
            "reports": [asdict(report) for report in self.reports],
        }
        save_state(self.state_path, tensors, facts)

    def _load(self) -> None:
        tensors, facts = load_state(self.state_path)
        run = facts.get("run", {})
        require_recipe(self.state_path, run.get("recipe"), _content(self.recipe))
        if run.get("samples") != self._identity()["samples"]:
            raise StateError(f"training state {self.state_path} belongs to other samples than those that are there now")
        with restoring(self.state_path):
            self._restore(tensors, facts)

    def _restore(self, tensors: dict[str, torch.Tensor], facts: dict[str, Any]) -> None:
        parts: dict[str, dict[str, torch.Tensor]] = {"network": {}, "best": {}}
        for key, tensor in tensors.items():
            part, _, name = key.partition(".")
            parts.setdefault(part, {})[name] = tensor
        self.network.load_state_dict(parts["network"])
        self._best = parts["best"]
        restore_adam(self.network, self._optimiser, tensors)
        self._step, self._epoch_loss, self._finished = facts["step"], facts["epoch_loss"], facts["finished"]
        self._began = monotonic() - facts["seconds"]
        names = [field.name for field in fields(EpochReport)]
        self.reports = [EpochReport(**{name: report[name] for name in names}) for report in facts["reports"]]

    def _identity(self) -> dict[str, Any]:
        """What must be the same for a state to go on from."""
        return {"recipe": _content(self.recipe), "samples": [len(self.training), len(self.validation), self.training.n_decisions]}


def require_run_of(recipe: Recipe, state_path: Path) -> None:
    """See that a state is of this recipe before its samples are collected, which may take hours.

    Raises:
        StateError: it is missing, damaged, or of another recipe.
    """
    require_recipe(state_path, load_facts(state_path).get("run", {}).get("recipe"), _content(recipe))


def _content(recipe: Recipe) -> dict[str, Any]:
    return recipe.model_dump(mode="json", exclude={"name", "threads"})
