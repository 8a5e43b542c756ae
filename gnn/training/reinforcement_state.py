"""All that a training by reinforcement learning is between two rounds, and its files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from ...branching._scip import scip_release
from ...branching.episode import Episode, EpisodeError
from ..config import NetworkConfig
from ..network import BranchingNetwork
from .errors import TrainingError
from .learners import LEARNERS
from .reinforcement_recipe import ReinforcementRecipe
from .replay import Replay, Stored, store
from .reports import ValidationReport
from .run_folder import STATE_NAME
from .state import (
    StateError,
    adam_tensors,
    load_facts,
    load_state,
    require_instances,
    require_recipe,
    require_scip,
    restore_adam,
    restoring,
    save_state,
)

__all__ = ["RunState", "require_run_of"]

_CRITIC_CLASSES = 32
_HEAD = "decoder.score.2."  # the layer whose meaning depends on the number of classes and on what they stand for
_NORMALISATION_STATES = 400  # of the first episodes, at most
_MEAN_STEPS = 10  # of which the mean consists at first, so that the random weights are soon forgotten
_COUNTERS = ("round", "decisions", "episodes", "step", "validated", "warm", "finished", "seconds")


class RunState:
    """Networks, optimisers, replay and counters.

    Args:
        recipe: of the run.
        start: the network to start from; None for random weights.
        device: where the networks learn.

    Raises:
        TrainingError: ``start`` has other inputs or another shape than the recipe's network.
    """

    def __init__(self, recipe: ReinforcementRecipe, start: BranchingNetwork | None, device: torch.device) -> None:
        self.recipe = recipe
        learner = LEARNERS[recipe.learner]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            self.network = BranchingNetwork(recipe.network).to(device)
            self.target = BranchingNetwork(recipe.network).to(device)
            critic_config = recipe.network.model_copy(update={"classes": _CRITIC_CLASSES})
            self.critic = BranchingNetwork(critic_config).to(device) if learner.loss == "clipped" else None
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=recipe.learning.learning_rate)
        self.critic_optimiser = (
            None if self.critic is None else torch.optim.Adam(self.critic.parameters(), lr=recipe.learning.learning_rate)
        )
        self.initial: BranchingNetwork | None = None
        """What ``finetune`` is pulled back to."""
        self.acting: BranchingNetwork | None = None
        """What the first round's rollouts use where the network's own head is still random; None: the network. Learners on policy have
        none: what they learn from must be their own."""
        self.mean = BranchingNetwork(recipe.network).to(device) if recipe.learning.averaging else None
        """The running mean of the network's weights."""
        self._identity = _identity(recipe, start)
        if start is not None:
            self._start_from(start)
        self.copy_target()
        self.restart_mean()
        self.replay = Replay(recipe.replay, recipe.learning.paths_per_episode if learner.paths != "single" else 1)
        self.best: dict[str, torch.Tensor] = {}
        self.validations: list[ValidationReport] = []
        self.round = self.decisions = self.episodes = self.step = self.validated = 0
        self.warm = start is not None
        """Whether the input normalisation is fitted."""
        self.validating = start is not None
        """Whether the validation of these weights is still to be done, or to be done again: it was interrupted. What a training starts
        from is validated too, for it may be better than all that comes."""
        self.finished = False
        self.seconds = 0.0
        """Wall seconds of training until the state was written."""

    def networks(self) -> Iterator[BranchingNetwork]:
        """Those that learn."""
        yield self.network
        if self.critic is not None:
            yield self.critic

    def fit_normalisation(self, fresh: Sequence[Stored]) -> None:
        """Fit the networks' input normalisation on what random branching saw, if it saw anything."""
        places = [(stored, decision) for stored in fresh for decision in range(len(stored.episode))]
        if not places:
            return
        every = -(-len(places) // _NORMALISATION_STATES)
        states = [stored.episode.state(decision) for stored, decision in places[::every]]
        for network in self.networks():
            network.fit_normalisation(states)
        self.copy_target()
        self.restart_mean()
        self.warm = True

    def copy_target(self) -> None:
        """Today's weights into the target network."""
        self.target.load_state_dict(self.network.state_dict())
        self.target.eval()

    @property
    def validated_network(self) -> BranchingNetwork:
        """The network that validations branch with and that the training returns."""
        return self.network if self.mean is None else self.mean

    @property
    def rollout_network(self) -> BranchingNetwork:
        """The network that rollouts branch with."""
        if self.acting is not None:
            return self.acting
        return self.network if LEARNERS[self.recipe.learner].on_policy else self.validated_network

    def restart_mean(self) -> None:
        """Today's weights become the mean."""
        if self.mean is not None:
            self.mean.load_state_dict(self.network.state_dict())
            self.mean.eval()

    def move_mean(self) -> None:
        """After a gradient step: the mean moves towards the weights, early in the training faster."""
        if self.mean is None:
            return
        decay = min(self.recipe.learning.averaging, (1 + self.step) / (_MEAN_STEPS + self.step))
        with torch.no_grad():
            for mean, latest in zip(self.mean.parameters(), self.network.parameters(), strict=True):
                mean.lerp_(latest, 1.0 - decay)

    def _start_from(self, start: BranchingNetwork) -> None:
        ours, theirs = self.recipe.network, start.config
        for name, value in ours:
            if name not in ("classes", "highest") and getattr(theirs, name) != value:
                raise TrainingError(f"the checkpoint to start from has network.{name} = {getattr(theirs, name)}, the recipe {value}")
        for network in self.networks():
            own, head = network.state_dict(), _head(network.config) == _head(theirs)
            fitting = {name: tensor for name, tensor in start.state_dict().items() if head or not name.startswith(_HEAD)}
            network.load_state_dict({**own, **fitting})
        if _head(ours) != _head(theirs) and not LEARNERS[self.recipe.learner].on_policy:
            self.acting = start
        if self.critic is not None:
            self.initial = start.to(self.network.device)

    # ---- files -----------------------------------------------------------------------------------------------------

    def save(self, out: Path) -> None:
        """Write everything: the replay's new episodes first, each into a file of its own, then the state, then tidy up.

        Raises:
            OSError: something cannot be written; the last state is as it was.
        """
        folder = out / "replay"
        folder.mkdir(parents=True, exist_ok=True)
        numbers = [stored.number for stored in self.replay.episodes]
        for stored in self.replay.episodes:
            path = _episode_path(folder, stored.number)
            if not path.exists():
                stored.episode.save(path, compress=False)
        tensors: dict[str, torch.Tensor] = {f"best.{name}": tensor for name, tensor in self.best.items()}
        for part, network, optimiser in self._parts():
            tensors |= {f"{part}.{name}": tensor for name, tensor in network.state_dict().items()}
            if optimiser is not None:
                tensors |= {f"{part}-{name}": tensor for name, tensor in adam_tensors(network, optimiser).items()}
        for stored in self.replay.episodes:
            tensors[f"priorities.{stored.number}"] = torch.from_numpy(stored.priorities)
        facts = {
            "run": self._identity,
            "counters": {name: getattr(self, name) for name in _COUNTERS},
            "validating": self.validating,
            "acting": self.acting is not None,
            "episodes": numbers,
            "validations": [asdict(report) for report in self.validations],
        }
        save_state(out / STATE_NAME, tensors, facts)
        self.tidy(out)

    def load(self, out: Path) -> None:
        """Go on from what ``save`` wrote.

        Raises:
            StateError: it is missing, damaged, or of another recipe.
        """
        path = out / STATE_NAME
        tensors, facts = load_state(path)
        _require_same(path, facts, self._identity)
        with restoring(path):
            try:
                self._restore(tensors, facts, out / "replay")
            except EpisodeError as error:
                raise StateError(f"training state {path} cannot be used: {error}") from error
        self.tidy(out)

    def _restore(self, tensors: dict[str, torch.Tensor], facts: dict[str, Any], folder: Path) -> None:
        for part, network, optimiser in self._parts():
            network.load_state_dict(_part(tensors, f"{part}."))
            if optimiser is not None:
                restore_adam(network, optimiser, _part(tensors, f"{part}-"))
        self.best = _part(tensors, "best.")
        for name in _COUNTERS:
            setattr(self, name, facts["counters"][name])
        self.validating = facts.get("validating", False)  # once, a state was never written before a validation
        if not facts["acting"]:
            self.acting = None
        self.validations = [ValidationReport(**report) for report in facts["validations"]]
        learner = LEARNERS[self.recipe.learner]
        for number in facts["episodes"]:
            stored = store(number, Episode.load(_episode_path(folder, number)), learner, self.recipe.learning)
            stored.priorities = tensors[f"priorities.{number}"].numpy().copy()
            self.replay.add(stored)

    def tidy(self, out: Path) -> None:
        """Drop files of episodes that are not in the replay: those of a save that was cut off would pass for later ones."""
        folder = out / "replay"
        kept = {_episode_path(folder, stored.number) for stored in self.replay.episodes}
        for path in folder.glob("*.npz"):
            if path not in kept:
                path.unlink(missing_ok=True)

    def _parts(self) -> Iterator[tuple[str, BranchingNetwork, torch.optim.Adam | None]]:
        yield "network", self.network, self.optimiser
        yield "target", self.target, None
        if self.mean is not None:
            yield "mean", self.mean, None
        if self.critic is not None:
            yield "critic", self.critic, self.critic_optimiser


def require_run_of(recipe: ReinforcementRecipe, start: BranchingNetwork | None, out: Path) -> None:
    """See that the state in ``out`` is one that a run of this recipe may go on from, before anything is changed there.

    Raises:
        StateError: it is missing, damaged, or of another recipe.
    """
    path = out / STATE_NAME
    _require_same(path, load_facts(path), _identity(recipe, start))


def _identity(recipe: ReinforcementRecipe, start: BranchingNetwork | None) -> dict[str, Any]:
    """What must be the same for a state to go on from; the start is known by its weights, not by its path."""
    content = recipe.model_dump(mode="json", exclude={"name": True, "threads": True, "start": True})
    instances, digest = recipe.instances.content(), None if start is None else _digest(start)
    return {"recipe": content, "start": digest, "instances": instances, "scip": scip_release()}


def _require_same(path: Path, facts: dict[str, Any], identity: dict[str, Any]) -> None:
    run = facts.get("run", {})
    require_recipe(path, {**run.get("recipe", {}), "start": run.get("start")}, {**identity["recipe"], "start": identity["start"]})
    require_instances(path, run.get("instances"), identity["instances"])
    require_scip(path, run.get("scip"), identity["scip"])


def _episode_path(folder: Path, number: int) -> Path:
    return folder / f"episode-{number:06d}.npz"


def _part(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _head(config: NetworkConfig) -> tuple[int, float]:
    """What the network's last layer says: a score, or so many classes up to a highest value."""
    return config.classes, config.highest if config.classes else 0.0


def _digest(network: BranchingNetwork) -> str:
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(name.encode() + tensor.detach().cpu().numpy().tobytes())
    return digest.hexdigest()
