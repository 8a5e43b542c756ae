"""An episode takes a fraction of its graphs' bytes."""

from __future__ import annotations

from revibranch.benchmarks.storage import measure


def test_an_episode_takes_at_most_a_fifth_of_its_graphs() -> None:
    # Smaller than the committed numbers' 500x1000, with the same density: about 25 edges a variable.
    for extended in (False, True):
        storage = measure("setcover", "500x500", extended, node_limit=40)
        assert storage.decisions >= 10
        assert storage.memory < storage.graphs / 5
        assert storage.compressed_file < storage.plain_file < storage.graphs / 5
