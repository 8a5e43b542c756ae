"""``revibranch generate``: whole files, a manifest that tells the truth, and resuming."""

from __future__ import annotations

import errno
import fcntl
import gzip
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from revibranch.branching.files import write_atomically
from revibranch.cli import main
from revibranch.instances import families
from revibranch.instances.files import InstanceError, resolve
from revibranch.instances.manifest import MANIFEST_NAME, Manifest
from revibranch.instances.write import InstanceSet, write_set


def wanted(seeds: Sequence[int]) -> InstanceSet:
    family = families.get("knapsack")
    return InstanceSet("knapsack", family.parse_size("20x3"), family.parameters(), seeds)


def stamps(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.mps")}


def test_the_manifest_describes_the_files(tmp_path: Path) -> None:
    assert main(["generate", "knapsack", "--size", "20x3", "--count", "3", "--seed", "5", "--out", str(tmp_path), "-p", "high=30"]) == 0
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["family"] == "knapsack"
    assert manifest["size"] == "20x3"
    assert manifest["version"] == families.get("knapsack").version
    assert manifest["parameters"] == {"low": 10, "high": 30, "scheme": "weakly-correlated"}
    assert [entry["seed"] for entry in manifest["instances"]] == [5, 6, 7]
    family = families.get("knapsack")
    for entry in manifest["instances"]:
        assert hashlib.sha256((tmp_path / entry["file"]).read_bytes()).hexdigest() == entry["sha256"]
        generated = family.generate("20x3", entry["seed"], family.parameters(high=30))
        assert (entry["name"], entry["problem"]) == (generated.name, generated.problem.checksum())
    assert {path.name for path in tmp_path.iterdir()} == {"manifest.json", *(entry["file"] for entry in manifest["instances"])}


def test_good_files_are_kept_and_damaged_ones_written_again(tmp_path: Path) -> None:
    write_set(wanted(range(4)), tmp_path)
    whole = {path.name: path.read_bytes() for path in tmp_path.glob("*.mps")}
    before = stamps(tmp_path)
    (tmp_path / "knapsack-20x3-s1.mps").write_text("half a fi")
    (tmp_path / "knapsack-20x3-s2.mps").unlink()
    seen: list[tuple[int, bool]] = []
    write_set(wanted(range(5)), tmp_path, on_file=lambda seed, kept: seen.append((seed, kept)))
    assert sorted(seen) == [(0, True), (1, False), (2, False), (3, True), (4, False)]
    after = stamps(tmp_path)
    assert after["knapsack-20x3-s0.mps"] == before["knapsack-20x3-s0.mps"]
    assert {name: (tmp_path / name).read_bytes() for name in whole} == whole
    assert Manifest.read(tmp_path / "manifest.json").seeds == [0, 1, 2, 3, 4]


def test_a_damaged_file_that_is_not_wanted_stays_known_as_such(tmp_path: Path) -> None:
    write_set(wanted(range(2)), tmp_path)
    damaged = tmp_path / "knapsack-20x3-s0.mps"
    damaged.write_text(damaged.read_text() + "\n")
    write_set(wanted([7]), tmp_path)
    assert Manifest.read(tmp_path / "manifest.json").seeds == [0, 1, 7]
    source = next(source for source in resolve(tmp_path) if source.path == str(damaged))
    with pytest.raises(InstanceError, match="checksum"):
        source.load()


def test_a_manifest_never_lists_what_is_not_there(tmp_path: Path) -> None:
    write_set(wanted(range(3)), tmp_path)
    (tmp_path / "knapsack-20x3-s0.mps").unlink()
    assert write_set(wanted(range(3, 4)), tmp_path).seeds == [1, 2, 3]


def test_more_workers_write_the_same_files(tmp_path: Path) -> None:
    one = write_set(wanted(range(5)), tmp_path / "one", workers=1)
    two = write_set(wanted(range(5)), tmp_path / "two", workers=2)
    assert one == two


def without_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", fails)


@pytest.mark.parametrize("locks", [True, False])
def test_two_at_once_keep_each_others_entries(locks: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not locks:
        without_locks(monkeypatch)
    write_set(wanted([7]), tmp_path)
    (tmp_path / "knapsack-20x3-s7.mps").unlink()

    def on_file(seed: int, kept: bool) -> None:
        if seed == 0:
            write_set(wanted([1, 5, 6]), tmp_path)  # the other one begins and ends while this one is at it, with a file in common

    expected = [0, 1, 2, 5, 6]
    assert write_set(wanted(range(3)), tmp_path, on_file=on_file).seeds == expected
    assert Manifest.read(tmp_path / MANIFEST_NAME).seeds == expected
    assert {path.name for path in tmp_path.iterdir()} == {MANIFEST_NAME, *(f"knapsack-20x3-s{seed}.mps" for seed in expected)}


def test_a_manifest_is_written_by_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    others = [threading.Thread(target=write_set, args=(wanted([seed]), tmp_path)) for seed in (1, 2)]
    next_one = iter(others)
    write = Manifest.write

    def slowly(manifest: Manifest, path: Path) -> None:
        # What the next one adds is not in what is about to be written: it has to wait until that is there.
        if (other := next(next_one, None)) is not None:
            other.start()
            other.join(0.3)
        write(manifest, path)

    monkeypatch.setattr(Manifest, "write", slowly)
    write_set(wanted([0]), tmp_path)
    for other in others:
        while other.ident is None:  # its predecessor starts it
            time.sleep(0.01)
        other.join(60)
    assert Manifest.read(tmp_path / MANIFEST_NAME).seeds == [0, 1, 2]
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".mps"] == [MANIFEST_NAME]


def test_a_lock_that_a_killed_one_left_holds_nobody_up(tmp_path: Path) -> None:
    (tmp_path / ".manifest.json.lock").touch()
    assert write_set(wanted([0]), tmp_path).seeds == [0]
    assert {path.name for path in tmp_path.iterdir()} == {MANIFEST_NAME, "knapsack-20x3-s0.mps"}


def test_another_set_that_came_in_meanwhile_keeps_its_manifest(tmp_path: Path) -> None:
    family = families.get("knapsack")
    other = InstanceSet("knapsack", family.parse_size("30x3"), family.parameters(), [0])

    def on_file(seed: int, kept: bool) -> None:
        write_set(other, tmp_path)

    with pytest.raises(InstanceError, match=r"holds instances of size 30x3, not 20x3; name another folder"):
        write_set(wanted([0]), tmp_path, on_file=on_file)
    assert Manifest.read(tmp_path / MANIFEST_NAME).size == "30x3"
    assert len(list(tmp_path.glob("*.mps"))) == 2


def test_a_set_of_the_time_before_a_parameter_is_gone_on_with(tmp_path: Path) -> None:
    family = families.get("auction")
    wanted = InstanceSet("auction", family.parse_size("12x30"), family.parameters(), range(2))
    write_set(wanted, tmp_path)
    path = tmp_path / MANIFEST_NAME
    manifest = json.loads(path.read_text())
    del manifest["parameters"]["compatibility"]
    path.write_text(json.dumps(manifest))
    assert write_set(replace(wanted, seeds=range(3)), tmp_path).seeds == [0, 1, 2]


def test_another_set_in_the_folder_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_set(wanted(range(2)), tmp_path)
    before = stamps(tmp_path)
    for arguments in (["setcover"], ["knapsack", "--size", "30x3"], ["knapsack", "--size", "20x3", "-p", "high=30"]):
        assert main(["generate", *arguments, "--out", str(tmp_path)]) == 2
        assert "name another folder" in capsys.readouterr().err
    assert stamps(tmp_path) == before


def test_compressed_files_hold_the_same_text(tmp_path: Path) -> None:
    arguments = ["generate", "knapsack", "--size", "20x3"]
    assert main([*arguments, "--out", str(tmp_path / "plain")]) == 0
    assert main([*arguments, "--gzip", "--out", str(tmp_path / "packed")]) == 0
    packed = (tmp_path / "packed" / "knapsack-20x3-s0.mps.gz").read_bytes()
    assert gzip.decompress(packed) == (tmp_path / "plain" / "knapsack-20x3-s0.mps").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["knapsak"], "did you mean knapsack"),
        (["knapsack", "--size", "20"], "100x6"),
        (["knapsack", "--count", "0"], "--count"),
        (["knapsack", "--seed", "-1"], "--seed"),
        (["knapsack", "--format", "xls"], "--format"),
        (["knapsack", "-p", "hihg=30"], "hihg"),
        (["knapsack", "-p", "high"], "NAME=VALUE"),
        (["knapsack", "-p", "high=tall"], "high"),
        (["knapsack", "-p", "high=10"], "below"),
        (["setcover", "--size", "20x30"], "entries"),
        (["knapsack", "--seed", str(2**63)], "seeds end"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_two(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["generate", *arguments, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.glob("out/*"))


def test_a_folder_that_cannot_be_made_is_wrong_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["generate", "knapsack", "--out", str(tmp_path / "file" / "out")]) == 2
    assert str(tmp_path / "file") in capsys.readouterr().err


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "a.mps"
    target.write_bytes(b"old")

    def fail(*_: object) -> None:
        raise OSError("disk on fire")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="fire"):
        write_atomically(target, b"new")
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.mps"]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupt_keeps_what_is_finished_and_the_next_run_goes_on(workers: int, tmp_path: Path) -> None:
    program = "import sys; from revibranch.cli import main; sys.exit(main(sys.argv[1:])) if __name__ == '__main__' else None"
    script = tmp_path / "run.py"
    script.write_text(program)
    folder = tmp_path / "out"
    command = [sys.executable, str(script), "generate", "knapsack", "--size", "60x3", "--count", "20000"]
    process = subprocess.Popen(
        [*command, "--out", str(folder), "--workers", str(workers)], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while len(list(folder.glob("*.mps"))) < 10 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: parent and workers alike
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in error
    assert "Traceback" not in error
    manifest = Manifest.read(folder / "manifest.json")
    files = {path.name for path in folder.glob("*.mps")}
    assert len(manifest.instances) >= 9
    assert {entry.file for entry in manifest.instances} <= files
    assert len(files) - len(manifest.instances) <= 1  # at most the one whose entry was on its way
    family = families.get("knapsack")
    again: list[bool] = []
    write_set(
        InstanceSet("knapsack", family.parse_size("60x3"), family.parameters(), manifest.seeds),
        folder,
        on_file=lambda _, kept: again.append(kept),
    )
    assert all(again)
    assert not [path for path in folder.iterdir() if path.name.endswith(".part")]


def test_what_stands_in_a_files_way_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "knapsack-10x2-s0.mps").mkdir()
    assert main(["generate", "knapsack", "--size", "10x2", "--out", str(tmp_path)]) == 2
    assert str(tmp_path / "knapsack-10x2-s0.mps") in capsys.readouterr().err
