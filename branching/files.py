"""Files that a reader finds whole or not at all, files that one process holds at a time, and what JSON can hold."""

from __future__ import annotations

import fcntl
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

__all__ = ["json_value", "locked", "sync_folder", "write_atomically"]


def write_atomically(path: str | os.PathLike[str], content: bytes | Callable[[BinaryIO], object]) -> None:
    """Write a file so that a reader finds the old one or the whole new one, also after a crash.

    Args:
        path: the file.
        content: its bytes, or what writes them into an open file.

    Raises:
        OSError: the file cannot be written; the old one is as it was.
    """
    target = Path(path)
    # A name that nobody else has, on no other machine either; behind the file's own it may be longer than a file system allows.
    partial = target.with_name(f".{uuid4().hex}.part")
    try:
        with partial.open("xb") as file:
            if isinstance(content, bytes):
                file.write(content)
            else:
                content(file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
        with suppress(OSError):  # not every file system has folders that can be synchronised
            sync_folder(target.parent)
    finally:
        partial.unlink(missing_ok=True)


def sync_folder(folder: str | os.PathLike[str]) -> None:
    """Bring a folder's entries onto the disk, new names of files among them.

    Raises:
        OSError: the folder cannot be opened, or its file system cannot do that.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(path: str | os.PathLike[str], *, wait: bool) -> Iterator[None]:
    """Hold a lock file within this block; it is made, and taken away at the end.

    The lock is the operating system's: it ends with the process, however that ends, and a file that was left behind is no lock. On
    a file system without locks nobody is kept out.

    Args:
        path: the lock file.
        wait: until whoever holds it ends.

    Raises:
        BlockingIOError: somebody holds it, and it is not waited for.
        OSError: the file cannot be made.
    """
    descriptor = _lock(Path(path), fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        yield
    finally:
        # While it is locked, and only if it is ours: its folder may have been replaced meanwhile. One that stays is no harm.
        with suppress(OSError):
            if _is_at(Path(path), descriptor):
                os.unlink(path)
        os.close(descriptor)


def _lock(path: Path, operation: int) -> int:
    """Descriptor of the file, made if there is none and locked where the file system has locks."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, operation)
            if _is_at(path, descriptor):
                return descriptor
        except OSError as error:
            if not isinstance(error, BlockingIOError):
                return descriptor
            os.close(descriptor)
            raise
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # whoever held it took the file away between our opening and our lock: once more


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether the path still names the open file."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def json_value(value: Any) -> Any:
    """The value with None (null) in place of NaN and infinities, which JSON does not know; in nested mappings and sequences too."""
    if isinstance(value, Mapping):
        return {key: json_value(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [json_value(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
