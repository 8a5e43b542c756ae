"""A policy for one's own instances: split, imitate strong branching, reinforce, choose, and judge on what was held back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from ..branching.files import write_atomically
from ..branching.workers.process_pool import ProcessPool
from ..gnn.devices import Device
from ..gnn.training.devices import torch_device
from ..gnn.training.errors import TrainingError
from ..gnn.training.recipe import Recipe, load_recipe
from ..gnn.training.reinforcement_recipe import ReinforcementRecipe
from ..gnn.training.run_folder import checkpoint_path, take_folder
from ..gnn.training.train import Budget, Observer, train
from ..gnn.training.train_reinforcement import ReinforcementObserver, train_reinforcement
from ..instances.files import InstanceError, InstanceSource
from ..instances.reading import instance_name
from .evaluate import evaluated, list_jobs
from .rows import RunRow
from .store import require_pyarrow
from .verdict import BASELINE, FEWEST, OWN, Verdict, better_of, judge

__all__ = ["LEAST", "Parts", "TailorObserver", "split", "tailor"]

LEAST = 8
"""Fewer instances cannot be split in three."""
_MOST_HELD_BACK = 20
_MOST_VALIDATION = 10
_MOST_SAMPLES = 20_000
_PLAN = "plan.json"
_OPTIONS = {"seconds": "--budget", "settings": "--settings"}
"""What of a plan comes from options."""
_SHARES = {"validation samples": 0.06, "training samples": 0.29, "imitation": 0.15, "reinforcement": 0.25, "choice": 0.05, "judgement": 0.2}
"""Of the budget. What a part leaves over goes to nobody: it ends sooner."""

_COMMON = """\
seed = 0
threads = 1

[instances]
training_files = {training}
validation_files = {validation}

[network]
width = 32
history_length = 8
"""
_IMITATION = """\
# Written by `revibranch train --instances`.
name = "imitation"
learner = "imitation"
{common}
[samples]
training = {most}
validation = {most}
settings = "{settings}"
time_limit = {limit}

[optimiser]
epochs = 15
"""
_REINFORCEMENT = """\
# Written by `revibranch train --instances`.
name = "reinforced"
learner = "revibranch"
start = {start}
{common}classes = 24
highest = 8.0

[rollout]
settings = "{settings}"
decisions = 1_000_000
episodes = 4
warm_up = 0
node_limit = 1500
time_limit = {limit}

[learning]
batch = 32
updates_per_decision = 0.2
learning_rate = 1e-3

[replay]
megabytes = 2000

[validation]
instances = {validations}
every = 5000
"""


@dataclass(frozen=True, slots=True)
class Parts:
    """What each instance is for: never two things."""

    training: tuple[InstanceSource, ...]
    validation: tuple[InstanceSource, ...]
    held_back: tuple[InstanceSource, ...]


class TailorObserver(Observer, ReinforcementObserver, Protocol):
    """Who is told how it goes on."""

    def say(self, text: str) -> None:
        """A part begins or has ended."""


def split(sources: Sequence[InstanceSource]) -> Parts:
    """Split instances by the hash of their names: the same names give the same parts, in whatever order they come.

    A fifth is held back, a sixth validates, at most 20 and 10, at least two each; from 18 instances on at least six are held back, for
    fewer prove nothing.

    Raises:
        InstanceError: there are fewer than ``LEAST``, or one may be there twice, as two files that differ in format alone: it could
            be trained on and held back.
    """
    seen: dict[Path, str] = {}
    for path in (Path(source.path) for source in sources if source.path is not None):
        stem = path.parent.resolve() / instance_name(path)
        if stem in seen:
            raise InstanceError(f"{seen[stem]} and {path.name} may be one problem twice: leave one of them out")
        seen[stem] = str(path)
    if len(sources) < LEAST:
        raise InstanceError(f"{len(sources)} instances are too few to train, choose and judge on: give at least {LEAST}")
    drawn = sorted(sources, key=lambda source: hashlib.sha256(source.name.encode()).digest())
    held_back = max(FEWEST if len(drawn) >= 3 * FEWEST else 2, min(_MOST_HELD_BACK, len(drawn) // 5))
    validation = held_back + max(2, min(_MOST_VALIDATION, len(drawn) // 6))
    return Parts(tuple(drawn[validation:]), tuple(drawn[held_back:validation]), tuple(drawn[:held_back]))


def tailor(
    sources: Sequence[InstanceSource],
    out: Path,
    seconds: float,
    observer: TailorObserver,
    *,
    settings: str = "default",
    workers: int = 1,
    device: Device = "cpu",
    resume: bool = False,
) -> Verdict:
    """Train a policy on instances from files, in about a given time, and judge it on those that it never saw.

    A solve or a round that runs when a part's time is up is waited for.

    Args:
        sources: the instances, all from files.
        out: folder of the runs; ``policy.safetensors`` is the result.
        seconds: of wall clock, for everything.
        observer: is told of the progress.
        settings: name of the set of SCIP parameters to solve with.
        workers: processes, at least one.
        device: where gradient steps run.
        resume: go on with what ``out`` holds of an earlier attempt at the same: instances, seconds and settings. Limits of solves stay
            those of the first attempt's number of workers, so that what was measured counts.

    Raises:
        InstanceError: the instances are too few, or not from files.
        TrainingError: ``out`` holds a run already and ``resume`` is False, or one of other instances, time or settings; no
            instance gave a sample; or the device cannot be used.
        StoreError: pyarrow is not installed, or a file of runs in ``out`` is damaged.
        Interrupted: stopped by a signal.
        OSError: something cannot be written.
    """
    if any(source.path is None for source in sources):
        raise InstanceError("a policy of one's own is trained on files: `revibranch generate` writes those of a family")
    torch_device(device)
    parts = split(sources)
    require_pyarrow()  # now, not when everything is trained
    take_folder(out, [_PLAN], resume=resume)
    planned = _keep_to(out / _PLAN, parts, seconds, settings, workers)
    share = {part: seconds * of for part, of in _SHARES.items()}
    observer.say(f"{len(parts.training)} instances to train on, {len(parts.validation)} to validate, {len(parts.held_back)} held back")
    common = _COMMON.format(training=_toml(_paths(parts.training)), validation=_toml(_paths(parts.validation)))

    def limit(part: str, rounds: float) -> float:
        """CPU seconds of a solve such that the part has time for so many."""
        return round(max(1.0, share[part] * planned / rounds), 1)

    text = _IMITATION.format(common=common, most=_MOST_SAMPLES, settings=settings, limit=limit("training samples", 20 * planned))
    imitation = checkpoint_path(out / "imitation", "imitation")
    if not imitation.exists():
        observer.say("imitation of strong branching")
        recipe = _written(out / "imitation.toml", text)
        assert isinstance(recipe, Recipe)
        budget = Budget(share["validation samples"], share["training samples"], share["imitation"])
        train(recipe, text, imitation.parent, observer, resume=True, workers=workers, device=device, budget=budget)
    text = _REINFORCEMENT.format(
        start=_toml(str(imitation.resolve())),
        common=common,
        settings=settings,
        limit=limit("reinforcement", 20 * planned),
        validations=len(parts.validation),
    )
    reinforced = checkpoint_path(out / "reinforced", "reinforced")
    if not reinforced.exists():
        observer.say("reinforcement learning from there")
        training = _written(out / "reinforced.toml", text)
        assert isinstance(training, ReinforcementRecipe)
        train_reinforcement(
            training, text, reinforced.parent, observer, resume=True, workers=workers, device=device, seconds=share["reinforcement"]
        )
    candidates = [str(imitation), str(reinforced)]
    observer.say("which of the two, on the validation instances")
    rows = _run(parts.validation, candidates, settings, limit("choice", 2 * len(parts.validation)), out / "validation.parquet", workers)
    chosen = better_of(rows, candidates)
    checkpoint = out / "policy.safetensors"
    write_atomically(checkpoint, Path(chosen).read_bytes())
    observer.say(f"{Path(chosen).stem} it is; against SCIP's default, on the instances held back")
    policy = f"{checkpoint}+guard"
    rows = _run(
        parts.held_back, [policy, BASELINE], settings, limit("judgement", 2 * len(parts.held_back)), out / "held-back.parquet", workers
    )
    use, reason = judge(rows, policy)
    named = tuple(replace(row, policy=OWN) if row.policy == policy else row for row in rows)
    return Verdict(checkpoint, use, reason, named)


def _keep_to(path: Path, parts: Parts, seconds: float, settings: str, workers: int) -> int:
    """Write down what is for what, or see that it is still the same: what was held back must not be trained on later.

    Returns:
        The number of workers that was planned for, which may be another now.

    Raises:
        TrainingError: it is not.
    """
    plan = {
        "seconds": seconds,
        "settings": settings,
        "training": _paths(parts.training),
        "validation": _paths(parts.validation),
        "held_back": _paths(parts.held_back),
        "contents": [source.content() for part in (parts.training, parts.validation, parts.held_back) for source in part],
    }
    if not path.exists():
        write_atomically(path, (json.dumps({**plan, "workers": workers}, indent=1) + "\n").encode())
        return workers
    try:
        # Older plans lack the files' contents and the number of workers.
        before = {"contents": plan["contents"], "workers": workers, **json.loads(path.read_text(encoding="utf-8"))}
        changed = [name for name, value in plan.items() if before[name] != value]
        planned = int(before["workers"])
    except (ValueError, LookupError, TypeError) as error:
        raise TrainingError(f"{path} is damaged: {error}") from error
    if changed:
        other = ", ".join(_OPTIONS.get(name, name) for name in changed)
        raise TrainingError(f"{path.parent} holds a run with other {other}: repeat them, or choose another folder with --out")
    return planned


def _run(
    sources: Sequence[InstanceSource], policies: Sequence[str], settings: str, time_limit: float, path: Path, workers: int
) -> list[RunRow]:
    jobs = list_jobs(sources, policies, [0], settings, time_limit)
    pool = ProcessPool(workers)
    rows = evaluated(jobs, path, pool)
    pool.close()
    return rows


def _written(path: Path, text: str) -> Recipe | ReinforcementRecipe:
    write_atomically(path, text.encode())
    return load_recipe(path)


def _paths(sources: Sequence[InstanceSource]) -> list[str]:
    return [str(Path(source.path or "").resolve()) for source in sources]


def _toml(value: str | list[str]) -> str:
    """Strings in TOML, where JSON's are strings too."""
    return json.dumps(value, ensure_ascii=False)
