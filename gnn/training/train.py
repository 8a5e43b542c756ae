"""From a recipe to a checkpoint: collect, train, write."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from ...branching.episode import EpisodeError
from ...branching.files import write_atomically
from ..checkpoint import Description, save_checkpoint
from ..devices import Device
from .batches import SampleSet
from .collect import Purpose, SolveReport, collect
from .devices import torch_device
from .errors import TrainingError
from .imitation import EpochReport, Imitation, require_run_of
from .provenance import note_commit, source_commit
from .recipe import Recipe
from .run_folder import RECIPE_NAME, STATE_NAME, alone_in, checkpoint_path, holds_run, take_folder

__all__ = ["Budget", "Observer", "Result", "train"]


class Observer(Protocol):
    """Who is told how a training goes on."""

    def collecting(self, purpose: Purpose, goal: int | None) -> None:
        """Collection begins; the number of samples it is to find, None for as many as there is time for."""

    def collected(self, report: SolveReport) -> None:
        """An instance is done."""

    def training(self, samples: int, decisions: int) -> None:
        """Training begins, on so many samples and recorded decisions."""

    def stepped(self, step: int, steps: int, loss: float) -> None:
        """A gradient step is done."""

    def epoch(self, report: EpochReport) -> None:
        """An epoch is done."""


@dataclass(frozen=True, slots=True)
class Budget:
    """Wall seconds of each part of a training."""

    validation: float
    """Collecting samples for validation."""
    training: float
    """Collecting samples for training."""
    learning: float


@dataclass(frozen=True, slots=True)
class Result:
    """What a training left behind."""

    checkpoint: Path
    description: Description
    best: EpochReport


def train(
    recipe: Recipe,
    text: str,
    out: Path,
    observer: Observer,
    *,
    samples: Path | None = None,
    resume: bool = False,
    workers: int = 1,
    device: Device = "cpu",
    budget: Budget | None = None,
) -> Result:
    """Follow a recipe.

    Args:
        recipe: the recipe.
        text: its text, kept in the checkpoint's description.
        out: folder of the run: ``samples/``, the training's state, ``epochs.json``, and the checkpoint.
        observer: is told of the progress.
        samples: folder of samples to use and complete; one of the run's own if None.
        resume: go on with what is in ``out``, if there is anything.
        workers: processes that collect.
        device: where gradient steps run.
        budget: wall seconds; what is not reached in them is left out.

    Raises:
        TrainingError: ``out`` holds a run already and ``resume`` is False, another training is at work there, or what is there does not
            fit the recipe; or the device cannot be used.
        Interrupted: stopped by a signal; ``resume`` goes on.
        OSError: something cannot be written.
    """
    torch_device(device)  # what cannot be used is said before anything is done
    with alone_in(out):
        state, checkpoint = out / STATE_NAME, checkpoint_path(out, recipe.name)
        products = ["samples", checkpoint.name]
        resume = resume and holds_run(out, products)
        take_folder(out, products, resume=resume)
        resumes = resume and state.exists()
        if resumes:
            require_run_of(recipe, state)
        code = source_commit()
        if not resume:  # otherwise later: what is refused must change nothing
            write_atomically(out / RECIPE_NAME, text.encode())
            commit = note_commit(out, code, resume=False, finished=False)

        sets: dict[Purpose, SampleSet] = {}
        listing = out / "samples.json"
        # What there was time for, and which instances failed, is decided once: a resumed training must find the same samples.
        listed = _listed(listing) if resumes else {}
        goals: dict[Purpose, int] = {"validation": recipe.samples.validation, "training": recipe.samples.training}
        for purpose, goal in goals.items():
            folder = (samples or out / "samples") / purpose
            found = _found(folder, listed.get(purpose, ()), recipe)
            if found is None:  # also where a listed file is gone or damaged
                observer.collecting(purpose, goal if budget is None else None)
                seconds = None if budget is None else budget.training if purpose == "training" else budget.validation
                shards = collect(recipe, folder, purpose, workers=workers, seconds=seconds, on_report=observer.collected)
                if not shards:
                    why = (
                        "they need too little branching" if seconds is None else f"{seconds:.0f} s were too few, or they need no branching"
                    )
                    raise TrainingError(f"the {purpose} instances gave no sample: {why}")
                found = _found(folder, listed.setdefault(purpose, [shard.name for shard in shards]), recipe)
            if found is None:
                raise TrainingError(f"{folder} lacks samples that the training began with, and they could not be collected again")
            sets[purpose] = found
        write_atomically(listing, (json.dumps(listed, indent=1) + "\n").encode())
        if resume:
            write_atomically(out / RECIPE_NAME, text.encode())
            commit = note_commit(out, code, resume=True, finished=checkpoint.exists())

        def ended(report: EpochReport) -> None:
            content = json.dumps([asdict(epoch) for epoch in learner.reports], indent=1)
            write_atomically(out / "epochs.json", (content + "\n").encode())
            observer.epoch(report)

        observer.training(len(sets["training"]), sets["training"].n_decisions)
        learner = Imitation(
            recipe,
            sets["training"],
            sets["validation"],
            state,
            device=device,
            seconds=None if budget is None else budget.learning,
            on_epoch=ended,
            on_step=observer.stepped,
        )
        network = learner.run(resume=resumes)
        description = _describe(recipe, text, sets, learner.best, commit)
        save_checkpoint(checkpoint, network, description)
        return Result(checkpoint, description, learner.best)


def _listed(path: Path) -> dict[Purpose, list[str]]:
    """Names of the files with the samples that a run began with; nothing where it did not say.

    Raises:
        TrainingError: the file is damaged.
    """
    if not path.exists():
        return {}
    try:
        names: dict[Purpose, list[str]] = json.loads(path.read_text(encoding="utf-8"))
        if all(isinstance(name, str) for part in names.values() for name in part):
            return names
    except (ValueError, AttributeError, TypeError):
        pass
    raise TrainingError(f"{path} is damaged; without it the samples are collected again, those that are there are kept")


def _found(folder: Path, names: Sequence[str], recipe: Recipe) -> SampleSet | None:
    """The samples of these files; None where there are none, or one of them is missing or damaged."""
    try:
        return SampleSet([folder / name for name in names], recipe.network.history_length) if names else None
    except EpisodeError:
        return None


def _describe(recipe: Recipe, text: str, sets: dict[Purpose, SampleSet], best: EpochReport, commit: str | None) -> Description:
    counts: dict[str, int] = {}
    for purpose, data in sets.items():
        counts |= {purpose: len(data), f"{purpose}_decisions": data.n_decisions, f"{purpose}_instances": len(data.episodes)}
    return Description(
        family=recipe.instances.label,
        recipe=text,
        seeds=(recipe.seed, recipe.instances.training_seed, recipe.instances.validation_seed),
        samples=counts,
        scores={
            "validation_loss": best.loss,
            "validation_acc@1": best.accuracy_1,
            "validation_acc@5": best.accuracy_5,
            "epoch": float(best.epoch),
        },
        commit=commit,
        scip_version=sets["training"].episodes[0].facts.get("scip_version"),
        raises_bound=recipe.samples.expert != "constraint-by-constraint",
        mixes_pseudocosts=recipe.mixes_pseudocosts,
    )
