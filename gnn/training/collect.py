"""Collection: solve training instances, ask an expert at some nodes, keep what it says.

Where the expert is strong branching, the other nodes are branched on pseudocosts by the same plugin, so that every decision on a
sample's path is recorded with its choice (the scheme of Gasse et al. 2019, whose expert too is asked at random nodes of trees
that pseudocosts grow). An expert that costs nothing branches everywhere, and its samples are of its own trees.
"""

from __future__ import annotations

import hashlib
import math
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from ...branching._scip import scip_release
from ...branching.episode import Episode, EpisodeError
from ...branching.episode_recorder import EpisodeRecorder
from ...branching.expert import ConstraintByConstraint, strong_branching
from ...branching.policy import PathStep, Policy
from ...branching.settings import apply_limits, apply_settings
from ...branching.solving import attach, optimize
from ...branching.state import BranchState, variable_column_names
from .errors import TrainingError
from .interruption import Interrupted, Signals
from .recipe import Recipe, SampleSettings
from .run_folder import make_folder
from .sections import settings_of
from .tasks import run_tasks

if TYPE_CHECKING:
    from pyscipopt import Model

    from ...instances.files import InstanceSource

__all__ = ["CollectPolicy", "Purpose", "SolveReport", "collect", "pseudocost_scores"]

Purpose = Literal["training", "validation"]

_SUM_EPSILON = 1e-6
_LONGEST_NAME = 200
"""Signs of a quoted name that go into a file's, which may have 255 bytes with all that comes around it."""
_HOPELESS = 50
_PATIENCE = 10
_FRAC, _DOWN, _UP = (variable_column_names().index(name) for name in ("solution_frac", "pseudocost_down", "pseudocost_up"))


def pseudocost_scores(state: BranchState) -> NDArray[np.float64]:
    """SCIP's product score of the gains that pseudocosts predict for the candidates, (k,).

    max(down * f, 1e-6) * max(up * (1 - f), 1e-6) with the fractionality f, as in SCIP's rule ``pscost`` for binary and
    integer variables (Achterberg, "Constraint Integer Programming", 2007, section 5.3).
    """
    columns = state.variable_features[state.candidates].astype(np.float64)
    fraction = columns[:, _FRAC]
    down = np.nan_to_num(columns[:, _DOWN]) * fraction
    up = np.nan_to_num(columns[:, _UP]) * (1.0 - fraction)
    scores: NDArray[np.float64] = np.maximum(down, _SUM_EPSILON) * np.maximum(up, _SUM_EPSILON)
    return scores


class CollectPolicy(Policy):
    """Branches like the expert at some nodes, which become samples; at the others on pseudocosts or, where it costs nothing, like it too.

    Args:
        settings: at which nodes the expert is asked, and how often.
        entropy: seeds of the draws that decide it.
    """

    extended = True
    needs_path = True

    def __init__(self, settings: SampleSettings, entropy: Sequence[int]) -> None:
        self.settings = settings
        self.recorder = EpisodeRecorder()
        self._random = np.random.default_rng(entropy)
        self._labels: NDArray[np.float64] | None = None
        self._model: weakref.ref[Model] | None = None
        self._order: tuple[int, ConstraintByConstraint] | None = None
        """SCIP's run, and the rule for its variables."""

    def begin(self, model: Model) -> None:
        """Remember the model, weakly: PySCIPOpt never frees a model that a plugin refers to."""
        self._model, self._order = weakref.ref(model), None

    def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[np.float64]:  # noqa: ARG002
        """The expert's scores, or those of what branches in between."""
        self._labels = self._ask(state)
        if self._labels is not None:
            return self._labels
        return self._rule(state) if self.settings.expert == "constraint-by-constraint" else pseudocost_scores(state)

    def remember(self, state: BranchState, path: Sequence[PathStep], choice: int) -> int:
        """Record the decision; its number is what its descendants see of it."""
        parent, entered = -1, -1
        if path:
            memory = path[-1].memory
            assert isinstance(memory, int)
            parent, entered = memory, path[-1].child
        number = self.recorder.add(state, choice, parent=parent, entered=entered, scores=self._labels)
        if self.recorder.n_samples >= self.settings.per_instance:
            self._scip().interruptSolve()
        return number

    def _ask(self, state: BranchState) -> NDArray[np.float64] | None:
        settings = self.settings
        shallow = state.node.depth < settings.shallow_depth
        asked = self._random.random() < (settings.shallow_probability if shallow else settings.probability)
        if not asked or len(state.candidates) < 2 or self.recorder.n_samples >= settings.per_instance:
            return None
        if settings.expert == "constraint-by-constraint":
            return self._rule(state)
        scores = strong_branching(self._scip(), iteration_limit=settings.iteration_limit).scores
        # With fewer than two valid results there is nothing to choose between.
        return scores if np.isfinite(scores).sum() >= 2 else None

    def _rule(self, state: BranchState) -> NDArray[np.float64]:
        if self._order is None or self._order[0] != state.node.run:
            self._order = state.node.run, ConstraintByConstraint(self._scip())
        return self._order[1].places(state)

    def _scip(self) -> Model:
        model = None if self._model is None else self._model()
        if model is None:
            raise RuntimeError("the model was freed")
        return model


@dataclass(frozen=True, slots=True)
class SolveReport:
    """What came of one instance."""

    number: int
    """The instance's, in the recipe's order."""
    instance: str
    """Its name."""
    samples: int
    decisions: int
    """Decisions in the episode: the samples and those on the way to them."""
    reused: bool = False
    """The episode was there already."""
    error: str | None = None
    """Why there is no episode."""


@dataclass(frozen=True, slots=True)
class _Task:
    number: int
    instance: InstanceSource
    samples: SampleSettings
    settings: str
    """Name of this instance's SCIP parameters."""
    entropy: tuple[int, ...]
    path: Path
    fingerprint: str


def collect(
    recipe: Recipe,
    folder: Path,
    purpose: Purpose,
    *,
    workers: int = 1,
    seconds: float | None = None,
    on_report: Callable[[SolveReport], None] | None = None,
) -> list[Path]:
    """Collect the samples of a recipe, one episode an instance. Episodes that are there already are kept.

    Instances are taken in the recipe's order until they hold enough samples, so the result does not depend on the number of
    workers. An instance that fails is reported and left out.

    Args:
        recipe: what to collect.
        folder: where the episodes lie or will lie.
        purpose: which instances, and how many samples.
        workers: processes; 0 solves in this one.
        seconds: wall seconds after which what is there must do, with no error if it is less than the goal; how much that is,
            depends on the machine. Where there is nothing yet, the first ``_PATIENCE`` instances are waited for.
        on_report: called once an instance, as they end.

    Returns:
        The episodes' files, in the order of their instances.

    Raises:
        TrainingError: the folder holds samples of other settings, or the instances are too few.
        Interrupted: SIGINT or SIGTERM came; the episodes that were finished are there.
        OSError: the folder cannot be written.
    """
    instance_of = recipe.instances.training if purpose == "training" else recipe.instances.validation
    goal = recipe.samples.training if purpose == "training" else recipe.samples.validation
    make_folder(folder)
    reports: dict[int, SolveReport] = {}
    deadline = math.inf if seconds is None else monotonic() + seconds

    def complete() -> int | None:
        """The last number that is needed, if it and all before it are done."""
        total = 0
        for number in range(recipe.instances.limit):
            if number not in reports:
                return None
            total += reports[number].samples
            if total >= goal:
                return number
        return None

    def done(report: SolveReport) -> None:
        reports[report.number] = report
        if on_report is not None:
            on_report(report)

    tasks: list[_Task] = []
    for number in range(recipe.instances.limit):
        instance = instance_of(number)
        path = _episode_path(folder, instance)
        entropy = (recipe.seed, instance.seed if instance.seed is not None else number)
        settings = settings_of(recipe.samples.settings, *entropy)
        fingerprint = _fingerprint(recipe, instance, entropy, settings)
        report = _reusable(path, number, instance, fingerprint) if path.exists() else None
        if report is None:
            tasks.append(_Task(number, instance, recipe.samples, settings, entropy, path, fingerprint))
            continue
        done(report)
        if complete() is not None:
            break
    # CPU seconds may take a multiple of wall seconds on a busy machine.
    last = complete()
    waiting = tasks if last is None else []
    pooled = run_tasks(_solve, waiting, workers=workers, timeout=10 * recipe.samples.time_limit + 60)
    with Signals() as signals, closing(pooled) as outcomes:
        for outcome in outcomes:
            if outcome is not None:
                report = outcome.result or SolveReport(outcome.task.number, outcome.task.instance.name, 0, 0, error=outcome.error)
                done(report)
                if len(reports) >= _HOPELESS and not any(report.samples for report in reports.values()):
                    raise TrainingError(f"the first {_HOPELESS} {purpose} instances gave no sample: {report.error or 'too small a size?'}")
                last = complete()
            if signals.received is not None or last is not None or (monotonic() > deadline and _enough(reports)):
                break
        else:
            if last is None and seconds is None:
                found = sum(report.samples for report in reports.values())
                raise TrainingError(f"{recipe.instances.limit} {purpose} instances hold {found} samples, {goal} are asked for")
    if signals.received is not None:
        raise Interrupted(signals.received)
    needed = sorted(reports) if last is None else range(last + 1)
    return [_episode_path(folder, instance_of(number)) for number in needed if reports[number].samples]


def _enough(reports: Mapping[int, SolveReport]) -> bool:
    """Whether what is there may do when the time is up."""
    return len(reports) >= _PATIENCE or any(report.samples for report in reports.values())


def _episode_path(folder: Path, instance: InstanceSource) -> Path:
    # The name of a file may hold its path, where another file has the same stem.
    name = quote(instance.name, safe="")
    if len(name) > _LONGEST_NAME:
        name = f"{name[:_LONGEST_NAME]}-{hashlib.sha256(instance.name.encode()).hexdigest()[:16]}"
    return folder / f"{name}.npz"


def _solve(task: _Task) -> SolveReport:
    model = task.instance.load()
    samples = task.samples
    apply_settings(model, task.settings)
    apply_limits(model, seconds=samples.time_limit, nodes=samples.node_limit)
    policy = CollectPolicy(samples, task.entropy)
    attach(model, policy, strict=True)
    optimize(model)
    if model.getStatus() == "userinterrupt" and policy.recorder.n_samples < samples.per_instance:
        raise KeyboardInterrupt  # SCIP caught it; what the solve has come to is no whole episode
    facts = {
        "instance": task.instance.name,
        "family": task.instance.family,
        "seed": task.instance.seed,
        "fingerprint": task.fingerprint,
        "settings": task.settings,
        "status": model.getStatus(),
        "nodes": model.getNTotalNodes(),
        "scip_version": scip_release(),
    }
    episode = policy.recorder.episode(facts)
    # Samples and the decisions on the way to them, which a network with history encodes again with today's weights.
    episode = episode.kept(episode.samples.tolist())
    episode.save(task.path)
    return SolveReport(task.number, task.instance.name, len(episode.samples), len(episode))


def _reusable(path: Path, number: int, instance: InstanceSource, fingerprint: str) -> SolveReport | None:
    """A report on an episode that is there already; None where it is damaged."""
    try:
        episode = Episode.load(path)
    except EpisodeError:
        return None
    if episode.facts.get("fingerprint") != fingerprint:
        raise TrainingError(f"{path.parent} holds samples of other settings or instances (see {path.name}); choose another folder")
    found, wanted = episode.facts.get("scip_version"), scip_release()
    if found is not None and not f"{wanted}.".startswith(f"{found}."):  # once it was noted without the last number
        raise TrainingError(f"{path.parent} holds samples of SCIP {found} (see {path.name}), this is SCIP {wanted}; choose another folder")
    return SolveReport(number, instance.name, len(episode.samples), len(episode), reused=True)


def _fingerprint(recipe: Recipe, instance: InstanceSource, entropy: tuple[int, ...], settings: str) -> str:
    """Of all that decides what is in an episode; the numbers of samples and instances do not."""
    parts = [repr(instance), instance.content(), recipe.samples.model_dump_json(exclude={"training", "validation"}), str(recipe.seed)]
    if instance.seed is None:  # then the instance's number decides too; an instance with a seed says it all
        parts += [repr(entropy), settings]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
