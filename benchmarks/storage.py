"""Bytes of a recorded solve beside those of whole graphs: ``python -m revibranch.benchmarks.storage``.

Whole graphs are the arrays of every decision's ``BranchState``. Quoted are an episode in memory (what replay counts, the edges
by variable included), in a plain file and in a compressed one, each with its tree.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from numpy.typing import NDArray

from ..branching.episode_recorder import EpisodeRecorder
from ..branching.policy import PathStep, Policy
from ..branching.settings import apply_settings
from ..branching.solving import attach, optimize
from ..branching.state import BranchState, variable_column_names
from ..branching.tree import record_tree
from ..instances import families

if TYPE_CHECKING:
    from pyscipopt import Model

__all__ = ["INSTANCES", "Storage", "measure"]

INSTANCES = (("setcover", "500x1000"), ("auction", "100x500"))

_FRACTION = variable_column_names().index("solution_frac")


@dataclass(frozen=True, slots=True)
class Storage:
    """Bytes of one solve's decisions, and seconds for each decision."""

    decisions: int
    graphs: int
    memory: int
    plain_file: int
    compressed_file: int
    add_seconds: float
    state_seconds: float


class _RecordingPolicy(Policy):
    """Branches on the most fractional candidate, and records."""

    needs_path = True

    def __init__(self, extended: bool) -> None:
        self.extended = extended
        self.recorder = EpisodeRecorder(extended)
        self.graph_bytes = 0
        self.seconds = 0.0

    def begin(self, model: Model) -> None:
        """Begin with nothing."""

    def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[np.floating]:  # noqa: ARG002
        fractions: NDArray[np.floating] = state.variable_features[state.candidates, _FRACTION]
        scores: NDArray[np.floating] = -np.abs(fractions - 0.5)
        return scores

    def remember(self, state: BranchState, path: Sequence[PathStep], choice: int) -> int:
        last: Any = path[-1] if path else None
        began = perf_counter()
        number = self.recorder.add(state, choice, parent=last.memory if path else -1, entered=last.child if path else -1)
        self.seconds += perf_counter() - began
        arrays = (getattr(state, field.name) for field in fields(state))
        self.graph_bytes += sum(array.nbytes for array in arrays if isinstance(array, np.ndarray))
        return number


def measure(family: str, size: str, extended: bool, *, seed: int = 0, node_limit: int = 300) -> Storage:
    """Record a clean solve of one generated instance, up to so many nodes."""
    model = families.get(family).generate(size, seed).to_model()
    apply_settings(model, "clean")
    model.setParam("limits/totalnodes", node_limit)
    policy = _RecordingPolicy(extended)
    tree = record_tree(model)
    attach(model, policy, strict=True)
    optimize(model)
    episode = policy.recorder.episode({"family": family, "size": size, "seed": seed}, tree.tree())
    with tempfile.TemporaryDirectory() as folder:
        plain, compressed = Path(folder) / "plain.npz", Path(folder) / "compressed.npz"
        episode.save(plain, compress=False)
        episode.save(compressed)
        sizes = plain.stat().st_size, compressed.stat().st_size
    episode.state(0)  # derives what its structure shares
    began = perf_counter()
    for decision in range(len(episode)):
        episode.state(decision)
    state_seconds = (perf_counter() - began) / len(episode)
    return Storage(len(episode), policy.graph_bytes, episode.nbytes, *sizes, policy.seconds / len(episode), state_seconds)


@click.command()
@click.option("--nodes", default=300, show_default=True, help="Nodes recorded per instance.")
@click.option("--only", multiple=True, help="FAMILY:SIZE; may be repeated. Default: set covers and auctions.")
def main(nodes: int, only: tuple[str, ...]) -> None:
    """Print a Markdown table: kB of a whole graph, and each kind of storage as a share of it."""
    chosen = [tuple(item.split(":", 1)) for item in only] or list(INSTANCES)
    header = ["instance", "columns", "decisions", "kB a graph", "memory", "file", "compressed", "add, us", "state(), us"]
    click.echo("| " + " | ".join(header) + " |")
    click.echo("|---" * len(header) + "|")
    for family, size in chosen:
        for extended in (False, True):
            result = measure(family, size, extended, node_limit=nodes)
            shares = [f"{100 * part / result.graphs:.1f} %" for part in (result.memory, result.plain_file, result.compressed_file)]
            seconds = [f"{1e6 * part:.0f}" for part in (result.add_seconds, result.state_seconds)]
            graph = f"{result.graphs / result.decisions / 1e3:.0f}"
            columns = str(len(variable_column_names(extended)))
            click.echo("| " + " | ".join([f"{family} {size}", columns, str(result.decisions), graph, *shares, *seconds]) + " |")


if __name__ == "__main__":
    main()
