"""Nodes and LP iterations of an evaluation are those that a script of ten lines counts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from revibranch.benchmarks.store import read_rows
from revibranch.cli import main

pytest.importorskip("pyarrow")

SCRIPT = Path(__file__).with_name("ten_lines.py")
RULES = ("relpscost", "pscost", "random")
SEED = 1


def counted_by_script(path: Path, rule: str) -> tuple[int, ...]:
    """Nodes, LP iterations and those of strong branching, from a process that knows nothing of revibranch."""
    done = subprocess.run([sys.executable, SCRIPT, path, rule, str(SEED)], capture_output=True, text=True, check=True)
    return tuple(int(word) for word in done.stdout.split())


@pytest.mark.parametrize(
    "sets",
    [
        pytest.param({"knapsack": ("20x3", 2)}, id="two-instances"),
        pytest.param(
            {"setcover": ("200x300", 4), "auction": ("40x200", 3), "knapsack": ("30x4", 3)}, id="ten-instances", marks=pytest.mark.slow
        ),
    ],
)
def test_counts_of_an_evaluation_are_those_of_a_ten_line_script(tmp_path: Path, sets: dict[str, tuple[str, int]]) -> None:
    out = tmp_path / "runs.parquet"
    for family, (size, count) in sets.items():
        assert main(["generate", family, "--size", size, "--count", str(count), "--out", str(tmp_path / family)]) == 0
    folders = [part for family in sets for part in ("--instances", str(tmp_path / family))]
    rules = [part for rule in RULES for part in ("--policy", f"scip:{rule}")]
    assert main(["evaluate", *folders, *rules, "--seeds", str(SEED), "--out", str(out)]) == 0

    files = {path.stem: path for path in tmp_path.glob("*/*.mps")}
    rows = read_rows(out)
    assert len(rows) == len(files) * len(RULES)
    for row in rows:
        expected = counted_by_script(files[row.instance], row.policy.removeprefix("scip:"))
        assert (row.nodes, row.lp_iterations, row.strong_branching_lp_iterations) == expected, (row.instance, row.policy)
    assert max(row.nodes or 0 for row in rows) > 10, "without trees the comparison says little"
    assert any(row.strong_branching_lp_iterations for row in rows)
