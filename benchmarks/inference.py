"""Speed of a decision: ``python -m revibranch.benchmarks.inference``.

One process, one thread; at every node of the same solves, in turn: the same network eager in PyG as learn2branch computes it,
in torch with the last linear layer behind the sum, in torch with the fused kernel, and native. The solve goes on with the
native network's choice, so that the plugin's own clocks tell what a decision takes in all and its share of the solve.
Start-up is that of ``revibranch solve`` on a tiny problem, as a process, beside the import of torch. Quoted are medians.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import click
import torch
from numpy.typing import NDArray

from ..branching.brancher import BrancherStatistics
from ..branching.policy import PathStep, Policy
from ..branching.settings import apply_settings
from ..branching.solving import attach, optimize
from ..branching.state import BranchState
from ..gnn.config import NetworkConfig
from ..gnn.native import NativePolicy
from ..gnn.network import BranchingNetwork
from ..gnn.torch_policy import NetworkPolicy
from ..instances import families
from .reference import VARIANTS, variant_of

if TYPE_CHECKING:
    from pyscipopt import Model

SIZES = (
    ("setcover", "500x1000"),
    ("setcover", "1000x1000"),
    ("auction", "100x500"),
    ("auction", "200x1000"),
    ("independent-set", "500"),
    ("independent-set", "1000"),
    ("facility", "35x35"),
    ("facility", "60x35"),
    ("knapsack", "100x6"),
    ("knapsack", "100x12"),
)


@dataclass
class Timings:
    """Seconds of each variant's calls on the same states, and what the plugin measured of the whole solve."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    sizes: tuple[int, int, int, int] = (0, 0, 0, 0)
    statistics: list[BrancherStatistics] = field(default_factory=list)
    solve_seconds: float = 0.0

    def median(self, name: str) -> float:
        """Median milliseconds of a variant."""
        return 1e3 * statistics.median(self.seconds[name])


class _Compares(Policy):
    """Times all variants at every node, the first one left out, and answers with the native scores."""

    extended = False
    needs_path = False

    def __init__(self, width: int, timings: Timings, n_nodes: int) -> None:
        self._width, self._timings, self._left = width, timings, n_nodes
        self._policies: dict[str, Policy] = {}

    def begin(self, model: Model) -> None:
        """Nothing to prepare before a state is seen."""
        import weakref

        self._model = weakref.ref(model)

    def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[Any] | None:
        """Time the variants in turn."""
        warming = not self._policies
        if warming:
            torch.manual_seed(0)
            network = BranchingNetwork(NetworkConfig(width=self._width)).eval()
            network.fit_normalisation([state])
            tensors = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
            self._policies = {"native": NativePolicy(network.config, tensors)}
            self._policies |= {variant: NetworkPolicy(variant_of(network, variant)) for variant in VARIANTS}
        scores = None
        for name, policy in self._policies.items():
            started = perf_counter()
            answer = policy.score(state, path)
            if not warming:
                self._timings.seconds.setdefault(name, []).append(perf_counter() - started)
            scores = answer if name == "native" else scores
        self._timings.sizes = (state.n_variables, state.n_rows, state.n_edges, len(state.candidates))
        self._left -= 1
        model = self._model()
        if self._left <= 0 and model is not None:
            model.interruptSolve()
        return scores


def compare(family: str, size: str, width: int, n_nodes: int) -> Timings:
    """All variants at the first nodes of clean solves, from seed 0 upwards until there is a tree."""
    timings = Timings()
    for seed in range(20):
        if len(next(iter(timings.seconds.values()), [])) >= n_nodes // 2:
            break
        model = _model(family, size, seed)
        attach(model, _Compares(width, timings, n_nodes), strict=True)
        optimize(model)
    return timings


def decide(family: str, size: str, width: int, n_seeds: int) -> Timings:
    """Whole solves with the native network alone: what a decision takes in all, and its share of the solve."""
    timings = Timings()
    for seed in range(n_seeds):
        model = _model(family, size, seed)
        torch.manual_seed(0)
        network = BranchingNetwork(NetworkConfig(width=width))
        policy = NativePolicy(network.config, {name: tensor.detach().numpy() for name, tensor in network.state_dict().items()})
        model.setParam("limits/totalnodes", 300)
        brancher = attach(model, policy, strict=True)
        started = perf_counter()
        optimize(model)
        timings.solve_seconds += perf_counter() - started
        timings.statistics.append(brancher.statistics)
    return timings


def _model(family: str, size: str, seed: int) -> Model:
    model = families.get(family).generate(size, seed).to_model()
    apply_settings(model, "clean")
    return model


def start_up(repetitions: int = 5) -> dict[str, float]:
    """Median wall seconds of a process that solves a tiny problem, and of one that imports torch."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tiny.mps"
        families.get("setcover").generate("50x100", 0).to_model().writeProblem(str(path), verbose=False)
        commands = {
            "solve, native network": [sys.executable, "-P", "-m", "revibranch", "solve", str(path)],
            "solve, SCIP's rule": [sys.executable, "-P", "-m", "revibranch", "solve", str(path), "--policy", "scip:default"],
            "import pyscipopt": [sys.executable, "-c", "import pyscipopt"],
            "import torch": [sys.executable, "-c", "import torch"],
        }
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(repetitions):
            for name, command in commands.items():
                started = perf_counter()
                subprocess.run(command, check=True, capture_output=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
                seconds[name].append(perf_counter() - started)
    return {name: statistics.median(values) for name, values in seconds.items()}


@click.command()
@click.option("--width", default=32, show_default=True)
@click.option("--nodes", default=40, show_default=True, help="Nodes timed per size.")
@click.option("--only", multiple=True, help="FAMILY:SIZE; may be repeated. Default: five families, two sizes each.")
@click.option("--seeds", default=3, show_default=True, help="Whole solves per size.")
def main(width: int, nodes: int, only: tuple[str, ...], seeds: int) -> None:
    """Print Markdown tables: median milliseconds of a network's call, a whole decision, and the start-up of the command line."""
    torch.set_num_threads(1)
    chosen = [tuple(item.split(":", 1)) for item in only] or list(SIZES)
    names = [*VARIANTS, "native"]
    columns = ["instance (variables / row sides / edges / candidates)", *names, "eager / native", "decision in all", "of it extraction"]
    click.echo(f"width {width}, one thread, median ms of a call; a decision: mean ms over whole solves\n")
    click.echo("| " + " | ".join([*columns, "share of the solve"]) + " |")
    click.echo("|---" * (len(columns) + 1) + "|")
    for family, size in chosen:
        timings, solves = compare(family, size, width, nodes), decide(family, size, width, seeds)
        if not timings.seconds:
            click.echo(f"| {family} {size}: no tree |")
            continue
        decisions = sum(part.decisions for part in solves.statistics)
        total = sum(part.total_seconds for part in solves.statistics)
        extraction = sum(part.extraction_seconds for part in solves.statistics)
        cells = [f"{family} {size} ({' / '.join(map(str, timings.sizes))})"]
        cells += [f"{timings.median(name):.2f}" for name in names]
        cells += [f"{timings.median('eager') / timings.median('native'):.0f}x"]
        if decisions:
            cells += [f"{1e3 * total / decisions:.2f}", f"{1e3 * extraction / decisions:.2f}"]
            cells += [f"{100 * total / solves.solve_seconds:.1f} %"]
        else:
            cells += ["no tree", "-", "-"]
        click.echo("| " + " | ".join(cells) + " |")
    click.echo("\n| start-up | seconds |\n|---|---|")
    for name, seconds in start_up().items():
        click.echo(f"| {name} | {seconds:.2f} |")


if __name__ == "__main__":
    main()
