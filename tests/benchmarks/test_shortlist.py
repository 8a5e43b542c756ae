"""The comparison of shortlists: its control is SCIP's own rule, all of its runs agree, and its table says what the rows say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from revibranch.benchmarks.agreement import disagreements
from revibranch.benchmarks.comparison import compare
from revibranch.benchmarks.rows import RunRow
from revibranch.benchmarks.run import run
from revibranch.benchmarks.shortlist import PseudocostPolicy, main
from revibranch.benchmarks.statistics import METRICS
from revibranch.benchmarks.store import read_rows
from revibranch.gnn.plugin import equip
from revibranch.gnn.policy import load_policy
from revibranch.gnn.pretrained import pretrained_path
from revibranch.instances import families


def measured(out: Path, seeds: str, *more: str) -> tuple[list[RunRow], str]:
    arguments = ["--instances", f"auction:40x150:{seeds}", "--length", "3", "--out", str(out), *more]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return read_rows(out), result.output


def test_all_rules_solve_the_same_instances_and_agree(tmp_path: Path) -> None:
    rows, output = measured(tmp_path / "rows.parquet", "0-2")
    assert len(rows) == 3 * 4
    assert {row.status for row in rows} == {"optimal"}
    for instance in {row.instance for row in rows}:
        assert disagreements([row for row in rows if row.instance == instance]) == []
    strong = dict.fromkeys(("auction", "pseudocosts", "auction, best 3", "pseudocosts, best 3"), 0)
    for row in rows:
        strong[row.policy] += row.strong_branching_lp_iterations or 0
    assert strong["auction"] == strong["pseudocosts"] == 0 < min(strong["auction, best 3"], strong["pseudocosts, best 3"])
    ratio = compare(rows, "auction, best 3", "auction", METRICS["nodes"]).ratio
    assert ratio is not None
    assert f"| auction-40x150, 3, 60 s | auction | 3 | {ratio:.2f} \\[" in output


def test_policies_are_measured_as_they_are_attached(tmp_path: Path) -> None:
    rows, _ = measured(tmp_path / "rows.parquet", "0", "--policy", "general")
    assert all("pseudocosts_overruled" in json.loads(row.report or "{}") for row in rows if row.policy.startswith("general"))
    (alone,) = (row for row in rows if row.policy == "general")
    policy = equip(load_policy("general", device="cpu"), guard=False)
    row = run(families.get("auction").generate("40x150", 0).to_model, policy, settings="clean")
    assert (row.nodes, row.lp_iterations, row.report) == (alone.nodes, alone.lp_iterations, alone.report)


def test_what_a_file_holds_is_not_run_again(tmp_path: Path) -> None:
    out = tmp_path / "rows.parquet"
    before, _ = measured(out, "0-1")
    after, _ = measured(out, "0-2")
    assert len(after) == 3 * 4
    assert [row for row in after if not row.instance.endswith("-s2")] == before  # seconds and all


def test_another_policy_or_limit_is_another_line(tmp_path: Path) -> None:
    out = tmp_path / "rows.parquet"
    _, before = measured(out, "0-1")
    _, after = measured(out, "0", "--policy", "setcover")
    lines = [line for line in after.splitlines() if "auction-40x150" in line]
    assert [line.split(" | ")[:2] for line in lines] == [
        ["| auction-40x150, 2, 60 s", "auction"],
        ["| auction-40x150, 1, 60 s", "setcover"],
    ]
    assert lines[0] in before
    _, last = measured(out, "0-1", "--time-limit", "50")
    assert lines[0] in last
    assert lines[1] in last
    assert sum("50 s" in line for line in last.splitlines()) == 1


def test_other_weights_by_the_same_name_are_refused(tmp_path: Path) -> None:
    out, checkpoint = tmp_path / "rows.parquet", tmp_path / "mine.safetensors"
    checkpoint.write_bytes(pretrained_path("auction").read_bytes())
    measured(out, "0", "--policy", str(checkpoint))
    checkpoint.write_bytes(pretrained_path("setcover").read_bytes())
    result = CliRunner().invoke(main, ["--instances", "auction:40x150:1", "--policy", str(checkpoint), "--out", str(out)])
    assert result.exit_code == 1
    assert "another file of weights" in result.output
    assert len(read_rows(out)) == 4


@pytest.mark.parametrize("spec", ["nosuch:40x150:0", "auction:40x150:9-0"])
def test_wrong_instances_are_one_line(tmp_path: Path, spec: str) -> None:
    result = CliRunner().invoke(main, ["--instances", spec, "--out", str(tmp_path / "rows.parquet")])
    assert result.exit_code == 1
    assert result.output.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_control_is_the_rule_pscost() -> None:
    # Not node for node: the rule breaks ties otherwise.
    nodes = {}
    for label, policy in (("rule", "scip:pscost"), ("policy", PseudocostPolicy())):
        rows = [run(lambda s=seed: families.get("auction").generate("60x250", s).to_model(), policy, settings="clean") for seed in range(4)]
        nodes[label] = sum(row.nodes or 0 for row in rows)
    assert nodes["policy"] < 2 * nodes["rule"] < 4 * nodes["policy"]


def test_the_page_shows_what_the_committed_rows_say() -> None:
    folder = Path(__file__).parents[2] / "benchmarks"
    result = CliRunner().invoke(main, ["--out", str(folder / "results" / "shortlist.parquet")], catch_exceptions=False)
    assert result.exit_code == 0
    assert result.output.strip() in (folder / "POLICIES.md").read_text(encoding="utf-8")
