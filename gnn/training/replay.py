"""Replay: the episodes that a training still learns from, under a bound of memory, and draws from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ...branching.episode import Episode
from ...branching.trajectory import histories
from .learners import Learner
from .reinforcement_recipe import LearningSettings, ReplaySettings
from .targets import Targets, episode_targets, episode_units

__all__ = ["Draw", "Replay", "Stored", "store"]


@dataclass
class Stored:
    """An episode and what is derived from it once."""

    number: int
    """Episodes are numbered through in a training."""
    episode: Episode
    units: list[NDArray[np.int64]]
    """What is drawn as a whole: paths, root down, or single decisions."""
    targets: Targets | None
    """Of all decisions; None where they need a network."""
    histories: list[list[tuple[int, int]]]
    """Per decision the decisions on the way to it, root first, and the child entered at each."""
    priorities: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    """Of each unit."""


@dataclass(frozen=True)
class Draw:
    """Units of one episode, drawn together."""

    stored: Stored
    units: tuple[int, ...]
    """Places among the episode's units."""
    correction: float = 1.0
    """Weight of their loss that makes up for the probability with which they were drawn."""

    @property
    def decisions(self) -> list[int]:
        """All decisions of the units, unit after unit."""
        return [decision for unit in self.units for decision in self.stored.units[unit].tolist()]


def store(number: int, episode: Episode, learner: Learner, learning: LearningSettings) -> Stored:
    """Derive what learning needs of an episode."""
    units = episode_units(episode, learner)
    by_attention = learning.importance == "attention" and learner.target in ("path", "return")
    targets = None if by_attention else episode_targets(episode, units, learner, learning)
    if targets is not None:
        usable = ~np.isnan(targets.constant)
        units = [part for unit in units if len(part := unit[usable[unit]])]
    return Stored(number, episode, units, targets, histories(episode.parent, episode.entered))


class Replay:
    """Episodes in the order in which they came; the oldest leave when memory runs out.

    Args:
        settings: memory and priorities.
        per_episode: units that are drawn together from one episode.
    """

    def __init__(self, settings: ReplaySettings, per_episode: int) -> None:
        self.episodes: list[Stored] = []
        self._settings = settings
        self._per_episode = per_episode
        self._offsets: NDArray[np.int64] = np.zeros(1, dtype=np.int64)
        # Of each unit: one by how many units come up when it does, about; and the sums so far. Of batches of so many decisions.
        self._evenness: NDArray[np.float64] = np.empty(0)
        self._cumulated: NDArray[np.float64] = np.empty(0)
        self._batch = 0

    def __len__(self) -> int:
        """Decisions in the replay."""
        return sum(len(stored.episode) for stored in self.episodes)

    @property
    def nbytes(self) -> int:
        """Memory of the episodes."""
        return sum(stored.episode.nbytes for stored in self.episodes)

    def add(self, stored: Stored) -> list[int]:
        """Take an episode in.

        Returns:
            Numbers of the episodes that left for it.
        """
        if not len(stored.priorities):
            highest = max((float(other.priorities.max()) for other in self.episodes if len(other.units)), default=1.0)
            stored.priorities = np.full(len(stored.units), highest)
        self.episodes.append(stored)
        limit, gone = self._settings.megabytes * 1_000_000, []
        memory = self.nbytes
        while memory > limit and len(self.episodes) > 1:
            oldest = self.episodes.pop(0)
            memory -= oldest.episode.nbytes
            gone.append(oldest.number)
        self._offsets = np.concatenate([[0], np.cumsum([len(part.units) for part in self.episodes])]).astype(np.int64)
        self._batch = 0
        return gone

    def draw(self, random: np.random.Generator, decisions: int) -> list[Draw]:
        """Draw units until they hold so many decisions, if there are so many.

        A unit is drawn evenly or by its priority, and brings up to ``paths_per_episode`` - 1 others of its episode along, evenly
        drawn, whose graphs are at hand then, as long as the batch has room. An episode of fewer or longer units brings fewer along, and
        is asked the more often for it: evenly drawn, all units come up about alike, but for what cannot be had since no unit comes twice.
        """
        taken: dict[int, set[int]] = {}
        draws: list[Draw] = []
        total, attempts = 0, 0
        if not self._offsets[-1]:
            return draws
        if decisions != self._batch:
            self._weigh(decisions)
        shares, cumulated = self._shares()
        while total < decisions and attempts < 4 * decisions:
            attempts += 1
            place, unit, correction = self._one(random, shares, cumulated)
            stored = self.episodes[place]
            seen = taken.setdefault(place, set())
            if unit in seen:
                continue
            units = [unit]
            total += len(stored.units[unit])
            others = [other for other in range(len(stored.units)) if other not in seen and other != unit]
            for index in random.permutation(len(others))[: self._per_episode - 1].tolist():
                if total >= decisions:
                    break
                units.append(others[index])
                total += len(stored.units[others[index]])
            seen.update(units)
            draws.append(Draw(stored, tuple(units), correction))
        return draws

    def reprioritise(self, draws: Sequence[Draw], errors: Sequence[float]) -> None:
        """Set the priorities of drawn units, in the order of ``draws``, to their absolute errors."""
        values = iter(errors)
        for draw in draws:
            for unit in draw.units:
                draw.stored.priorities[unit] = abs(next(values)) + 1e-3

    def _weigh(self, decisions: int) -> None:
        """Weigh units for batches of so many decisions: one by the number that comes up together, as far as a batch has room for it."""
        together = [
            max(1.0, min(len(part.units), self._per_episode, decisions * len(part.units) / max(1, sum(map(len, part.units)))))
            for part in self.episodes
        ]
        self._evenness = np.repeat(1.0 / np.array(together), np.diff(self._offsets))
        self._cumulated = self._evenness.cumsum()
        self._batch = decisions

    def _shares(self) -> tuple[NDArray[np.float64] | None, NDArray[np.float64]]:
        """Of all units: their shares by priority, None where all are alike, and the sums so far of what they are drawn by."""
        if not self._settings.priority:
            return None, self._cumulated
        priorities = np.concatenate([stored.priorities for stored in self.episodes]) ** self._settings.priority
        shares: NDArray[np.float64] = priorities / priorities.sum()
        return shares, (self._evenness * priorities).cumsum()

    def _one(
        self, random: np.random.Generator, shares: NDArray[np.float64] | None, cumulated: NDArray[np.float64]
    ) -> tuple[int, int, float]:
        flat = min(int(cumulated.searchsorted(random.random() * cumulated[-1], side="right")), len(cumulated) - 1)
        # Relative to the rarest unit's, as Schaul et al. (2016) scale it.
        correction = 1.0 if shares is None else float((shares.min() / shares[flat]) ** self._settings.correction)
        place = int(self._offsets.searchsorted(flat, side="right")) - 1
        return place, flat - int(self._offsets[place]), correction
