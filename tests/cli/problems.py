"""Problems of the tests of ``revibranch solve``, and its result as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from revibranch.cli import main

DATA = Path(__file__).parents[1] / "data"
MISC03 = DATA / "instances" / "misc03.mps"
LSEU = DATA / "instances" / "lseu.mps"
SET_COVER = DATA / "demo" / "setcover-400x750-s1.lp.gz"

Capture = pytest.CaptureFixture[str]


def write_lp(folder: Path, objective: str, rows: str, bounds: str) -> Path:
    path = folder / "problem.lp"
    path.write_text(f"{objective}\nSubject To\n{rows}\nBounds\n{bounds}\nGenerals\n x\nEnd\n")
    return path


def as_json(capfd: Capture, *arguments: object, code: int = 0) -> dict[str, Any]:
    assert main(["solve", *map(str, arguments), "--json"]) == code
    result = json.loads(capfd.readouterr().out)
    assert isinstance(result, dict)
    return result
