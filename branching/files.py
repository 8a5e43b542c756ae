"""Files that a reader finds whole or not at all, and what JSON can hold."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

__all__ = ["json_value", "write_atomically"]


def write_atomically(path: str | os.PathLike[str], content: bytes | Callable[[BinaryIO], object]) -> None:
    """Write a file so that a reader finds the old one or the whole new one, also after a crash.

    Args:
        path: the file.
        content: its bytes, or what writes them into an open file.

    Raises:
        OSError: the file cannot be written; the old one is as it was.
    """
    target = Path(path)
    partial = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with partial.open("wb") as file:
            if isinstance(content, bytes):
                file.write(content)
            else:
                content(file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def json_value(value: Any) -> Any:
    """The value with None (null) in place of NaN and infinities, which JSON does not know; in nested mappings too."""
    if isinstance(value, Mapping):
        return {key: json_value(entry) for key, entry in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
