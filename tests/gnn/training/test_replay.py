from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from revibranch.gnn.training.reinforcement_recipe import ReplaySettings
from revibranch.gnn.training.replay import Replay, Stored


@dataclass
class Sized:
    length: int
    nbytes: int = 300_000

    def __len__(self) -> int:
        return self.length


def stored(number: int, lengths: list[int]) -> Stored:
    ends = np.cumsum(lengths)
    units = [np.arange(end - length, end) for end, length in zip(ends, lengths, strict=True)]
    episode: Any = Sized(int(ends[-1]))
    return Stored(number, episode, units, None, [[] for _ in range(int(ends[-1]))])


def test_the_oldest_episodes_leave_when_memory_runs_out() -> None:
    replay = Replay(ReplaySettings(megabytes=1), 1)
    gone = [replay.add(stored(number, [2, 1])) for number in range(5)]
    assert gone == [[], [], [], [0], [1]]
    assert [part.number for part in replay.episodes] == [2, 3, 4]
    assert replay.nbytes <= 1_000_000
    assert len(replay) == 9


def test_one_episode_beyond_all_memory_is_kept() -> None:
    replay = Replay(ReplaySettings(megabytes=1), 1)
    large = stored(0, [3])
    large.episode.nbytes = 5_000_000  # type: ignore[misc]
    assert replay.add(large) == []
    assert replay.draw(np.random.default_rng(0), 2)


def test_draws_hold_no_unit_twice_and_depend_on_the_random_state_alone() -> None:
    replay = Replay(ReplaySettings(), 3)
    for number in range(4):
        replay.add(stored(number, [3, 1, 2, 1, 1]))
    draws = replay.draw(np.random.default_rng(5), 20)
    units = [(draw.stored.number, unit) for draw in draws for unit in draw.units]
    assert len(set(units)) == len(units)
    assert all(len(draw.units) <= 3 for draw in draws)
    assert 20 <= sum(len(draw.decisions) for draw in draws) < 20 + 3
    again = replay.draw(np.random.default_rng(5), 20)
    assert [(draw.stored.number, draw.units) for draw in again] == [(draw.stored.number, draw.units) for draw in draws]


def test_a_replay_smaller_than_a_batch_gives_all_it_has() -> None:
    replay = Replay(ReplaySettings(), 2)
    replay.add(stored(0, [2, 1]))
    draws = replay.draw(np.random.default_rng(0), 64)
    assert sorted(decision for draw in draws for decision in draw.decisions) == [0, 1, 2]


def test_units_are_drawn_evenly_whatever_their_episode() -> None:
    replay = Replay(ReplaySettings(), 1)
    replay.add(stored(0, [1]))
    replay.add(stored(1, [1] * 9))
    random = np.random.default_rng(1)
    first = [replay.draw(random, 1)[0].stored.number for _ in range(2000)]
    assert np.mean(first) == pytest.approx(0.9, abs=0.03)


def test_priorities_decide_what_is_drawn_and_the_correction_makes_up_for_it() -> None:
    replay = Replay(ReplaySettings(priority=1.0, correction=1.0), 1)
    replay.add(stored(0, [1, 1]))
    both = replay.draw(np.random.default_rng(0), 2)
    replay.reprioritise(both, [3.0 if draw.units == (1,) else 1.0 for draw in both])
    random = np.random.default_rng(2)
    draws = [replay.draw(random, 1)[0] for _ in range(4000)]
    assert np.mean([draw.units[0] for draw in draws]) == pytest.approx(0.75, abs=0.03)
    assert {draw.units[0]: round(draw.correction, 2) for draw in draws} == {0: 1.0, 1: 0.33}


def rates(episodes: list[list[int]]) -> np.ndarray:
    """How often units of each episode are drawn, per unit."""
    replay = Replay(ReplaySettings(), 8)
    for number, lengths in enumerate(episodes):
        replay.add(stored(number, lengths))
    random = np.random.default_rng(0)
    drawn = np.zeros(len(episodes))
    for _ in range(10_000):
        for draw in replay.draw(random, 32):
            drawn[draw.stored.number] += len(draw.units)
    return drawn / [len(lengths) for lengths in episodes]


def test_units_of_small_episodes_are_drawn_as_often_as_others() -> None:
    found = rates([[1]] * 60 + [[1] * 30] * 40)
    assert found[:60].mean() / found[60:].mean() == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize("seed", range(3))
def test_units_of_all_episodes_are_drawn_about_alike(seed: int) -> None:
    # As in trainings: paths of some decisions, of which a batch has room for a few, and few or many of them an episode.
    generator = np.random.default_rng(seed)
    episodes = [generator.integers(1, 11, size=int(count)).tolist() for count in np.ceil(generator.exponential(12, size=120))]
    found, counts = rates(episodes), np.array([len(lengths) for lengths in episodes])
    small, large = (np.average(found[chosen], weights=counts[chosen]) for chosen in (counts <= 6, counts >= 20))
    assert small / large == pytest.approx(1.0, abs=0.15)  # 1.3 where what a batch has no room for is forgotten
