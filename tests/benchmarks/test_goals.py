"""The table of goals says what the rows say, and the committed page is the table of the committed rows."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from revibranch.benchmarks import goals
from revibranch.benchmarks.rows import RunRow
from revibranch.benchmarks.store import RunStore

from .rows import error_row, run_row, timeout_row

pytest.importorskip("pyarrow")

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
GOAL = goals.Goal("some", "some.parquet", "some-3x4", "ours", "scip:relpscost", 0.5, 0.9, 0.3)


def table(folder: Path, rows: list[RunRow], monkeypatch: pytest.MonkeyPatch) -> str:
    with RunStore(folder / GOAL.file) as store:
        for row in rows:
            store.append(row)
        store.finish()
    monkeypatch.setattr(goals, "GOALS", (GOAL,))
    result = CliRunner().invoke(goals.main, [str(folder)])
    return result.output


def runs(policy: str, seconds: float, nodes: int) -> list[RunRow]:
    rows = [run_row(f"some-3x4-s{seed}", 0, policy, nodes=nodes, solve_seconds=seconds) for seed in range(2)]
    return [*rows, run_row("other-3x4-s0", 0, policy, nodes=1, solve_seconds=1000.0)]


def test_ratios_are_held_against_the_goals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Shifted by one second and by ten nodes: 4/8, 4/5, 20/50.
    rows = [*runs("ours", 3.0, 10), *runs("scip:relpscost", 7.0, 70), *runs("scip:pscost", 4.0, 40)]
    line = table(tmp_path, rows, monkeypatch).splitlines()[-1]
    cells = [cell.strip() for cell in line.strip("|").split(" | ")]
    assert cells[:2] == ["some", "2 x 1"]
    assert cells[2].startswith("0.43 ")  # the mean is shifted back: 3/7
    assert cells[2].endswith("goal 0.5: met")
    assert cells[3].startswith("0.75 ")
    assert cells[3].endswith("goal 0.9: met, `scip:pscost`")
    assert cells[4].startswith("0.25 ")
    assert cells[4].endswith("goal 0.3: met")


def test_rules_that_did_not_do_all_the_runs_are_not_the_fastest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [*runs("ours", 3.0, 10), *runs("scip:relpscost", 7.0, 70), *runs("scip:pscost", 4.0, 40), *runs("scip:random", 1.0, 40)[:1]]
    rows += [error_row(f"some-3x4-s{seed}", 0, "scip:inference") for seed in range(2)]
    assert "`scip:pscost`" in table(tmp_path, rows, monkeypatch)


def test_a_run_at_its_limit_leaves_the_goal_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [*runs("ours", 3.0, 10)[:1], timeout_row("some-3x4-s1", 0, "ours", nodes=1)]
    rows += [*runs("scip:relpscost", 1000.0, 70), *runs("scip:pscost", 1000.0, 4000)]
    line = table(tmp_path, rows, monkeypatch).splitlines()[-1]
    assert line.count(": open") == 3
    assert "≥" in line


def test_above_the_goal_a_run_at_its_limit_misses_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [*runs("ours", 3.0, 10)[:1], timeout_row("some-3x4-s1", 0, "ours", nodes=50)]
    rows += [*runs("scip:relpscost", 3.0, 10), *runs("scip:pscost", 3.0, 10)]
    assert table(tmp_path, rows, monkeypatch).splitlines()[-1].count("**missed**") == 3


def test_rows_that_are_not_there_are_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = table(tmp_path, runs("scip:relpscost", 7.0, 70), monkeypatch)
    assert output.splitlines()[-1].startswith("Error: ")
    assert "holds no run of ours on some-3x4" in output


def test_the_page_shows_the_table_of_the_committed_rows() -> None:
    result = CliRunner().invoke(goals.main, [str(BENCHMARKS / "results")])
    assert result.exit_code == 0, result.output
    page = (BENCHMARKS / "POLICIES.md").read_text(encoding="utf-8")
    assert result.output in page
