"""A checksum stays while the bytes stay, and changes with them."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from revibranch.benchmarks.checksums import LENGTH, file_checksum, policy_checksum
from revibranch.gnn import pretrained


def test_a_file_is_known_by_its_content_wherever_it_lies(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    one, two = tmp_path / "m.lp", tmp_path / "a" / "n.lp"
    one.write_text("Minimize x")
    two.write_text("Minimize x")
    assert file_checksum(one) == file_checksum(str(two)) == hashlib.sha256(b"Minimize x").hexdigest()[:LENGTH]
    two.write_text("Minimize y")
    assert file_checksum(one) != file_checksum(two)


def test_what_is_no_file_has_no_checksum(tmp_path: Path) -> None:
    assert file_checksum(None) is None
    assert file_checksum(tmp_path) is None
    assert policy_checksum(str(tmp_path / "missing.safetensors")) is None
    assert policy_checksum("scip:pscost") is None


def test_a_policy_is_known_by_its_weights_whatever_its_name_and_what_stands_behind_it(tmp_path: Path) -> None:
    copy = tmp_path / "mine.safetensors"
    shutil.copy(pretrained.pretrained_path("auction"), copy)
    assert policy_checksum("auction") == policy_checksum("auction+guard+nodes") == policy_checksum(f"{copy}+guard") == file_checksum(copy)
    assert policy_checksum("auction") != policy_checksum("setcover")


def test_auto_is_all_that_ship_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "_FOLDER", tmp_path)
    seen = []
    for name, content in (("a", b"1"), ("b", b"2"), ("b", b"3"), ("a", b"3")):
        (tmp_path / f"{name}.safetensors").write_bytes(content)
        seen.append(policy_checksum("auto"))
    (tmp_path / "a.safetensors").rename(tmp_path / "c.safetensors")
    seen.append(policy_checksum("auto"))
    assert len(set(seen)) == 5
    assert None not in seen
    assert policy_checksum("auto+guard") == policy_checksum("auto") == seen[-1]
