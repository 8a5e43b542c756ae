"""File descriptors come back to where they were, whoever captures."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

from revibranch.instances.native_output import capture, stdout_to_stderr


def test_threads_that_capture_at_once_leave_the_streams_where_they_were() -> None:
    before = [os.fstat(descriptor)[:2] for descriptor in (1, 2)]

    def caught(number: int) -> str:
        with capture() as captured:
            os.write(1, f"{number}\n".encode())
        return captured.text

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(caught, range(200))) == [f"{number}\n" for number in range(200)]
    assert [os.fstat(descriptor)[:2] for descriptor in (1, 2)] == before


def test_within_one_another(capfd) -> None:
    with stdout_to_stderr(), capture() as captured:
        os.write(1, b"inner")
    assert captured.text == "inner"
    assert capfd.readouterr() == ("", "")
