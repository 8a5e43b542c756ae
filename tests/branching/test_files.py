"""Files that several write at once, and values that JSON does not know."""

from __future__ import annotations

import json
import math
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path

from revibranch.branching.files import json_value, write_atomically


def test_writers_of_one_process_leave_a_whole_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "file"
    contents = [bytes([number]) * 200_000 for number in range(4)]
    with ThreadPoolExecutor(4) as threads:
        for _ in range(10):
            list(threads.map(write_atomically, repeat(target), contents))
            assert target.read_bytes() in contents
    assert list(tmp_path.iterdir()) == [target]


def test_what_json_does_not_know_is_null_however_deep() -> None:
    value = {"a": math.nan, "b": [1.0, math.inf, (2, -math.inf)], "c": {"d": [math.nan]}, "e": "nan"}
    assert json.dumps(json_value(value), allow_nan=False) == '{"a": null, "b": [1.0, null, [2, null]], "c": {"d": [null]}, "e": "nan"}'
