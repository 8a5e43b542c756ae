from __future__ import annotations

from pathlib import Path

import pytest

from revibranch.gnn.checkpoint import Description, save_checkpoint

from .networks import fresh


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A checkpoint of ``fresh``."""
    path = tmp_path / "mine.safetensors"
    save_checkpoint(path, fresh(), Description(family="setcover"))
    return path
