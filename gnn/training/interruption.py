"""Ctrl-C and SIGTERM as a question that a loop asks when it can stop."""

from __future__ import annotations

import signal
import threading
from time import monotonic
from types import FrameType, TracebackType
from typing import Any, Self

__all__ = ["Interrupted", "Signals"]

_ECHO_SECONDS = 2.0
"""Signals that follow the first one within so many seconds are the same request: `timeout`, for one, sends its signal to the
process and then to the group that the process is in."""


class Interrupted(Exception):  # noqa: N818  # nothing went wrong
    """A run was stopped by a signal after its state had been written."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.number = number


class Signals:
    """While it is entered, the first SIGINT or SIGTERM is only noted; one that comes some seconds later acts as usual.

    Outside the main thread, where Python lets nobody handle signals, it does nothing.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        """Number of the signal that came."""
        self._since = 0.0
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if self.received is None:
            self.received, self._since = number, monotonic()
        elif monotonic() - self._since > _ECHO_SECONDS:
            self._restore()
            signal.raise_signal(number)

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()
