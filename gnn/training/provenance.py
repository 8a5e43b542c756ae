"""Which source code trained a policy."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

__all__ = ["source_commit"]


def source_commit() -> str | None:
    """Commit of this source tree, marked where it has changes; None where it is no checkout."""
    source = Path(__file__).resolve()
    # Asks for this very file: an installed package may lie inside a repository of somebody else.
    if _git(source.parent, "ls-files", "--error-unmatch", source.name) is None:
        return None
    commit, changes = _git(source.parent, "rev-parse", "HEAD"), _git(source.parent, "status", "--porcelain", "-uno")
    return None if commit is None else commit + ("+changes" if changes else "")


def _git(folder: Path, *arguments: str) -> str | None:
    command: Sequence[str] = ("git", "-C", str(folder), *arguments)
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()
