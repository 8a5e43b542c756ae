"""Files of episodes that are damaged, missing or cannot be written: one clear error, and the old file stays."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from revibranch.branching import files
from revibranch.branching.episode import Episode, EpisodeError
from revibranch.branching.episode_arrays import NODE_FACTS

from .episodes import assert_same_episode, solved


def whole_file(path: Path) -> Episode:
    episode, _ = solved()
    episode = episode.kept([2])
    episode.save(path)
    return episode


def test_every_truncation_is_one_clear_error(tmp_path: Path) -> None:
    whole_file(tmp_path / "whole.npz")
    data = (tmp_path / "whole.npz").read_bytes()
    damaged = tmp_path / "damaged.npz"
    for length in range(0, len(data), 197):
        damaged.write_bytes(data[:length])
        with pytest.raises(EpisodeError, match="damaged") as caught:
            Episode.load(damaged)
        assert "\n" not in str(caught.value)


def test_flipped_bytes_never_pass_for_other_numbers(tmp_path: Path) -> None:
    episode = whole_file(tmp_path / "whole.npz")
    data = bytearray((tmp_path / "whole.npz").read_bytes())
    damaged = tmp_path / "damaged.npz"
    refused = 0
    for place in np.random.default_rng(0).integers(len(data), size=60).tolist():
        data[place] ^= 0xFF
        damaged.write_bytes(data)
        data[place] ^= 0xFF
        try:
            found = Episode.load(damaged)
        except EpisodeError as error:
            assert str(damaged) in str(error)  # noqa: PT017
            refused += 1
            continue
        assert_same_episode(found, episode)  # a byte that means nothing, such as a time stamp
    assert refused > 30


def test_contradictions_are_damage(tmp_path: Path) -> None:
    whole_file(tmp_path / "whole.npz")
    with np.load(tmp_path / "whole.npz") as file:
        arrays = dict(file)
    header = json.loads(arrays["header"].tobytes())

    def with_header(**changes: object) -> np.ndarray:
        return np.frombuffer(json.dumps({**header, **changes}).encode(), dtype=np.uint8)

    nodes = arrays["nodes"].copy()
    nodes[0, 0] = np.nan
    changes: dict[str, np.ndarray] = {
        "choice": np.full_like(arrays["choice"], 99),
        "parent": arrays["parent"] + 1,
        "entered": arrays["entered"] + 3,
        "candidates": arrays["candidates"] + 1000,
        "edge_variables": arrays["edge_variables"] - 1000,
        "structure": arrays["structure"] + 7,
        "structure_counts": -arrays["structure_counts"],
        "row_static": arrays["row_static"][1:],
        "variable_dynamic": arrays["variable_dynamic"].astype(np.float64),
        "row_lengths": arrays["row_lengths"] + 1,
        "nodes": nodes,
        "sample": ~arrays["sample"],
        "log_probability": arrays["log_probability"][1:],
        "tree_parent": arrays["tree_parent"] + 1,
        "tree_outcome": arrays["tree_outcome"] + 100,
        "tree_order": arrays["tree_order"].astype(np.int32),
        "surprise": arrays["nodes"],
        "header": with_header(facts=[]),
    }
    for name, value in changes.items():
        np.savez(tmp_path / "bad.npz", **{**arrays, name: value})
        with pytest.raises(EpisodeError, match=r"bad\.npz is damaged") as caught:
            Episode.load(tmp_path / "bad.npz")
        assert "\n" not in str(caught.value), name
    for missing in ("nodes", "tree_run", "header"):
        np.savez(tmp_path / "bad.npz", **{name: array for name, array in arrays.items() if name != missing})
        with pytest.raises(EpisodeError, match=r"bad\.npz is damaged"):
            Episode.load(tmp_path / "bad.npz")
    for header_bytes in (with_header(format=1), with_header(row_columns=["a"])):
        np.savez(tmp_path / "old.npz", **{**arrays, "header": header_bytes})
        with pytest.raises(EpisodeError, match="collect it again"):
            Episode.load(tmp_path / "old.npz")
    with zipfile.ZipFile(tmp_path / "bad.npz", "w") as archive:
        archive.writestr("other.txt", "nothing of ours")
    with pytest.raises(EpisodeError, match="damaged"):
        Episode.load(tmp_path / "bad.npz")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(EpisodeError, match=r"nowhere\.npz does not exist"):
        Episode.load(tmp_path / "nowhere.npz")


@pytest.mark.parametrize("content", [b"new", lambda file: file.write(b"new")])
def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | Callable) -> None:
    target = tmp_path / "a"
    target.write_bytes(b"old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            files.write_atomically(target, content)
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]
    files.write_atomically(target, content)
    assert target.read_bytes() == b"new"


def test_what_no_episode_has_is_refused_before_it_is_written() -> None:
    episode, _ = solved()
    with pytest.raises(ValueError, match="nobody knows its array extra"):
        Episode({**episode._arrays, "extra": np.zeros(2)}, {})


def test_equal_episodes_make_equal_files(tmp_path: Path) -> None:
    episode, _ = solved()
    episode.save(tmp_path / "one.npz")
    episode.kept(range(len(episode))).save(tmp_path / "other.npz")
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "other.npz").read_bytes()


@pytest.mark.parametrize("damage", ["sizes", "depth", "header"])
def test_numbers_beyond_all_bounds_are_damage(damage: str, tmp_path: Path) -> None:
    whole_file(tmp_path / "whole.npz")
    with np.load(tmp_path / "whole.npz") as file:
        arrays = dict(file)
    if damage == "sizes":
        arrays["structure_counts"] = np.tile(np.array([[0, 2**62, 0]]), (4, 1))
    elif damage == "depth":
        arrays["nodes"] = np.where(np.array(NODE_FACTS) == "depth", 2.0**40, arrays["nodes"])
    else:
        arrays["header"] = np.frombuffer(b"[" * 100_000, dtype=np.uint8)
    np.savez(tmp_path / "damaged.npz", **arrays)
    with pytest.raises(EpisodeError, match="damaged"):
        Episode.load(tmp_path / "damaged.npz")


def test_states_are_views_that_nobody_writes_to() -> None:
    episode, _ = solved()
    state = episode.state(0)
    for array in (state.candidates, state.edge_values, state.edge_variables, state.row_offsets, state.edge_order):
        with pytest.raises(ValueError, match="read-only"):
            array[:] = 0
