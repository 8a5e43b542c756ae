"""What strong branching among a policy's best candidates buys: ``python -m revibranch.benchmarks.shortlist``.

The control is the same strong branching among the best candidates by pseudocosts: only a list that is better than theirs owes
its gain to the policy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click
import numpy as np
from numpy.typing import NDArray

from ..branching.policy import PathStep, Policy
from ..branching.shortlist import LENGTH, ShortlistPolicy
from ..branching.state import BranchState
from ..gnn.policy import load_policy
from ..gnn.training.collect import pseudocost_scores
from ..instances import families
from .rows import RunRow
from .run import run
from .statistics import METRICS, shifted_geometric_mean

if TYPE_CHECKING:
    from pyscipopt import Model

__all__ = ["Pseudocosts", "compare_lists"]

_METRICS = ("nodes", "lp_iterations", "all_lp_iterations", "seconds")


class Pseudocosts(Policy):
    """SCIP's rule ``pscost`` as a policy."""

    needs_path = False

    def begin(self, model: Model) -> None:
        """Nothing is kept from solve to solve."""

    def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[np.floating]:  # noqa: ARG002
        """The products, (k,)."""
        return pseudocost_scores(state)


def compare_lists(
    family: str, size: str, seeds: range, policy: Policy, lengths: Sequence[int], *, time_limit: float = 60.0
) -> dict[str, list[RunRow]]:
    """Solve generated instances in clean settings by the policy and by pseudocosts, alone and with lists of these lengths."""
    rules = {"policy": policy, "pseudocosts": Pseudocosts()}
    cases: dict[str, Policy] = {**rules}
    for length in lengths:
        cases |= {f"{name}, strong branching among {length}": ShortlistPolicy(rule, length=length) for name, rule in rules.items()}

    def builder(seed: int) -> Callable[[], Model]:
        return lambda: families.get(family).generate(size, seed).to_model()

    return {
        name: [run(builder(seed), case, settings="clean", time_limit=time_limit, label=name) for seed in seeds]
        for name, case in cases.items()
    }


@click.command()
@click.option("--policy", default="setcover", show_default=True, help="Pretrained policy or checkpoint file.")
@click.option("--family", default="setcover", show_default=True)
@click.option("--size", default="300x600", show_default=True)
@click.option("--seed", default=0, show_default=True, help="First seed of the instances.")
@click.option("--instances", default=10, show_default=True)
@click.option("--length", "lengths", multiple=True, type=int, default=(4, LENGTH), show_default=True, help="Repeatable.")
def main(policy: str, family: str, size: str, seed: int, instances: int, lengths: tuple[int, ...]) -> None:
    """Print a Markdown table of shifted geometric means."""
    results = compare_lists(family, size, range(seed, seed + instances), load_policy(policy, device="cpu"), lengths)
    click.echo("| rule | nodes | LP iterations | all LP iterations | seconds |\n|---|---:|---:|---:|---:|")
    for name, rows in results.items():
        means = []
        for metric in _METRICS:
            values = [float(value) for row in rows if (value := METRICS[metric].value(row)) is not None]
            means.append(f"{shifted_geometric_mean(values, METRICS[metric].shift):,.4g}")
        click.echo("| " + " | ".join([name, *means]) + " |")


if __name__ == "__main__":
    main()
