from __future__ import annotations

import os
import signal

import pytest

from revibranch.gnn.training import interruption
from revibranch.gnn.training.interruption import Signals


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, as its only entry."""
    time = [100.0]
    monkeypatch.setattr(interruption, "monotonic", lambda: time[0])
    return time


@pytest.mark.parametrize("numbers", [(signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGINT), (signal.SIGTERM, signal.SIGINT)])
def test_a_signal_that_comes_twice_at_once_is_one_request(clock: list[float], numbers: tuple[int, int]) -> None:
    with Signals() as signals:
        for number in numbers:
            os.kill(os.getpid(), number)
            clock[0] += 0.5
        assert signals.received == numbers[0]


def test_a_second_ctrl_c_some_seconds_later_acts_as_usual(clock: list[float]) -> None:
    with Signals() as signals:
        os.kill(os.getpid(), signal.SIGINT)
        clock[0] += 3
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        assert signals.received == signal.SIGINT


def test_afterwards_signals_are_handled_as_before() -> None:
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    with Signals():
        within = [signal.getsignal(number) for number in numbers]
    assert [signal.getsignal(number) for number in numbers] == before
    assert all(old != new for old, new in zip(before, within, strict=True))
