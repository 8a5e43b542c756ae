"""Speed of a training step: ``python -m revibranch.benchmarks.training_speed``.

One process, one thread, the same batches in turn through all variants of the same network: forward, cross-entropy, backward,
Adam. Batches of states out of real solves are put together beforehand, with the indices that PyG wants; what that takes is
shown beside. Quoted are medians.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any

import click
import numpy as np
import torch
from numpy.typing import NDArray

from ..branching.policy import PathStep, Policy
from ..branching.settings import apply_settings
from ..branching.solving import attach, optimize
from ..branching.state import BranchState
from ..gnn.batch import GraphBatch
from ..gnn.network import BranchingNetwork, NetworkConfig
from ..gnn.training.losses import Candidates, cross_entropy
from ..instances import families
from .reference import VARIANTS, variant_of

if TYPE_CHECKING:
    from pyscipopt import Model

PER_INSTANCE = 16
"""States taken of one solve, the first ones."""


class _Keeping(Policy):
    """Keeps copies of the states and leaves the branching to SCIP."""

    extended = False
    needs_path = False

    def __init__(self) -> None:
        self.states: list[BranchState] = []

    def begin(self, model: Model) -> None:
        """Count anew."""
        import weakref

        self._model = weakref.ref(model)
        self._left = PER_INSTANCE

    def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[Any] | None:  # noqa: ARG002
        """Keep the state; no scores."""
        model = self._model()
        assert model is not None
        self.states.append(state.copy())
        self._left -= 1
        if not self._left:
            model.interruptSolve()
        return None


def collect(family: str, size: str, count: int) -> list[BranchState]:
    """The first states of clean solves of generated instances, from seed 0 upwards."""
    keeping = _Keeping()
    for seed in range(1000):
        if len(keeping.states) >= count:
            break
        model = families.get(family).generate(size, seed).to_model()
        apply_settings(model, "clean")
        model.setParam("branching/pscost/priority", 1_000_000)
        attach(model, keeping, strict=True)
        optimize(model)
    return keeping.states[:count]


class Step:
    """A training step of one variant; the expert's scores are random, which costs as much as real ones."""

    def __init__(self, network: BranchingNetwork) -> None:
        self.network = network.train()
        self.optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)

    def __call__(self, batch: GraphBatch, scores: torch.Tensor) -> float:
        """Seconds of the step."""
        started = perf_counter()
        self.optimiser.zero_grad()
        logits = self.network(batch)
        loss = cross_entropy(logits, scores, Candidates.from_counts(batch.candidate_offsets.diff())).mean()
        torch.autograd.backward(loss)
        self.optimiser.step()
        return perf_counter() - started


def measure(states: Sequence[BranchState], width: int, batch_size: int, repetitions: int) -> tuple[dict[str, float], float]:
    """Median seconds of a step by variant, and of putting a batch together."""
    torch.manual_seed(0)
    original = BranchingNetwork(NetworkConfig(width=width))
    original.fit_normalisation(states)
    steps = {variant: Step(variant_of(original, variant)) for variant in VARIANTS}
    seconds: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    collating: list[float] = []
    rng = np.random.default_rng(0)
    for repetition in range(repetitions + 1):
        chosen = [states[place] for place in rng.choice(len(states), batch_size, replace=len(states) < batch_size)]
        started = perf_counter()
        batch = GraphBatch.from_states(chosen)
        collating.append(perf_counter() - started)
        for edges in (batch.structure.by_row, batch.structure.by_variable):
            edges.edge_index, edges.degrees  # noqa: B018  # cached properties
        scores = torch.from_numpy(rng.random(len(batch.candidates)))
        for variant, step in steps.items():
            duration = step(batch, scores)
            if repetition:  # the first one warms up
                seconds[variant].append(duration)
    return {variant: statistics.median(values) for variant, values in seconds.items()}, statistics.median(collating)


@click.command()
@click.option("--family", default="setcover", show_default=True)
@click.option("--size", default="500x1000", show_default=True)
@click.option("--widths", default="32,64", show_default=True)
@click.option("--batch-size", default=32, show_default=True)
@click.option("--states", "n_states", default=64, show_default=True, help="Distinct states to draw batches from.")
@click.option("--repetitions", default=9, show_default=True)
def main(family: str, size: str, widths: str, batch_size: int, n_states: int, repetitions: int) -> None:
    """Print a Markdown table of median milliseconds of a training step, and how many times faster than eager PyG it is."""
    torch.set_num_threads(1)
    states = collect(family, size, n_states)
    click.echo(f"{family} {size}, batches of {batch_size}, {states[0].n_edges} edges a graph, one thread, ms\n")
    click.echo("| width | " + " | ".join(VARIANTS) + " | eager / reordered | eager / fused | putting a batch together |")
    click.echo("|---" * (len(VARIANTS) + 4) + "|")
    for width in map(int, widths.split(",")):
        medians, collating = measure(states, width, batch_size, repetitions)
        ratios = [medians["eager"] / medians[variant] for variant in ("reordered", "fused")]
        cells = [f"{1e3 * value:.1f}" for value in medians.values()] + [f"{ratio:.1f}x" for ratio in ratios] + [f"{1e3 * collating:.1f}"]
        click.echo(f"| {width} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
