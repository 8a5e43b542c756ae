"""From a recipe of reinforcement learning to a checkpoint: rounds, validation, logs, the best weights."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from ...branching._scip import scip_release
from ...branching.files import json_value, write_atomically
from ..checkpoint import load_checkpoint, save_checkpoint
from ..description import Description
from ..devices import Device
from ..pretrained import pretrained_names, pretrained_path
from .devices import torch_device
from .provenance import note_commit, source_commit
from .reinforcement import Reinforcement
from .reinforcement_recipe import ReinforcementRecipe
from .reinforcement_state import require_run_of
from .reports import RoundReport, ValidationReport
from .rollout import roll_out
from .run_folder import LOG_NAME, RECIPE_NAME, STATE_NAME, alone_in, checkpoint_path, holds_run, take_folder
from .tasks import open_tasks

__all__ = ["ReinforcementObserver", "ReinforcementResult", "train_reinforcement"]


class ReinforcementObserver(Protocol):
    """Who is told how a training goes on."""

    def rollouts(self, decisions: int | None) -> None:
        """The training begins; its budget of decisions, None where time limits it."""

    def round_ended(self, report: RoundReport) -> None:
        """A round is done."""

    def validated(self, report: ValidationReport) -> None:
        """A validation is done."""

    def lost(self, instance: str, cause: str) -> None:
        """An episode was lost."""


@dataclass(frozen=True, slots=True)
class ReinforcementResult:
    """What a training left behind."""

    checkpoint: Path
    description: Description
    best: ValidationReport


def train_reinforcement(
    recipe: ReinforcementRecipe,
    text: str,
    out: Path,
    observer: ReinforcementObserver,
    *,
    resume: bool = False,
    workers: int | str = 1,
    device: Device = "cpu",
    seconds: float | None = None,
) -> ReinforcementResult:
    """Follow a recipe.

    Args:
        recipe: the recipe.
        text: its text, kept in the checkpoint's description.
        out: folder of the run: the state, the replay's episodes, ``log.jsonl`` (a line for each round and validation),
            TensorBoard's events, and the checkpoint with the best weights.
        observer: is told of the progress.
        resume: go on with what is in ``out``, if there is anything.
        workers: processes of rollouts; 0 for this process, ``ray`` or ``ray://HOST:PORT`` for Ray.
        device: where gradient steps run.
        seconds: wall seconds after which the training ends early, and validates once more.

    Raises:
        TrainingError: ``out`` holds a run already and ``resume`` is False, another training is at work there, or what is there does not
            fit the recipe; or the device cannot be used.
        Interrupted: stopped by a signal; ``resume`` goes on.
        OSError: something cannot be written.
    """
    torch_device(device)  # what cannot be used is said before anything is done
    with alone_in(out):
        state, checkpoint = out / STATE_NAME, checkpoint_path(out, recipe.name)
        resume = resume and holds_run(out, [checkpoint.name])
        take_folder(out, [checkpoint.name], resume=resume)
        resumes = resume and state.exists()
        start, origin = (None, None) if recipe.start is None else load_checkpoint(_start_path(recipe.start))
        if resumes:
            require_run_of(recipe, start, out)
        write_atomically(out / RECIPE_NAME, text.encode())
        commit = note_commit(out, source_commit(), resume=resumes, finished=checkpoint.exists())
        pool = open_tasks(roll_out, workers, timeout=10 * recipe.rollout.time_limit + 60)
        log = _Log(out)

        def round_ended(report: RoundReport) -> None:
            log.round_ended(report)
            observer.round_ended(report)

        def validated(report: ValidationReport) -> None:
            log.validated(report)
            observer.validated(report)

        try:
            learner = Reinforcement(
                recipe,
                out,
                pool,
                start=start,
                device=device,
                seconds=seconds,
                on_round=round_ended,
                on_validation=validated,
                on_lost=observer.lost,
            )
            observer.rollouts(recipe.rollout.decisions if seconds is None else None)
            network = learner.run(resume=resumes)
        finally:
            pool.close()
            log.close()
        description = _describe(recipe, text, learner, commit=commit, raises_bound=_raises_bound(recipe, origin))
        save_checkpoint(checkpoint, network, description)
        return ReinforcementResult(checkpoint, description, learner.best)


def _raises_bound(recipe: ReinforcementRecipe, origin: Description | None) -> bool:
    """What the policy is after: two learners are rewarded by the gap that they close, the others go on with what they began with."""
    return origin is None or origin.raises_bound or recipe.learner in ("revibranch", "finetune")


def _start_path(start: str) -> Path:
    return pretrained_path(start) if start in pretrained_names() else Path(start)


def _describe(recipe: ReinforcementRecipe, text: str, learner: Reinforcement, *, commit: str | None, raises_bound: bool) -> Description:
    best, state = learner.best, learner.state
    return Description(
        family=recipe.instances.label,
        recipe=text,
        seeds=(recipe.seed, recipe.instances.training_seed, recipe.instances.validation_seed),
        samples={"decisions": state.decisions, "episodes": state.episodes, "gradient_steps": state.step},
        scores={
            "validation_nodes": best.nodes,
            "validation_lp_iterations": best.lp_iterations,
            "validation_unsolved": float(best.unsolved),
            "decisions_at_best": float(best.decisions),
        },
        commit=commit,
        scip_version=scip_release(),
        raises_bound=raises_bound,
        mixes_pseudocosts=recipe.mixes_pseudocosts,
    )


class _Log:
    """The run's history: lines of JSON, and TensorBoard's scalars where tensorboardX is installed."""

    def __init__(self, out: Path) -> None:
        self._path = out / LOG_NAME
        try:
            from tensorboardX import SummaryWriter
        except ModuleNotFoundError:
            self._scalars = None
        else:
            self._scalars = SummaryWriter(str(out / "tensorboard"), flush_secs=30)

    def round_ended(self, report: RoundReport) -> None:
        values = asdict(report)
        self._line("round", values)
        seconds = max(report.rollout_seconds + report.learning_seconds, 1e-9)
        for name in ("nodes", "lp_iterations", "loss", "bias", "error", "entropy", "buffer_age", "rollout_seconds", "learning_seconds"):
            self._scalar(f"training/{name}", values[name], report.decisions)
        self._scalar("training/episodes_per_second", report.round_episodes / seconds, report.decisions)
        self._scalar("training/steps_per_second", report.round_steps / seconds, report.decisions)

    def validated(self, report: ValidationReport) -> None:
        self._line("validation", asdict(report))
        self._scalar("validation/nodes", report.nodes, report.decisions)
        self._scalar("validation/lp_iterations", report.lp_iterations, report.decisions)

    def close(self) -> None:
        if self._scalars is not None:
            self._scalars.close()

    def _line(self, kind: str, values: Mapping[str, object]) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"kind": kind, **json_value(values)}, allow_nan=False) + "\n")

    def _scalar(self, name: str, value: float, decisions: int) -> None:
        if self._scalars is not None and math.isfinite(value):
            self._scalars.add_scalar(name, value, decisions)
