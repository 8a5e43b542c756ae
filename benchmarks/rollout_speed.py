"""What a rollout costs beside its solve: the same decisions replayed without network and recording, in turn.

python -m revibranch.benchmarks.rollout_speed
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import median
from time import process_time
from typing import TYPE_CHECKING

import click
import numpy as np
import torch
from numpy.typing import NDArray

from ..branching.policy import PathStep, Policy
from ..branching.settings import apply_limits, apply_settings
from ..branching.solving import attach, optimize
from ..branching.state import BranchState
from ..gnn.config import NetworkConfig
from ..gnn.network import BranchingNetwork
from ..gnn.training.exploration import Exploration
from ..gnn.training.instance_section import Kind
from ..gnn.training.rollout import RolloutTask, Weights, roll_out

if TYPE_CHECKING:
    from pyscipopt import Model

__all__ = ["main"]


class _Replaying(Policy):
    """Takes the choices of an episode again, one after the other."""

    extended = False
    needs_path = False

    def __init__(self, choices: NDArray[np.int32]) -> None:
        self._choices = iter(choices.tolist())

    def begin(self, model: Model) -> None:
        """Nothing to prepare."""

    def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[np.float64]:  # noqa: ARG002
        """1 for the choice of the episode, 0 for the others."""
        scores = np.zeros(len(state.candidates))
        scores[next(self._choices)] = 1.0
        return scores


def _bare(task: RolloutTask, choices: NDArray[np.int32]) -> int:
    model = task.instance.load()
    apply_settings(model, task.settings)
    apply_limits(model, seconds=task.time_limit, nodes=task.node_limit)
    model.setParam("misc/catchctrlc", False)
    attach(model, _Replaying(choices), strict=True)
    optimize(model)
    return int(model.getNTotalNodes())


def _seconds(function: object, *arguments: object) -> float:
    assert callable(function)
    began = process_time()
    function(*arguments)
    return process_time() - began


@click.command()
@click.option("--family", default="auction", show_default=True)
@click.option("--size", default="50x250", show_default=True)
@click.option("--instances", default=10, show_default=True)
@click.option("--repetitions", default=3, show_default=True)
@click.option("--history", default=8, show_default=True)
def main(family: str, size: str, instances: int, repetitions: int, history: int) -> None:
    """Print CPU seconds of rollouts and of bare solves with the same decisions, and the ratio of medians."""
    config = NetworkConfig(width=32, history_length=history, classes=24, highest=12.0)
    torch.manual_seed(0)
    tensors = {name: tensor.numpy() for name, tensor in BranchingNetwork(config).state_dict().items()}
    weights = Weights(config, tensors)
    kind = Kind(family=family, size=size)
    exploration = Exploration(temperature=0.1, epsilon=0.1)
    rows = []
    for seed in range(instances):
        task = RolloutTask(kind.source(seed), "clean", 2000, 600.0, exploration, (seed,))
        result = roll_out(task, weights)
        if result.episode is None:
            continue
        choices = result.episode.choice
        if _bare(task, choices) != result.nodes:
            raise click.ClickException(f"seed {seed}: the replayed solve took other nodes")
        times = [
            (_seconds(roll_out, task, weights), _seconds(roll_out, replace(task, record=False), weights), _seconds(_bare, task, choices))
            for _ in range(repetitions)
        ]
        rows.append([median(column) for column in zip(*times, strict=True)])
        click.echo(f"seed {seed}: {result.decisions} decisions, {rows[-1][0]:.3f} s, bare {rows[-1][2]:.3f} s", err=True)
    rollout, unrecorded, bare = (sum(column) for column in zip(*rows, strict=True))
    click.echo(f"| {family} {size}, {len(rows)} instances | seconds | / bare |\n| --- | ---: | ---: |")
    for name, seconds in (("rollout", rollout), ("without recording", unrecorded), ("bare solve, same decisions", bare)):
        click.echo(f"| {name} | {seconds:.2f} | {seconds / bare:.3f} |")


if __name__ == "__main__":
    main()
