"""Which source code trained a policy."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from ...branching.files import write_atomically

__all__ = ["note_commit", "source_commit"]

_NAME = "commits.txt"
_UNKNOWN = "unknown"


def note_commit(folder: Path, commit: str | None, *, resume: bool, finished: bool) -> str | None:
    """Write down in the folder of a run which code is at work from here on.

    Args:
        folder: of the run.
        commit: ``source_commit()`` when this process began to work: commits are made meanwhile.
        resume: whether an earlier run goes on, which other code may have begun.
        finished: whether that run has nothing left to train.

    Returns:
        The commits that trained, in their order, with commas between; None where nothing is known of them.
    """
    path = folder / _NAME
    commits = path.read_text(encoding="utf-8").split() if resume and path.exists() else []
    now = commit or _UNKNOWN
    if not finished and commits[-1:] != [now]:
        commits.append(now)
        write_atomically(path, ("\n".join(commits) + "\n").encode())
    return ",".join(commits) if set(commits) - {_UNKNOWN} else None


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
