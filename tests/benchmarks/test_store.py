"""No finished row is ever lost, and no file that was not ours is ever touched."""

from __future__ import annotations

import dataclasses
import errno
import fcntl
import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from revibranch.benchmarks.rows import RunRow
from revibranch.benchmarks.store import RunStore, StoreError, read_rows, run_key

from .rows import error_row, run_row, timeout_row

pyarrow = pytest.importorskip("pyarrow")
pytest.importorskip("pyarrow.parquet")

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
ROWS = [
    run_row("a", 0, time_limit=math.inf, gap=math.inf, dual_bound=-math.inf),
    timeout_row("b", 3, "scip:pscost", family=None, objective=None),
    error_row("c", cause='he said "no",\nand 5 µs later:\x00 gone'),
]


def journal_of(path):
    return path.with_name(path.name + ".journal")


def test_every_row_comes_back_from_the_journal_and_from_parquet_as_it_was(tmp_path):
    path = tmp_path / "runs.parquet"
    with RunStore(path) as store:
        for row in ROWS:
            store.append(row)
        assert not path.exists()
        assert read_rows(path) == ROWS
        store.finish()
    assert read_rows(path) == ROWS
    assert sorted(os.listdir(tmp_path)) == ["runs.parquet"]


def test_the_parquet_file_has_the_columns_of_a_row_in_order_and_says_what_it_is(tmp_path):
    path = tmp_path / "runs.parquet"
    with RunStore(path) as store:
        store.append(run_row())
        store.finish()
    schema = pyarrow.parquet.read_schema(path)
    assert schema.names == [field.name for field in dataclasses.fields(RunRow)]
    assert schema.field("nodes").type == pyarrow.int64()
    assert schema.field("seed").nullable is False
    assert schema.field("objective").nullable is True
    assert schema.metadata[b"format"] == b"revibranch.runs"


def test_a_column_without_any_value_keeps_its_type(tmp_path):
    path = tmp_path / "runs.parquet"
    with RunStore(path) as store:
        store.append(error_row())
        store.finish()
    assert pyarrow.parquet.read_schema(path).field("nodes").type == pyarrow.int64()


@pytest.mark.parametrize("cut", [1, 2, 40, 400])
def test_a_torn_last_line_costs_that_row_only_and_the_next_row_stands(tmp_path, cut):
    path = tmp_path / "runs.parquet"
    with RunStore(path) as store:
        for row in ROWS[:2]:
            store.append(row)
    content = journal_of(path).read_bytes()
    journal_of(path).write_bytes(content[:-cut])
    assert read_rows(path) == ROWS[:1]
    with RunStore(path) as store:
        assert list(store.rows.values()) == ROWS[:1]
        store.append(ROWS[2])
    assert read_rows(path) == [ROWS[0], ROWS[2]]


def test_a_journal_torn_within_its_first_line_is_an_empty_one(tmp_path):
    path = tmp_path / "runs.parquet"
    with RunStore(path):
        header = journal_of(path).read_bytes()
    for length in range(len(header)):
        journal_of(path).write_bytes(header[:length])
        with RunStore(path) as store:
            assert store.rows == {}
            assert journal_of(path).read_bytes() == header


def test_a_store_that_was_given_no_row_leaves_no_file(tmp_path):
    RunStore(tmp_path / "runs.parquet").close()
    assert os.listdir(tmp_path) == []


def test_a_journal_with_rows_outlives_its_store_and_a_foreign_one_its_refusal(tmp_path):
    path, foreign = tmp_path / "runs.parquet", tmp_path / "foreign.parquet"
    with RunStore(path) as store:
        store.append(ROWS[0])
    RunStore(path).close()
    assert read_rows(path) == ROWS[:1]
    journal_of(foreign).write_text("my diary")
    with pytest.raises(StoreError, match="no journal"):
        RunStore(foreign)
    assert journal_of(foreign).read_text() == "my diary"


def test_a_journal_of_another_evaluation_is_left_alone(tmp_path):
    path = tmp_path / "runs.parquet"
    with RunStore(path) as store:
        with pytest.raises(StoreError, match="another evaluation"):
            RunStore(path)
        store.append(ROWS[0])
        assert read_rows(path) == ROWS[:1]


def test_a_last_line_of_zeros_is_dropped(tmp_path):
    path = tmp_path / "runs.parquet"
    with RunStore(path) as store:
        store.append(ROWS[0])
    with journal_of(path).open("ab") as file:
        file.write(b"\0" * 100 + b"\n")
    assert read_rows(path) == ROWS[:1]


def test_damage_before_the_last_line_is_said_not_swallowed(tmp_path):
    path = tmp_path / "runs.parquet"
    with RunStore(path) as store:
        for row in ROWS:
            store.append(row)
    lines = journal_of(path).read_bytes().splitlines(keepends=True)
    lines[1] = b"{}\n"
    journal_of(path).write_bytes(b"".join(lines))
    with pytest.raises(StoreError, match="damaged"):
        read_rows(path)


def test_rows_in_both_places_are_one_and_the_later_counts(tmp_path):
    path = tmp_path / "runs.parquet"
    with RunStore(path) as store:
        store.append(error_row("a"))
        store.append(run_row("b"))
        store.finish()
    with RunStore(path) as store:
        store.append(run_row("a", nodes=7))
    assert [(row.instance, row.nodes) for row in read_rows(path)] == [("a", 7), ("b", 100)]


def test_rows_are_sorted_whatever_the_order_they_finished_in(tmp_path):
    rows = [run_row(instance, seed) for instance in "abc" for seed in (0, 2, 10)]
    with RunStore(tmp_path / "runs.parquet") as store:
        for row in reversed(rows):
            store.append(row)
        store.finish()
    assert read_rows(tmp_path / "runs.parquet") == rows


def test_two_evaluations_cannot_write_the_same_file(tmp_path):
    with RunStore(tmp_path / "runs.parquet"), pytest.raises(StoreError, match="another evaluation"):
        RunStore(tmp_path / "runs.parquet")


def test_a_file_system_without_locks_keeps_nobody_out(tmp_path, monkeypatch):
    def no_locks(descriptor, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with RunStore(tmp_path / "runs.parquet") as store:
        store.append(ROWS[0])
        store.finish()
    assert read_rows(tmp_path / "runs.parquet") == ROWS[:1]


def test_a_foreign_file_is_refused_and_left_alone(tmp_path):
    text, foreign = tmp_path / "a.parquet", tmp_path / "b.parquet"
    text.write_text("instance,nodes\n")
    pyarrow.parquet.write_table(pyarrow.table({"instance": ["a"]}), foreign)
    before = foreign.read_bytes()
    for path, message in ((text, "cannot read"), (foreign, "not one of revibranch runs")):
        for use in (read_rows, RunStore):
            with pytest.raises(StoreError, match=message) as caught:
                use(path)
            assert "\n" not in str(caught.value)
    assert foreign.read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["a.parquet", "b.parquet"]


LATER = ["instance_sha256", "policy_sha256", "report"]


def test_files_from_before_a_column_came_are_read_and_what_they_lack_is_unknown(tmp_path):
    path = tmp_path / "runs.parquet"
    with RunStore(path) as store:
        store.append(run_row("a", instance_sha256="0" * 16, policy_sha256="1" * 16, report='{"guard_handovers": 0}'))
        store.finish()
    table = pyarrow.parquet.read_table(path)
    pyarrow.parquet.write_table(table.drop_columns(LATER), path)
    assert read_rows(path) == [run_row("a")]
    with RunStore(path) as store:  # and written on, beside rows that know
        store.append(run_row("b", instance_sha256="2" * 16))
        store.finish()
    assert [row.instance_sha256 for row in read_rows(path)] == [None, "2" * 16]


def test_a_journal_from_before_a_column_came_is_read(tmp_path):
    path = tmp_path / "runs.parquet"
    with RunStore(path) as store:
        for row in ROWS:
            store.append(row)
    header, *lines = journal_of(path).read_bytes().splitlines()
    records = [json.loads(line) for line in lines]
    older = [json.dumps({name: value for name, value in record.items() if name not in LATER}).encode() for record in records]
    journal_of(path).write_bytes(b"\n".join([header, *older, lines[0], b""]))
    assert read_rows(path) == ROWS


@pytest.mark.parametrize("name", ["nodes", "scip_version", "unheard_of"])
def test_other_columns_are_another_version(tmp_path, name):
    path = tmp_path / "runs.parquet"
    with RunStore(path) as store:
        store.append(run_row())
        store.finish()
    table = pyarrow.parquet.read_table(path)
    changed = table.drop_columns([name]) if name in table.column_names else table.append_column(name, [["x"]])
    pyarrow.parquet.write_table(changed, path)
    with pytest.raises(StoreError, match="another revibranch version"):
        read_rows(path)


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.parquet")), ids=lambda path: path.stem)
def test_committed_results_are_read(path):
    rows = read_rows(path)
    assert rows
    assert len({run_key(row) for row in rows}) == len(rows)


def test_a_file_of_another_format_is_refused(tmp_path):
    path = tmp_path / "runs.parquet"
    with RunStore(path) as store:
        store.append(run_row())
        store.finish()
    table = pyarrow.parquet.read_table(path)
    newer = table.replace_schema_metadata({**table.schema.metadata, b"format_version": b"99"})
    pyarrow.parquet.write_table(newer, path)
    with pytest.raises(StoreError, match="format 99"):
        read_rows(path)


def test_no_such_file_is_said(tmp_path):
    with pytest.raises(StoreError, match="no such file"):
        read_rows(tmp_path / "runs.parquet")


WRITER = """
import sys
from pathlib import Path
from revibranch.benchmarks.store import RunStore
from tests.benchmarks.rows import run_row
with RunStore(Path(sys.argv[1])) as store:
    for number in range(10**9):
        store.append(run_row(f"{number:09d}"))
        print(number, flush=True)
"""


def test_a_kill_loses_no_row_that_append_has_returned_from(tmp_path):
    path = tmp_path / "runs.parquet"
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True, env=environment) as writer:
        last = -1
        for _ in range(60):
            last = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read().split("\n")
    last = max([last, *(int(line) for line in rest[:-1])])
    rows = read_rows(path)
    assert [int(row.instance) for row in rows][: last + 1] == list(range(last + 1))
    assert len(rows) <= last + 2
    with RunStore(path) as store:  # the lock went with the process
        assert {run_key(row) for row in rows} == set(store.rows)
