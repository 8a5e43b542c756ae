"""What strong branching among a policy's best candidates buys: ``python -m revibranch.benchmarks.shortlist``.

The control is the same strong branching among the best candidates by pseudocosts: only a list that is better than theirs owes
its gain to the policy.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from ..branching.mixture import as_asked
from ..branching.policy import PathStep, Policy
from ..branching.shortlist import LENGTH, ShortlistPolicy
from ..branching.state import BranchState
from ..gnn.policy import load_policy
from ..gnn.training.collect import pseudocost_scores
from ..instances.files import InstanceError, InstanceSource, resolve
from .checksums import file_checksum, policy_checksum
from .comparison import compare
from .report_tables import short_ratio
from .rows import RunRow
from .run import run
from .statistics import METRICS
from .store import RunKey, RunStore, StoreError, read_rows, run_key

__all__ = ["PSEUDOCOSTS", "PseudocostPolicy", "cases", "listed", "measure", "table"]

PSEUDOCOSTS = "pseudocosts"
"""The control's name in rows."""
_SETTINGS = "clean"


class PseudocostPolicy(Policy):
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


def cases(name: str, policy: Policy, lengths: Sequence[int]) -> dict[str, Policy]:
    """The policy, as it is attached to a model, and pseudocosts, alone and with lists of these lengths, by their names in rows."""
    rules = {name: policy, PSEUDOCOSTS: PseudocostPolicy()}
    alone = {each: as_asked(rule) for each, rule in rules.items()}
    lists = {listed(each, length): ShortlistPolicy(as_asked(rule), length=length) for length in lengths for each, rule in rules.items()}
    return {**alone, **lists}


def measure(
    sources: Sequence[InstanceSource], name: str, lengths: Sequence[int], stored: Collection[RunRow], *, time_limit: float = 60.0
) -> Iterator[RunRow]:
    """Solve each instance by all rules in turn, in clean settings, with SCIP's own seed.

    Args:
        sources: the instances.
        name: pretrained policy or checkpoint file.
        lengths: of the lists.
        stored: what was run before, and is not run again.
        time_limit: CPU seconds of a run.

    Raises:
        StoreError: of what was run before some is of other files, of the policy or of an instance, by the same names.
        CheckpointError: there is no such policy.
    """
    rules = cases(name, load_policy(name, device="cpu"), lengths)
    weights = policy_checksum(name)
    done = {run_key(row) for row in stored}
    if any(_rule(row) == name and row.policy_sha256 != weights for row in stored):
        raise StoreError(f"there are runs of {name} with another file of weights than it has now: choose another --out")
    for source in sources:
        file = file_checksum(source.path)
        if any(row.instance == source.name and row.instance_sha256 != file for row in stored):
            raise StoreError(f"there are runs on another file by the name of {source.name}: choose another --out")
        for label, rule in rules.items():
            if RunKey(source.name, 0, label, _SETTINGS, time_limit) in done:
                continue
            row = run(source.load, rule, settings=_SETTINGS, time_limit=time_limit, instance=source.name, family=source.family, label=label)
            yield replace(row, instance_sha256=file, policy_sha256=weights if _rule(row) == name else None)


def table(rows: Sequence[RunRow]) -> str:
    """A Markdown table of ratios with 95 % intervals: a line for each kind of instances, time limit, policy and length of list."""
    lines = [
        "| instances | policy | list | nodes, of the policy alone | all LP iterations | seconds | nodes, of pseudocosts' list | seconds |",
        "| --- | --- | ---: | --- | --- | --- | --- | --- |",
    ]
    groups: dict[tuple[str, float], list[RunRow]] = {}
    for row in rows:
        groups.setdefault((row.instance.rpartition("-")[0], row.time_limit), []).append(row)
    for (kind, limit), own in groups.items():
        for name in sorted({_rule(row) for row in own} - {PSEUDOCOSTS}):
            lengths = {int(row.policy.rpartition(" ")[2]) for row in own if row.policy.startswith(f"{name}, ")}
            for length in sorted(lengths):
                pairs = [(name, metric) for metric in ("nodes", "all_lp_iterations", "seconds")]
                pairs += [(listed(PSEUDOCOSTS, length), metric) for metric in ("nodes", "seconds")]
                results = [compare(own, listed(name, length), baseline, METRICS[metric]) for baseline, metric in pairs]
                count = min(result.instances for result in results if result.metric == "seconds")
                lines.append(f"| {kind}, {count}, {limit:g} s | {name} | {length} | {' | '.join(map(short_ratio, results))} |")
    return "\n".join(lines)


def _rule(row: RunRow) -> str:
    """Who made the list, or decided alone."""
    return row.policy.partition(", ")[0]


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
            with RunStore(out) as store:
                for row in measure(sources, policy or sources[0].family, lengths, store.rows.values(), time_limit=time_limit):
                    store.append(row)
                store.finish()
        click.echo(table(read_rows(out)))
    except (InstanceError, StoreError, ValueError) as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
