"""When a GPU pays: ``python -m revibranch.benchmarks.gpu``; needs one.

Three tables, contenders in turn in one process, medians. One decision at a time, on graphs of growing size, by the native network on
one core and by torch on the GPU, the way of the state there and of scores and memory back included: where the second wins is what
``device="auto"`` goes by. Many decisions at once. And training steps, putting the batch together and its way to the GPU included.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from time import perf_counter
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray

from ..branching.policy import Policy
from ..branching.state import BranchState
from ..gnn.batch import GraphBatch
from ..gnn.config import NetworkConfig
from ..gnn.native import NativePolicy
from ..gnn.network import BranchingNetwork
from ..gnn.torch_policy import NetworkPolicy
from .training_speed import Step, collect

COPIES = (1, 2, 4, 8, 16, 32, 64)
"""How often a graph is laid side by side with itself for a larger one."""
BATCHES = (1, 8, 32, 128)


def tiled(state: BranchState, copies: int) -> BranchState:
    """The graph of so many independent copies of a state's problem side by side: as large a graph as one likes, as a real one is made."""

    def shifted(indices: NDArray[Any], by: int) -> NDArray[Any]:
        return np.concatenate([indices + place * by for place in range(copies)]).astype(indices.dtype)

    def offsets(one: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.concatenate([one[:1], shifted(one[1:], state.n_edges)])

    return replace(
        state,
        variable_features=np.tile(state.variable_features, (copies, 1)),
        row_features=np.tile(state.row_features, (copies, 1)),
        row_offsets=offsets(state.row_offsets),
        edge_variables=shifted(state.edge_variables, state.n_variables),
        edge_values=np.tile(state.edge_values, copies),
        variable_offsets=offsets(state.variable_offsets),
        edge_rows=shifted(state.edge_rows, state.n_rows),
        edge_order=shifted(state.edge_order, state.n_edges),
        candidates=shifted(state.candidates, state.n_variables),
    )


def in_turn(contenders: Mapping[str, Callable[[], object]], repetitions: int) -> dict[str, float]:
    """Median seconds of each, after two calls that warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for repetition in range(repetitions + 2):
        for name, call in contenders.items():
            torch.cuda.synchronize()
            started = perf_counter()
            call()
            torch.cuda.synchronize()
            if repetition >= 2:
                seconds[name].append(perf_counter() - started)
    return {name: statistics.median(values) for name, values in seconds.items()}


def _policies(states: Sequence[BranchState], width: int) -> tuple[NativePolicy, NetworkPolicy]:
    torch.manual_seed(0)
    network = BranchingNetwork(NetworkConfig(width=width, history_length=8)).eval()
    network.fit_normalisation(states)
    weights = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    return NativePolicy(network.config, weights), NetworkPolicy(network, "cuda")


def _decide(policy: Policy, state: BranchState) -> object:
    policy.score(state, ())
    return policy.remember(state, (), 0)


def one_by_one(states: Sequence[BranchState], width: int, repetitions: int) -> list[str]:
    """Rows: edges, both times, their ratio, the largest difference of scores relative to their spread."""
    native, gpu = _policies(states, width)
    lines = []
    for copies in COPIES:
        state = tiled(states[0], copies)
        seconds = in_turn({"native": lambda: _decide(native, state), "gpu": lambda: _decide(gpu, state)}, repetitions)  # noqa: B023
        scores = native.score(state, [])
        difference = np.abs(gpu.score(state, []) - scores).max() / np.ptp(scores)
        cells = [f"{state.n_edges:,}", f"{1e3 * seconds['native']:.2f}", f"{1e3 * seconds['gpu']:.2f}"]
        lines.append("| " + " | ".join([*cells, f"{seconds['native'] / seconds['gpu']:.2f}x", f"{difference:.0e}"]) + " |")
    return lines


def many_at_once(states: Sequence[BranchState], width: int, repetitions: int) -> list[str]:
    """Rows: nodes of a call, decisions a second of both, their ratio."""
    native, gpu = _policies(states, width)
    lines = []
    for size in BATCHES:
        chosen = [states[place % len(states)] for place in range(size)]
        paths: list[tuple[()]] = [()] * size
        seconds = in_turn(
            {
                "native": lambda: [_decide(native, state) for state in chosen],  # noqa: B023
                "gpu": lambda: gpu.remember_many(gpu.score_many(chosen, paths), [0] * len(chosen)),  # noqa: B023
            },
            repetitions,
        )
        rates = [size / seconds["native"], size / seconds["gpu"]]
        lines.append(f"| {size} | {rates[0]:,.0f} | {rates[1]:,.0f} | {rates[1] / rates[0]:.2f}x |")
    return lines


def training(states: Sequence[BranchState], width: int, batch: int, repetitions: int) -> str:
    """One row: milliseconds of putting a batch together, of a step on the CPU, of moving the batch and a step on the GPU."""
    steps = {}
    for device in ("cpu", "cuda"):
        torch.manual_seed(0)
        network = BranchingNetwork(NetworkConfig(width=width))
        network.fit_normalisation(states)
        steps[device] = Step(network.to(device))
    chosen = [states[place % len(states)] for place in range(batch)]
    graphs = GraphBatch.from_states(chosen)
    scores = torch.from_numpy(np.random.default_rng(0).random(len(graphs.candidates)))
    seconds = in_turn(
        {
            "together": lambda: GraphBatch.from_states(chosen),
            "cpu": lambda: steps["cpu"](graphs, scores),
            "move": lambda: graphs.to("cuda"),
            "cuda": lambda: steps["cuda"](graphs.to("cuda"), scores.to("cuda")),
        },
        repetitions,
    )
    whole = [seconds["together"] + seconds[device] for device in ("cpu", "cuda")]
    cells = [f"{1e3 * seconds[name]:.1f}" for name in ("together", "cpu", "move", "cuda")]
    return "| " + " | ".join([str(width), *cells, f"{seconds['cpu'] / seconds['cuda']:.1f}x", f"{whole[0] / whole[1]:.1f}x"]) + " |"


@click.command()
@click.option("--family", default="setcover", show_default=True)
@click.option("--size", default="500x1000", show_default=True)
@click.option("--widths", default="32,64", show_default=True)
@click.option("--batch-size", default=32, show_default=True)
@click.option("--states", "n_states", default=32, show_default=True, help="Distinct states.")
@click.option("--repetitions", default=15, show_default=True)
def main(family: str, size: str, widths: str, batch_size: int, n_states: int, repetitions: int) -> None:
    """Print three Markdown tables."""
    if not torch.cuda.is_available():
        raise click.ClickException("torch sees no CUDA device")
    torch.set_num_threads(1)
    states = collect(family, size, n_states)
    chosen = [int(width) for width in widths.split(",")]
    click.echo(f"{family} {size}, {states[0].n_edges} edges a graph, {torch.cuda.get_device_name()}, one thread, medians\n")
    for width in chosen:
        click.echo(f"One decision, width {width}\n")
        click.echo("| edges | native, ms | GPU, ms | native / GPU | difference of scores |\n|---|---|---|---|---|")
        click.echo("\n".join(one_by_one(states, width, repetitions)))
        click.echo(f"\nMany decisions at once, width {width}\n")
        click.echo("| nodes of a call | native, decisions a second | GPU | GPU / native |\n|---|---|---|---|")
        click.echo("\n".join(many_at_once(states, width, repetitions)) + "\n")
    click.echo(f"A training step, batches of {batch_size}, ms\n")
    click.echo("| width | putting a batch together | step, CPU | moving it | moving it and step, GPU | CPU / GPU | all included |")
    click.echo("|---" * 7 + "|")
    for width in chosen:
        click.echo(training(states, width, batch_size, repetitions))


if __name__ == "__main__":
    main()
