"""What a step of the environment costs beside the plugin's callback: ``python -m revibranch.benchmarks.environment``.

The same solves (instance, seeds, always the first candidate, the same tree) in turn by a policy in the plugin, by the
environment, and by gyozas' environment where it is installed, with and without its ``NodeBipartite``. The seconds of a
callback, those of writing the state left out, come from the brancher's clocks, decision by decision: SCIP's own time does not
blur them. Seconds of whole solves by the decision stand beside them for gyozas, which has no such clocks.
"""

from __future__ import annotations

import importlib.util
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles
from time import perf_counter
from typing import TYPE_CHECKING

import click
import numpy as np
from numpy.typing import NDArray

from ..branching.brancher import LearnedBrancher
from ..branching.environment import BranchingEnv
from ..branching.policy import PathStep, Policy
from ..branching.settings import SETTINGS, apply_seed, apply_settings
from ..branching.solving import attach, optimize
from ..branching.state import BranchState
from ..branching.statistics import BrancherStatistics
from ..instances import families

if TYPE_CHECKING:
    from pyscipopt import Model

__all__ = ["main"]

SIZES = ("setcover:500x1000", "auction:100x500", "independent-set:500", "knapsack:30x4")


@dataclass
class Run:
    """One solve from its first decision on."""

    nodes: int
    seconds: float
    spent: list[float]
    """At each decision, what its forerunners' callbacks took without the writing of their states, in seconds."""

    @property
    def by_decision(self) -> float:
        """Milliseconds of the solve by the decision, SCIP's included."""
        return 1e3 * self.seconds / len(self.spent)


@dataclass
class Timings:
    """Of all solves of one size: the callbacks' milliseconds, and the solves' by the decision."""

    callbacks: dict[str, list[float]] = field(default_factory=dict)
    solves: dict[str, list[float]] = field(default_factory=dict)
    nodes: dict[str, list[int]] = field(default_factory=dict)

    def add(self, name: str, run: Run) -> None:
        """Take one solve."""
        self.callbacks.setdefault(name, []).extend((1e3 * np.diff(run.spent)).tolist())
        self.solves.setdefault(name, []).append(run.by_decision)
        self.nodes.setdefault(name, []).append(run.nodes)


class _First(Policy):
    """The first candidate."""

    needs_path = False

    def __init__(self) -> None:
        self.brancher: weakref.ref[LearnedBrancher] | None = None
        self.started = 0.0
        self.spent: list[float] = []

    def begin(self, model: Model) -> None:  # noqa: ARG002
        """The first decision is at hand."""
        self.started = perf_counter()

    def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[np.float64]:  # noqa: ARG002
        """One for the first, zero for all others."""
        brancher = self.brancher() if self.brancher is not None else None
        assert brancher is not None
        self.spent.append(_spent(brancher.statistics))
        scores = np.zeros(len(state.candidates))
        scores[0] = 1.0
        return scores


def _spent(statistics: BrancherStatistics) -> float:
    return statistics.inference_seconds + statistics.other_seconds


def _by_plugin(build: Callable[[], Model], seed: int, node_limit: int) -> Run:
    model, policy = build(), _First()
    apply_settings(model, "clean")
    apply_seed(model, seed)
    model.setParams({"limits/totalnodes": node_limit, "misc/catchctrlc": False})
    brancher = attach(model, policy, strict=True)
    policy.brancher = weakref.ref(brancher)
    optimize(model)
    return Run(model.getNTotalNodes(), perf_counter() - policy.started, policy.spent)


def _by_environment(build: Callable[[], Model], node_limit: int) -> tuple[Run, int] | None:
    """The solve, and SCIP's seed in it; None without a decision."""
    with BranchingEnv(iter([build()]), node_limit=node_limit, tries=1) as environment:
        try:
            _, info = environment.reset()
        except RuntimeError:
            return None
        statistics = environment.statistics
        assert statistics is not None
        started, spent, ended = perf_counter(), [_spent(statistics)], False
        while not ended:
            _, _, terminated, truncated, info = environment.step(0)
            ended = terminated or truncated
            if not ended:
                spent.append(_spent(statistics))
        return Run(info["nodes"], perf_counter() - started, spent), info["scip_seed"]


def _by_gyozas(build: Callable[[], Model], seed: int, node_limit: int, observe: bool) -> Run:
    from gyozas.environment import Environment
    from gyozas.observations import NodeBipartite

    def seeded(model: Model) -> None:
        apply_seed(model, seed)

    environment = Environment(
        iter([build()]),
        observation_function=NodeBipartite() if observe else None,
        scip_params={**SETTINGS["clean"], "limits/totalnodes": node_limit},
    )
    environment.dynamics.set_seed_on_model = seeded  # its own seeds would make another tree
    _, actions, _, done, _ = environment.reset()
    started, decisions = perf_counter(), 0
    while not done:
        _, actions, _, done, _ = environment.step(actions[0])
        decisions += 1
    seconds, nodes = perf_counter() - started, environment.model.getNTotalNodes()
    environment.close()
    return Run(nodes, seconds, [0.0] * decisions)


def measure(spec: str, n_solves: int, node_limit: int) -> Timings:
    """All contenders on the first solves of a family and size that come to a decision."""
    family, size = spec.split(":")
    with_gyozas = importlib.util.find_spec("gyozas") is not None
    timings = Timings()
    for seed in range(20 * n_solves):
        if len(timings.nodes.get("plugin", [])) >= n_solves:
            break
        instance = families.get(family).generate(size, seed)
        found = _by_environment(instance.to_model, node_limit)
        if found is None or len(found[0].spent) < 5:
            continue
        run, scip_seed = found
        timings.add("environment", run)
        timings.add("plugin", _by_plugin(instance.to_model, scip_seed, node_limit))
        if with_gyozas:
            timings.add("gyozas", _by_gyozas(instance.to_model, scip_seed, node_limit, False))
            timings.add("gyozas, NodeBipartite", _by_gyozas(instance.to_model, scip_seed, node_limit, True))
    if timings.nodes.get("environment") != timings.nodes.get("plugin"):
        raise click.ClickException(f"{spec}: the plugin's trees are others than the environment's")
    return timings


@click.command()
@click.option("--only", "sizes", multiple=True, default=SIZES, show_default=True, metavar="FAMILY:SIZE")
@click.option("--solves", type=click.IntRange(1), default=5, show_default=True)
@click.option("--nodes", type=click.IntRange(10), default=150, show_default=True, help="Node limit of a solve.")
def main(sizes: Sequence[str], solves: int, nodes: int) -> None:
    """Print milliseconds a decision as Markdown: callbacks' medians (90th percentile), and whole solves' medians."""
    names = ("plugin", "environment", "gyozas", "gyozas, NodeBipartite")
    click.echo("| instance | plugin's callback | a step's | difference | " + " | ".join(f"solve, {name}" for name in names) + " |")
    click.echo("|---" * (4 + len(names)) + "|")
    for spec in sizes:
        timings = measure(spec, solves, nodes)
        if not timings.nodes:
            click.echo(f"{spec}: no solve with five decisions", err=True)
            continue
        plugin, environment = (timings.callbacks[name] for name in ("plugin", "environment"))
        cells = [f"{median(one):.3f} ({quantiles(one, n=10)[-1]:.3f})" for one in (plugin, environment)]
        cells.append(f"{median(environment) - median(plugin):.3f}")
        for name in names:
            same = timings.nodes.get(name) == timings.nodes["plugin"]
            cells.append(f"{median(timings.solves[name]):.2f}{'' if same else ' (other trees)'}" if name in timings.solves else "-")
        click.echo(f"| {spec} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
