"""A report says what the statistics found, in every format, and what is wrong with a file in one line."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from revibranch.benchmarks.figures import nodes_against_time, profiles
from revibranch.benchmarks.page import document
from revibranch.benchmarks.report import as_json, build_report, choose_baseline
from revibranch.benchmarks.store import RunStore, read_rows
from revibranch.benchmarks.tables import Cell, Table, number, render
from revibranch.benchmarks.verdict import OWN, judge
from revibranch.cli import main

from .rows import error_row, run_row, timeout_row

pytest.importorskip("pyarrow")
pytest.importorskip("matplotlib")

BASE, OTHER = "scip:relpscost", "scip:pscost"
ROWS = [
    # nodes: baseline 40 and 110, the other 10 and 70 -> shifted means 67.5 and 30.0, ratio 0.445
    run_row("a", 0, BASE, nodes=40, solve_seconds=4.0),
    run_row("b", 0, BASE, nodes=110, solve_seconds=8.0),
    run_row("a", 0, OTHER, nodes=10, solve_seconds=1.0),
    run_row("b", 0, OTHER, nodes=70, solve_seconds=1.0),
]
ODD = [
    *ROWS,
    run_row("flat", 0, BASE, nodes=1),
    run_row("flat", 0, OTHER, nodes=1),
    timeout_row("c", 0, BASE, family="auction", nodes=5000),
    run_row("c", 0, OTHER, family="auction"),
    error_row("d<&>", 0, BASE, cause="killed |\nby a_b & <script>"),
    run_row("d<&>", 0, OTHER),
    run_row("e", 0, OTHER),
]


@pytest.fixture
def file(tmp_path):
    def write(rows, name="runs.parquet"):
        with RunStore(tmp_path / name) as store:
            for row in rows:
                store.append(row)
            store.finish()
        return str(tmp_path / name)

    return write


def line_of(text, policy, occurrence=0):
    return [line for line in text.splitlines() if line.startswith(f"| {policy} ")][occurrence]


def test_the_markdown_table_holds_the_hand_computed_numbers(file, capsys):
    assert main(["report", file(ROWS)]) == 0
    text = capsys.readouterr().out
    assert line_of(text, BASE).split(" | ")[1:3] == ["2/2", "67.5"]
    assert line_of(text, OTHER).split(" | ")[1:3] == ["2/2", "**30.0**"]
    assert "| **1.00** | **2** |" in line_of(text, OTHER)  # seconds and wins
    assert f"| {30 / (math.sqrt(6000) - 10):.3f} " in line_of(text, OTHER, 1)


def test_limits_failures_missing_runs_and_flat_instances_are_said(file, capsys):
    assert main(["report", file(ODD), "--baseline", BASE]) == 0
    text = capsys.readouterr().out
    assert "1 of the instances needed no branching" in text
    assert f"Runs that ended at a limit: {BASE} 1." in text
    assert f"Failed runs, in no mean: {BASE} 1." in text
    assert f"Runs not done: {BASE} 1." in text
    assert f"Pairs left out because a run is missing or failed: {OTHER} 2." in text
    assert "≥ " in line_of(text, BASE)
    assert r"killed \| by a\_b & \<script\>" in text
    assert "## Auction: clean settings" in text


def test_a_mean_with_runs_at_a_limit_is_never_called_best():
    rows = [timeout_row("a", 0, "p", nodes=5), run_row("a", 0, "q", nodes=500)]
    cells = {row[0].text: row for row in build_report(rows, illustrated=False).sections[0].tables[0].rows}
    assert (cells["p"][2].text, cells["p"][2].best, cells["q"][2].best) == ("≥ 5.00", False, False)


def test_a_mean_that_lacks_the_hardest_run_is_never_called_best():
    easy = [run_row(name, 0, policy, nodes=nodes) for policy, nodes in (("p", 120), ("q", 110), ("r", 90)) for name in "abc"]
    hard = [error_row("d", 0, "p", cause="worker killed"), run_row("d", 0, "q", nodes=90_000)]  # and none of r
    cells = {row[0].text: row for row in build_report([*easy, *hard], illustrated=False).sections[0].tables[0].rows}
    assert [cells[policy][2].best for policy in "pqr"] == [False, False, False]


def test_times_below_the_clock_have_no_winner_and_no_ratio(file, capsys):
    seconds = {BASE: 0.004, OTHER: 0.0, "p": 3.0}
    rows = [run_row(f"i{k}", 0, policy, solve_seconds=took) for k in range(6) for policy, took in seconds.items()]
    assert main(["report", file(rows)]) == 0
    text = capsys.readouterr().out
    assert [line_of(text, policy).split(" | ")[6] for policy in (BASE, OTHER)] == ["0.00", "0.00"]
    assert line_of(text, OTHER, 1).endswith("| - | - |")
    assert not line_of(text, "p", 1).endswith("| - | - |")
    assert "No ratio of seconds where the means are too small" in text
    # One policy below the clock, all others above it: that one won.
    table = build_report([row for row in rows if row.policy != OTHER], illustrated=False).sections[0].tables[0]
    assert [(row[6].text, row[6].best) for row in table.rows] == [("0.00", True), ("3.00", False)]


def test_what_auto_chose_is_said_in_each_section():
    def chose(instance, family, policy, name, **changes):
        report = json.dumps({"auto_policy": name} if name else {})
        return run_row(instance, 0, policy, family=family, report=report, **changes)

    rows = [
        chose("a", "setcover", "auto", "setcover"),
        chose("b", "setcover", "auto", "setcover"),
        chose("c", "auction", "auto", "auction"),
        chose("flat", "auction", "auto", None, nodes=1),
        chose("level", "auction", "auto", None, nodes=1),
        chose("a", "setcover", "auto+guard", "setcover"),
        chose("a", "setcover", "mine", "setcover"),
        error_row("c", policy="auto+guard"),
        run_row("b", policy="auto+guard", report=None),  # of an older version
        run_row("a", policy=BASE),
    ]
    every, auction, setcover = (section.tables[0].notes for section in build_report(rows, illustrated=False).sections[:3])
    assert [note for note in every if " chose " in note] == [
        "auto chose setcover for 2 runs, auction for 1 run, none for 2 runs.",
        "auto+guard chose setcover for 1 run.",
    ]
    assert [note for note in auction if " chose " in note] == ["auto chose auction for 1 run, none for 2 runs."]
    assert [note for note in setcover if " chose " in note] == ["auto chose setcover for 2 runs.", "auto+guard chose setcover for 1 run."]


def test_a_verdict_needs_the_interval_and_the_test():
    # Two instances: the interval excludes 1, but no test on two numbers can be significant.
    report = build_report(ROWS, illustrated=False)
    assert report.sections[0].tables[1].rows[0][2].verdict == ""
    many = [run_row(f"i{k}", 0, policy, nodes=nodes + k) for k in range(10) for policy, nodes in ((BASE, 400), (OTHER, 100))]
    assert build_report(many, illustrated=False).sections[0].tables[1].rows[0][2].verdict == "better"


def test_html_is_one_well_formed_page_that_needs_nothing_else(file, tmp_path):
    out = tmp_path / "report.html"
    assert main(["report", file(ODD), "--out", str(out)]) == 0
    page = out.read_text()
    assert "67.5" in page
    assert page.count('<img alt="') == 3  # profile, one scatter plot, nodes against time
    assert all(source.startswith("data:image/svg+xml;base64,") for source in re.findall(r'src="([^"]*)"', page))
    assert "<script" not in page
    assert not re.search(r'(src|href)="(?!data:|#)', page)

    class Balance(HTMLParser):
        def __init__(self):
            super().__init__()
            self.open = []

        def handle_starttag(self, tag, attributes):
            if tag not in ("meta", "img", "br"):
                self.open.append(tag)

        def handle_endtag(self, tag):
            assert self.open.pop() == tag

    parser = Balance()
    parser.feed(page)
    assert parser.open == []


def test_the_same_rows_give_the_same_page(file, tmp_path):
    path = file(ODD)
    for name in ("one.html", "two.html"):
        assert main(["report", path, "--out", str(tmp_path / name)]) == 0
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()


@pytest.mark.parametrize(
    ("name", "kind", "link"), [("r.md", "svg", "](<figures/01-profile.svg>)"), ("r.tex", "pdf", "{figures/01-profile.pdf}")]
)
def test_figures_of_markdown_and_latex_are_files_linked_from_where_the_document_is(file, tmp_path, name, kind, link):
    out = tmp_path / name
    assert main(["report", file(ROWS), "--out", str(out), "--figures", str(tmp_path / "figures")]) == 0
    assert link in out.read_text()
    assert len(list((tmp_path / "figures").glob(f"*.{kind}"))) == 3


@pytest.mark.parametrize("draw", [profiles, nodes_against_time])
def test_a_legend_names_every_policy_as_it_is(draw):
    names = ["_runs/p.safetensors", "a$x_1$b", BASE]
    figure = draw([run_row("a", 0, name, solve_seconds=1.0 + place) for place, name in enumerate(names)], names)
    figure.draw_without_rendering()
    texts = figure.legends[0].get_texts()
    assert [text.get_text().strip().replace(r"\$", "$") for text in texts] == names
    assert not any(re.search(r"(?<!\\)\$", text.get_text()) for text in texts)  # would be read as mathematics


def test_latex_escapes_what_latex_would_take_for_markup(file, capsys):
    assert main(["report", file(ODD), "--format", "latex"]) == 0
    text = capsys.readouterr().out
    assert r"killed | by a\_b \& $<$script$>$" in text
    assert not re.search(r"(?<!\\)%(?! )", re.sub(r"(?m)^%.*$", "", text))
    assert r"$\ge$ " in text


def test_json_has_the_numbers_and_no_nan(file, capsys):
    assert main(["report", file(ODD), "--json"]) == 0
    numbers = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert numbers["baseline"] == BASE
    assert [group["group"].split(":")[0] for group in numbers["groups"]] == ["All instances", "Auction", "Setcover"]
    assert as_json(ROWS)["groups"][0]["comparisons"][0]["ratio"] == pytest.approx(30 / (math.sqrt(6000) - 10))


def test_settings_and_limits_are_never_mixed():
    rows = [*ROWS, *(run_row(name, 0, OTHER, settings="dfs") for name in "ab"), run_row("a", 0, BASE, time_limit=math.inf)]
    titles = [section.title for section in build_report(rows, illustrated=False).sections]
    assert titles == [
        "Setcover: clean settings, limit 100 s",
        "Setcover: clean settings, no time limit",
        "Setcover: dfs settings, limit 100 s",
    ]


def test_a_policy_that_failed_does_not_pass_for_scips_rule():
    rows = [run_row(name, policy="broken", decisions=3, fallbacks=14) for name in "ab"]
    rows += [run_row(name, policy="sound", decisions=3, fallbacks=0) for name in "ab"]
    text = document(build_report(rows, illustrated=False), "markdown")
    assert "SCIP's own rule branched in their place: broken at 28 of 34 nodes." in text
    (group,) = as_json(rows)["groups"]
    assert [(policy["policy"], policy["fallbacks"]) for policy in group["policies"]] == [("broken", 28), ("sound", 0)]


def test_a_policy_that_failed_at_a_node_is_not_to_be_used():
    seconds = {OWN: 3.0, "scip:default": 7.0}
    rows = [run_row(str(i), policy=name, solve_seconds=least + i) for i in range(8) for name, least in seconds.items()]
    assert judge(rows, OWN)[0]
    rows[0] = replace(rows[0], fallbacks=2)
    assert judge(rows, OWN) == (False, "the policy failed at 2 nodes, where SCIP's own rule branched in its place")


def test_a_group_without_the_baseline_says_so():
    rows = [run_row("a", policy=BASE), run_row("a", policy="p"), run_row("a", policy="p", settings="default")]
    text = document(build_report(rows, illustrated=False), "markdown")
    assert text.count("Compared with") == 1
    assert text.index(f"No runs of the baseline {BASE} here") > text.index("default settings")


def test_a_wrong_optimum_and_mixed_versions_are_warned_of():
    rows = [*ROWS, run_row("a", 1, BASE, objective=9.0, primal_bound=9.0, dual_bound=9.0, scip_version="9.2.0")]
    first, second = build_report(rows, illustrated=False).warnings
    assert first.startswith("Wrong result on a: ")
    assert "different versions" in second


def test_a_single_run_and_nothing_but_failures_still_make_a_report():
    for rows in ([run_row()], [error_row()], [error_row(), error_row(policy="q")], [run_row("flat", nodes=1)]):
        assert build_report(rows).sections


def test_the_baseline_is_the_one_asked_for_or_reliability_branching():
    assert choose_baseline(ROWS, None) == BASE
    assert choose_baseline(ROWS, OTHER) == OTHER
    assert choose_baseline([run_row(policy="z"), run_row(policy="y")], None) == "y"
    with pytest.raises(ValueError, match="no runs of the baseline 'x'; there are scip:pscost, scip:relpscost"):
        choose_baseline(ROWS, "x")


def test_unreadable_foreign_and_missing_files_are_one_line_and_exit_code_2(file, tmp_path, capsys):
    import pyarrow
    import pyarrow.parquet

    (tmp_path / "text.parquet").write_text("no Parquet at all")
    pyarrow.parquet.write_table(pyarrow.table({"x": [1]}), tmp_path / "foreign.parquet")
    good = file(ROWS)
    link = tmp_path / "report.md"
    link.symlink_to(good)
    for arguments in (
        [str(tmp_path / "text.parquet")],
        [str(tmp_path / "foreign.parquet")],
        [str(tmp_path / "missing.parquet")],
        [str(tmp_path)],
        [good, "--baseline", "scip:nonsense"],
        [good, "--out", str(tmp_path / "no" / "folder.md")],
        [good, "--format", "html", "--figures", str(tmp_path)],
        [good, "--out", good],
        [good, "--json", "--out", str(tmp_path / "foreign.parquet")],
        [good, "--out", str(link)],
    ):
        assert main(["report", *arguments]) == 2, arguments
        captured = capsys.readouterr()
        assert captured.err.count("\n") == 1
        assert captured.out == ""
    assert len(read_rows(good)) == len(ROWS)


@pytest.mark.parametrize(("module", "arguments"), [("pyarrow", []), ("matplotlib", ["--format", "html"])])
def test_a_missing_extra_is_named_in_one_line(file, module, arguments):
    code = f"import sys; sys.modules[{module!r}] = None; from revibranch.cli import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", code, "report", file(ROWS), *arguments], capture_output=True, text=True)
    assert done.returncode == 2
    assert "revibranch[bench]" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("value", "text"),
    [(12345.6, "12,346"), (123.4, "123"), (99.96, "100"), (12.34, "12.3"), (9.999, "10.0"), (1.234, "1.23"), (0.0, "0.00"), (None, "-")],
)
def test_numbers_have_about_three_digits(value, text):
    assert number(value) == text


def test_a_table_is_escaped_in_every_format():
    table = Table("a|b", ["x_y", "50 %"], [[Cell("<p>"), Cell("1", best=True)]])
    assert "| \\<p\\> | **1** |" in render(table, "markdown")
    assert r"$<$p$>$ & \textbf{1} \\" in render(table, "latex")
    assert '<th scope="row">&lt;p&gt;</th><td class="best">1</td>' in render(table, "html")
