"""Which file was solved and which weights decided: names stay where files change."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ..instances.files import file_sha256
from .policies import AUTO, RULE_PREFIX, split_policy

__all__ = ["LENGTH", "file_checksum", "policy_checksum"]

LENGTH = 16
"""Hexadecimal digits that are kept: two files that share them by chance are not to be expected."""


def file_checksum(path: str | Path | None) -> str | None:
    """Checksum of a file's content, as it is now; None without a file, or where it cannot be read: who uses it will say why."""
    return None if path is None else _short(_digest(path))


def policy_checksum(policy: str) -> str | None:
    """Checksum of the weights that a policy's text stands for, as they are now; of all that ship together for ``auto``.

    None for SCIP's rules, and where the weights cannot be read.
    """
    if policy.startswith(RULE_PREFIX):
        return None
    from ..gnn.pretrained import pretrained_names, pretrained_path

    name, _ = split_policy(policy)
    shipped = pretrained_names()
    if name != AUTO:
        return file_checksum(pretrained_path(name) if name in shipped else name)
    together = hashlib.sha256()
    for each in shipped:
        digest = _digest(pretrained_path(each))
        if digest is None:
            return None
        together.update(f"{each} {digest}\n".encode())
    return _short(together.hexdigest())


def _digest(path: str | Path) -> str | None:
    try:
        return file_sha256(path)
    except OSError:
        return None


def _short(digest: str | None) -> str | None:
    return None if digest is None else digest[:LENGTH]
