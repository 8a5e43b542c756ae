"""What strong branching among a policy's best candidates buys: ``python -m revibranch.benchmarks.shortlist``.

The control is the same strong branching among the best candidates by pseudocosts: only a list that is better than theirs owes
its gain to the policy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from ..branching.policy import PathStep, Policy
from ..branching.shortlist import LENGTH, ShortlistPolicy
from ..branching.state import BranchState
from ..gnn.policy import load_policy
from ..gnn.training.collect import pseudocost_scores
from ..instances.files import InstanceError, resolve
from .comparison import Comparison, compare
from .evaluate import Source
from .report_tables import limit_mark
from .rows import RunRow
from .run import run
from .statistics import METRICS
from .store import RunKey, RunStore, StoreError, read_rows

__all__ = ["PSEUDOCOSTS", "Pseudocosts", "cases", "listed", "table"]

PSEUDOCOSTS = "pseudocosts"
"""The control's name in rows."""
_POLICY = "policy"
"""The policy's, whichever it is."""
_SETTINGS = "clean"


class Pseudocosts(Policy):
    """SCIP's rule ``pscost`` as a policy."""

    needs_path = False

    def begin(self, model: object) -> None:
        """Nothing is kept from solve to solve."""

    def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[np.floating]:  # noqa: ARG002
        """The products, (k,)."""
        return pseudocost_scores(state)


def listed(rule: str, length: int) -> str:
    """Name in rows of strong branching among a rule's best candidates."""
    return f"{rule}, best {length}"


def cases(policy: Policy, lengths: Sequence[int]) -> dict[str, Policy]:
    """The policy and pseudocosts, alone and with lists of these lengths, by their names in rows."""
    rules = {_POLICY: policy, PSEUDOCOSTS: Pseudocosts()}
    lists = {listed(name, length): ShortlistPolicy(rule, length=length) for length in lengths for name, rule in rules.items()}
    return {**rules, **lists}


def measure(
    sources: Sequence[Source], rules: dict[str, Policy], done: set[RunKey], *, seed: int = 0, time_limit: float = 60.0
) -> Iterator[RunRow]:
    """Solve each instance by all rules in turn, in clean settings; runs that are ``done`` already are left out."""
    for source in sources:
        for name, rule in rules.items():
            if RunKey(source.name, seed, name, _SETTINGS, time_limit) not in done:
                yield run(
                    source.load,
                    rule,
                    settings=_SETTINGS,
                    seed=seed,
                    time_limit=time_limit,
                    instance=source.name,
                    family=source.family,
                    label=name,
                )


def table(rows: Sequence[RunRow]) -> str:
    """A Markdown table of ratios with 95 % intervals, a line for each kind of instance and length of list."""
    lines = [
        "| instances | list | nodes, of the policy's alone | all LP iterations | seconds | nodes, of pseudocosts' list | seconds |",
        "| --- | ---: | --- | --- | --- | --- | --- |",
    ]
    kinds = dict.fromkeys(_kind(row) for row in rows)
    for kind in kinds:
        own = [row for row in rows if _kind(row) == kind]
        lengths = sorted({int(row.policy.rpartition(" ")[2]) for row in own if row.policy.startswith(f"{_POLICY}, ")})
        count = len({row.instance for row in own})
        for length in lengths:
            name = listed(_POLICY, length)
            pairs = [(_POLICY, metric) for metric in ("nodes", "all_lp_iterations", "seconds")]
            pairs += [(listed(PSEUDOCOSTS, length), metric) for metric in ("nodes", "seconds")]
            cells = [_cell(compare(own, name, baseline, METRICS[metric])) for baseline, metric in pairs]
            lines.append(f"| {kind} ({count}) | {length} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _kind(row: RunRow) -> str:
    return row.instance.rpartition("-")[0]


def _cell(result: Comparison) -> str:
    if result.ratio is None:
        return "-"
    interval = "" if result.low is None or result.high is None else f" \\[{result.low:.2f}, {result.high:.2f}\\]"
    return f"{limit_mark(result)}{result.ratio:.2f}{interval}"


@click.command()
@click.option(
    "--instances", "spec", help="Instances of one family, such as setcover:400x750:0-19; without them the table alone is printed."
)
@click.option("--policy", help="Pretrained policy or checkpoint file.  [default: the name of the instances' family]")
@click.option("--length", "lengths", multiple=True, type=click.IntRange(2), default=(4, LENGTH), show_default=True, help="Repeatable.")
@click.option("--time-limit", default=60.0, show_default=True, help="CPU seconds of a run.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="Parquet file of rows; what it holds is kept.")
def main(spec: str | None, policy: str | None, lengths: tuple[int, ...], time_limit: float, out: Path) -> None:
    """Run what is missing, and print a Markdown table of all that FILE holds."""
    try:
        if spec is not None:
            sources = resolve(spec)
            rules = cases(load_policy(policy or sources[0].family, device="cpu"), lengths)
            with RunStore(out) as store:
                for row in measure(sources, rules, set(store.rows), time_limit=time_limit):
                    store.append(row)
                store.finish()
        click.echo(table(read_rows(out)))
    except (InstanceError, StoreError, ValueError) as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
