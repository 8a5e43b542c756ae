"""Where runs are kept: a Parquet file, and beside it a journal of the rows that are not in it yet.

A finished row is one line of JSON, written with one system call and synced before the next run is accepted. So a kill
at any moment costs the running jobs and nothing else: the worst that can stand in the journal is a torn last line,
which is dropped. ``finish`` merges both into a new Parquet file that takes the old one's place in one step.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
from collections.abc import Collection, Iterable
from dataclasses import MISSING, fields
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self, get_type_hints

from ..branching.files import sync_folder, write_atomically
from .rows import RunRow

__all__ = ["FORMAT_VERSION", "RunKey", "RunStore", "StoreError", "read_rows", "require_pyarrow", "run_key"]

FORMAT_VERSION = 1
"""Raised when the meaning of a column changes or a column goes; not when one is added, which older files then lack."""

_FORMAT = "revibranch.runs"
_SUFFIX = ".journal"


class StoreError(ValueError):
    """A file of runs cannot be read or written; the message is one line for the user."""


class RunKey(NamedTuple):
    """What makes a run: two rows of the same key are the same run, and the later one counts."""

    instance: str
    seed: int
    policy: str
    settings: str
    time_limit: float


def run_key(row: RunRow) -> RunKey:
    """Key of a row."""
    return RunKey(row.instance, row.seed, row.policy, row.settings, row.time_limit)


def require_pyarrow() -> Any:
    """The module ``pyarrow`` with ``pyarrow.parquet`` loaded.

    Raises:
        StoreError: it is not installed; the message names the extra.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise StoreError("Parquet files need pyarrow: pip install 'revibranch[bench]'") from None
    return pyarrow


# --- columns -------------------------------------------------------------------------------------------------------


def _columns() -> dict[str, tuple[type, bool]]:
    """Type and nullability of every column, read off ``RunRow``: the one place that lists them."""
    hints = get_type_hints(RunRow)
    columns: dict[str, tuple[type, bool]] = {}
    for field in fields(RunRow):
        hint = hints[field.name]
        options = [kind for kind in getattr(hint, "__args__", (hint,)) if kind is not type(None)]
        if len(options) != 1 or options[0] not in (str, int, float):
            raise TypeError(f"column {field.name} has no Parquet type: {hint}")
        columns[field.name] = (options[0], hasattr(hint, "__args__"))
    return columns


_COLUMNS = _columns()
_LATER = {field.name for field in fields(RunRow) if field.default is not MISSING}
"""Columns that files of earlier versions lack."""


def _complete(names: Collection[str]) -> bool:
    """Whether these are the columns of a row, of this version or an earlier one."""
    return _COLUMNS.keys() - _LATER <= set(names) <= _COLUMNS.keys()


def _schema(pyarrow: Any) -> Any:
    kinds = {str: pyarrow.string(), int: pyarrow.int64(), float: pyarrow.float64()}
    return pyarrow.schema(
        [pyarrow.field(name, kinds[kind], nullable=nullable) for name, (kind, nullable) in _COLUMNS.items()],
        metadata={"format": _FORMAT, "format_version": str(FORMAT_VERSION)},
    )


def _plain(row: RunRow) -> dict[str, str | int | float | None]:
    """The row as Python's own types: NumPy scalars are neither JSON nor always Parquet."""
    record = {}
    for name, (kind, nullable) in _COLUMNS.items():
        value = getattr(row, name)
        if value is None and not nullable:
            raise ValueError(f"{name} of a run must not be None")
        record[name] = None if value is None else kind(value)
    return record


# --- journal -------------------------------------------------------------------------------------------------------


def _encode(row: RunRow) -> bytes:
    # JSON knows no infinity: such numbers go as their names.
    record = {name: repr(value) if isinstance(value, float) and not math.isfinite(value) else value for name, value in _plain(row).items()}
    return json.dumps(record, allow_nan=False, ensure_ascii=True).encode("ascii") + b"\n"


def _decode(line: bytes) -> RunRow:
    record = json.loads(line)
    if not isinstance(record, dict) or not _complete(record):
        raise ValueError("not a row of this version")
    values: dict[str, Any] = {name: None if value is None else _COLUMNS[name][0](value) for name, value in record.items()}
    return RunRow(**values)


_HEADER = json.dumps({"format": _FORMAT + ".journal", "format_version": FORMAT_VERSION}).encode("ascii") + b"\n"


def _read_journal(path: Path, content: bytes) -> tuple[list[RunRow], int]:
    """Rows of a journal, and how many of its bytes are whole.

    Raises:
        StoreError: it is no journal of this version, or damaged before its last line.
    """
    if _HEADER.startswith(content):  # empty, or torn within the first line
        return [], len(content) if content == _HEADER else 0
    if not content.startswith(_HEADER):
        raise StoreError(f"{path} is no journal of revibranch runs of format {FORMAT_VERSION}; move it away")
    rows: list[RunRow] = []
    start = len(_HEADER)
    while start < len(content):
        end = content.find(b"\n", start) + 1
        if end == 0:
            break  # torn: the newline is the last byte of a row
        try:
            rows.append(_decode(content[start:end]))
        except (ValueError, TypeError) as error:
            if end == len(content):
                break  # blocks of a last line may reach the disk in any order when the machine goes down
            raise StoreError(f"{path} is damaged at byte {start} ({error})") from None
        start = end
    return rows, start


# --- Parquet -------------------------------------------------------------------------------------------------------


def _read_parquet(path: Path) -> list[RunRow]:
    pyarrow = require_pyarrow()
    try:
        table = pyarrow.parquet.ParquetFile(path).read()
    except (pyarrow.ArrowException, OSError) as error:
        raise StoreError(f"cannot read {path}: {str(error).splitlines()[0]}") from None
    metadata = table.schema.metadata or {}
    if metadata.get(b"format") != _FORMAT.encode():
        raise StoreError(f"{path} is a Parquet file, but not one of revibranch runs")
    version = metadata.get(b"format_version", b"?").decode()
    if version != str(FORMAT_VERSION) or not _complete(table.column_names):
        raise StoreError(f"{path} has format {version} of another revibranch version; this one reads format {FORMAT_VERSION}")
    return [RunRow(**record) for record in table.to_pylist()]


def _write_parquet(path: Path, rows: Iterable[RunRow]) -> None:
    pyarrow = require_pyarrow()
    table = pyarrow.Table.from_pylist([_plain(row) for row in rows], schema=_schema(pyarrow))
    write_atomically(path, lambda file: pyarrow.parquet.write_table(table, file, compression="zstd"))


def _merged(*parts: Iterable[RunRow]) -> dict[RunKey, RunRow]:
    return {run_key(row): row for part in parts for row in part}


def read_rows(path: str | os.PathLike[str]) -> list[RunRow]:
    """All finished runs of a file, those of a running or killed evaluation included, sorted by key.

    Raises:
        StoreError: there is no such file, or it is not one of runs.
    """
    path = Path(path)
    journal = path.with_name(path.name + _SUFFIX)
    # The journal first: an evaluation that finishes in between has moved its rows to the Parquet file by then.
    try:
        recent = _read_journal(journal, journal.read_bytes())[0]
    except FileNotFoundError:
        recent = []
        if not path.exists():
            raise StoreError(f"no such file: {path}") from None
    except OSError as error:
        raise StoreError(f"cannot read {journal}: {error.strerror}") from None
    rows = _merged(_read_parquet(path) if path.exists() else (), recent)
    return [rows[key] for key in sorted(rows)]


class RunStore:
    """The runs of one evaluation: open, append, finish. One process at a time may hold it.

    Args:
        path: the Parquet file, there already or not.

    Raises:
        StoreError: the file or its journal is foreign or damaged, held by another process, or pyarrow is missing.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        require_pyarrow()
        self.path = Path(path)
        self.journal = self.path.with_name(self.path.name + _SUFFIX)
        self._empty = False
        """Whether the journal is ours and holds nothing."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor: int | None = os.open(self.journal, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as error:
            raise StoreError(f"cannot write {self.journal}: {error.strerror}") from None
        try:
            self._rows = self._load(self._descriptor)
        except BaseException:
            self.close()
            raise

    def _load(self, descriptor: int) -> dict[RunKey, RunRow]:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreError(f"{self.path} is being written by another evaluation") from None
        except OSError:
            pass  # a file system without locks keeps nobody out
        if os.fstat(descriptor).st_nlink == 0:  # the other one finished between our opening and our lock
            raise StoreError(f"{self.path} was just finished by another evaluation; try again")
        content = self.journal.read_bytes()
        self._empty = _HEADER.startswith(content)
        stored = _read_parquet(self.path) if self.path.exists() else []
        recent, whole = _read_journal(self.journal, content)
        self._empty = not recent
        os.ftruncate(descriptor, whole)
        if whole == 0:
            os.write(descriptor, _HEADER)
            os.fsync(descriptor)
            sync_folder(self.path.parent)
        return _merged(stored, recent)

    @property
    def rows(self) -> dict[RunKey, RunRow]:
        """Finished runs by key, sorted by key."""
        return {key: self._rows[key] for key in sorted(self._rows)}

    def append(self, row: RunRow) -> None:
        """Keep a row; when this returns, it is on the disk."""
        if self._descriptor is None:
            raise ValueError("the store is closed")
        line = _encode(row)
        self._empty = False
        written = os.write(self._descriptor, line)
        while written < len(line):  # a full disk or a signal may cut a write short
            written += os.write(self._descriptor, line[written:])
        os.fsync(self._descriptor)
        self._rows[run_key(row)] = row

    def finish(self) -> None:
        """Move all rows to the Parquet file and close. Without any row no file is written."""
        if self._descriptor is None:
            raise ValueError("the store is closed")
        if self._rows:
            _write_parquet(self.path, self.rows.values())
        # A kill between the two steps leaves rows in both places; they are the same, and merged by key.
        self.journal.unlink()
        self._empty = False
        self.close()

    def close(self) -> None:
        """Let go of the file; rows that are in the journal stay there for the next one to open it, a journal without rows goes."""
        if self._descriptor is not None:
            if self._empty:  # while it is locked: whoever waits for it sees that it is gone
                self.journal.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()
