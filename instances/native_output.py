"""What C code prints, caught or sent elsewhere: file descriptors, since ``sys.stdout`` means nothing to C."""

from __future__ import annotations

import ctypes
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

__all__ = ["Captured", "capture", "stdout_to_stderr"]


_LOCK = threading.RLock()


class Captured:
    """The text that was printed; filled in when ``capture`` ends."""

    text: str = ""


@contextmanager
def capture() -> Iterator[Captured]:
    """Catch all that this process prints on standard output and error, C code included.

    File descriptors belong to the process, so other threads' output is caught too: keep the block short.
    """
    captured = Captured()
    with tempfile.TemporaryFile() as file:
        try:
            with _pointed_at(file.fileno(), (1, 2)):
                yield captured
        finally:
            file.seek(0)
            captured.text = file.read().decode(errors="replace")


@contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Send what is printed on standard output to standard error: a stray ``printf`` must not spoil a result."""
    with _pointed_at(2, (1,)):
        yield


@contextmanager
def _pointed_at(target: int, descriptors: tuple[int, ...]) -> Iterator[None]:
    """Let the descriptors mean ``target`` for the length of the block. A closed descriptor is left alone.

    One thread at a time: a second one would take the first one's target for the original, and put it back for good.
    """
    with _LOCK:
        _flush()
        kept: dict[int, int] = {}
        for descriptor in descriptors:
            with suppress(OSError):
                kept[descriptor] = os.dup(descriptor)
        try:
            for descriptor in kept:
                with suppress(OSError):
                    os.dup2(target, descriptor)
            yield
        finally:
            _flush()
            for descriptor, copy in kept.items():
                os.dup2(copy, descriptor)
                os.close(copy)


def _flush() -> None:
    """Empty Python's and C's buffers, so that every text goes where it was meant to go."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            with suppress(OSError, ValueError):
                stream.flush()
    with suppress(OSError):
        ctypes.CDLL(None).fflush(None)
