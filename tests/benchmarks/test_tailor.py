from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")

from hypothesis import given
from hypothesis import strategies as st

from revibranch.benchmarks.comparison import compare
from revibranch.benchmarks.rows import RunRow
from revibranch.benchmarks.statistics import METRICS
from revibranch.benchmarks.store import read_rows
from revibranch.benchmarks.tailor import LEAST, split
from revibranch.benchmarks.verdict import BASELINE, FEWEST, OWN, judge
from revibranch.cli import main
from revibranch.gnn.description import read_header
from revibranch.instances import families
from revibranch.instances.files import InstanceError, InstanceSource

from .rows import error_row, run_row, timeout_row


def sources(count: int) -> list[InstanceSource]:
    return [InstanceSource(f"p{number}", "own", path=f"/nowhere/p{number}.mps") for number in range(count)]


@given(count=st.integers(LEAST, 200), random=st.randoms(use_true_random=False))
def test_each_instance_is_in_one_part_whatever_the_order(count: int, random: object) -> None:
    given_sources = sources(count)
    parts = split(given_sources)
    together = [*parts.training, *parts.validation, *parts.held_back]
    assert sorted(source.name for source in together) == sorted(source.name for source in given_sources)
    assert len(parts.training) > max(len(parts.validation), len(parts.held_back))
    assert min(len(parts.validation), len(parts.held_back)) >= 2
    assert len(parts.held_back) >= FEWEST or count < 3 * FEWEST
    random.shuffle(given_sources)  # type: ignore[attr-defined]
    assert split(given_sources) == parts


def test_too_few_instances_are_refused() -> None:
    with pytest.raises(InstanceError, match="7 instances are too few"):
        split(sources(LEAST - 1))


def rows(ours: float, theirs: float, count: int = 6) -> list[RunRow]:
    return [
        run_row(f"i{number}", policy=policy, solve_seconds=seconds * (1 + number / 10), dual_bound=1.0)
        for number in range(count)
        for policy, seconds in ((OWN, ours), (BASELINE, theirs))
    ]


def test_one_problem_in_two_formats_is_refused() -> None:
    packed = InstanceSource("p3.mps.gz", "own", path="/nowhere/p3.mps.gz")
    with pytest.raises(InstanceError, match="twice"):
        split([*sources(LEAST), packed])
    elsewhere = InstanceSource("elsewhere/p3.mps", "own", path="/elsewhere/p3.mps")
    parts = split([*sources(LEAST), elsewhere])
    assert elsewhere in (*parts.training, *parts.validation, *parts.held_back)


def test_a_policy_is_to_be_used_where_it_is_faster_beyond_doubt() -> None:
    use, reason = judge(rows(5.0, 10.0), OWN)
    assert use
    assert "6 instances" in reason
    use, reason = judge(rows(10.0, 5.0), OWN)
    assert not use
    assert "no gain" in reason


def test_a_gain_that_may_be_chance_is_none() -> None:
    mixed = [row for number, pair in enumerate(3 * ((1, 10), (10, 4), (9, 10), (10, 9))) for row in _pair(number, *pair)]
    use, reason = judge(mixed, OWN)
    assert not use
    assert "no gain that is beyond doubt" in reason
    # Large gains on half of the instances make the mean and its interval; on the others it loses.
    times = *(3 * ((1, 10),)), *(3 * ((10, 9.99),))
    few = [row for number, pair in enumerate(times) for row in _pair(number, *pair)]
    comparison = compare(few, OWN, BASELINE, METRICS["seconds"])
    assert comparison.high is not None
    assert comparison.high < 1.0 < 20 * (comparison.p_value or 0.0)
    assert judge(few, OWN)[0] is False
    # Of two instances the interval is what the two say.
    use, reason = judge(rows(9.8, 10.0, count=FEWEST - 1), OWN)
    assert not use
    assert "fewer than 6 whose times differ prove nothing" in reason
    assert "whose times differ" in judge([*rows(5.0, 10.0, count=FEWEST - 1), *_pair(9, 0.01, 0.01)], OWN)[1]
    # Two runs at the limit cost the same, whatever the clock says.
    stuck = [replace(timeout_row("i9", policy=name), solve_seconds=60.01 + place / 100) for place, name in enumerate((OWN, BASELINE))]
    assert "whose times differ" in judge([*rows(5.0, 10.0, count=FEWEST - 1), *stuck], OWN)[1]
    use, reason = judge(rows(1.0, 10.0, count=1), OWN)
    assert not use
    assert "proves nothing" in reason


def _pair(number: int, ours: float, theirs: float) -> list[RunRow]:
    return [run_row(f"i{number}", policy=OWN, solve_seconds=ours), run_row(f"i{number}", policy=BASELINE, solve_seconds=theirs)]


def test_faster_does_not_outweigh_what_is_wrong_failed_or_unsolved() -> None:
    fast = rows(5.0, 10.0)
    wrong = [*fast[2:], run_row("i0", policy=OWN, objective=2.0, primal_bound=2.0, dual_bound=2.0), fast[1]]
    assert judge(wrong, OWN)[0] is False
    assert "contradict" in judge(wrong, OWN)[1]
    failed = [*fast[2:], error_row("i0", policy=OWN, cause="worker killed"), fast[1]]
    assert judge(failed, OWN) == (False, "1 of its runs failed, the first with: worker killed")
    failed = [*fast[2:], fast[0], error_row("i0", policy=BASELINE, cause="worker killed")]
    assert judge(failed, OWN) == (False, "1 of the runs of SCIP's default failed, the first with: worker killed")
    unsolved = [*fast[2:], timeout_row("i0", policy=OWN), fast[1]]
    assert judge(unsolved, OWN)[0] is False
    assert "does not solve i0 in the time" in judge(unsolved, OWN)[1]
    # As many as the baseline, but others: the seconds of those that it leaves are not known.
    others = [*fast[4:], timeout_row("i0", policy=OWN), fast[1], fast[2], timeout_row("i1", policy=BASELINE)]
    assert judge(others, OWN)[0] is False


def test_from_a_folder_to_a_verdict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    for seed in range(10):
        families.get("auction").generate("30x120", seed).to_model().writeProblem(str(folder / f"a{seed}.lp"), verbose=False)
    out = tmp_path / "run"
    command = ["train", "--instances", str(folder), "--budget", "6s", "--settings", "clean", "--out", str(out)]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "| own+guard |" in printed
    assert BASELINE in printed
    assert ("Use it: " in printed) != ("Keep SCIP's rule: " in printed)
    assert read_header(out / "policy.safetensors").description.family is None
    first = (out / "policy.safetensors").read_bytes()
    # What is there is not done again, nor overwritten by mistake.
    assert main(command) == 2
    assert "holds a run already" in capsys.readouterr().err
    measured = read_rows(out / "held-back.parquet")
    assert main([*command, "--resume", "--workers", "2"]) == 0
    assert (out / "policy.safetensors").read_bytes() == first
    assert read_rows(out / "held-back.parquet") == measured
    # Nor is anything gone on with that was made for other instances: what was held back might have been trained on.
    (folder / "a0.lp").rename(folder / "b0.lp")
    capsys.readouterr()
    assert main([*command, "--resume"]) == 2
    assert "run with other" in capsys.readouterr().err
    (folder / "b0.lp").rename(folder / "a0.lp")
    original = (folder / "a0.lp").read_bytes()
    families.get("auction").generate("30x120", 99).to_model().writeProblem(str(folder / "a0.lp"), verbose=False)
    assert main([*command, "--resume"]) == 2
    assert "run with other contents" in capsys.readouterr().err
    (folder / "a0.lp").write_bytes(original)
    command[command.index("6s")] = "7s"
    assert main([*command, "--resume"]) == 2
    assert "run with other --budget" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "either a RECIPE or --instances"),
        (("recipe.toml", "--instances", "x"), "either a RECIPE or --instances"),
        (("recipe.toml", "--budget", "60m"), "--budget and --settings are for --instances"),
        (("--instances", "x", "--set", "seed=1"), "are for a RECIPE"),
        (("--instances", "x", "--workers", "0"), "at least one process"),
        (("--instances", "x", "--budget", "soon"), "'soon' is no time"),
        (("--instances", "x", "--budget", "0m"), "is no time"),
        (("--instances", "auction:30x120:0-9"), "trained on files"),
        (("--instances", "nowhere"), "nowhere"),
    ],
)
def test_wrong_input_is_one_line(
    options: tuple[str, ...], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", *options]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert "Traceback" not in error
