"""Speed of the state extraction: ``python -m revibranch.benchmarks.extraction``.

One process; at the same nodes of the same solves, in turn: this project's buffer with its kept matrix, the same with
everything read anew, PySCIPOpt's ``getBipartiteGraphRepresentation``, and gyozas' ``NodeBipartite`` where it is installed.
The kept extraction is timed first at each node, so that it pays for whatever SCIP computes lazily. Quoted are medians.
"""

from __future__ import annotations

import importlib.util
import statistics
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any

import click

from ..branching._bipartite import BipartiteBuffer
from ..branching.policy import PathStep, Policy
from ..branching.settings import apply_settings
from ..branching.solving import attach, optimize
from ..branching.state import BranchState
from ..instances import families

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pyscipopt import Model

INSTANCES = (
    ("setcover", "500x1000"),
    ("setcover", "1000x1000"),
    ("auction", "100x500"),
    ("facility", "100x100"),
    ("independent-set", "500"),
)


def _gyozas_observation() -> Callable[[Model], object] | None:
    if importlib.util.find_spec("gyozas") is None:
        return None
    from gyozas.observations import NodeBipartite

    observation = NodeBipartite()

    def extract(model: Model) -> object:
        return observation.extract(model, False)

    return extract


class TimingPolicy(Policy):
    """Times every extractor at each node after the first few; leaves the branching to SCIP's pscost rule."""

    extended = False
    needs_path = False

    def __init__(self, n_nodes: int, slow_every: int) -> None:
        self.n_nodes = n_nodes
        self.slow_every = slow_every
        self.seconds: dict[str, list[float]] = {}
        self.sizes = (0, 0, 0)
        self._seen = 0
        self._gyozas = _gyozas_observation()

    def begin(self, model: Model) -> None:
        """Make buffers of our own, so that the plugin's does not warm them."""
        import weakref

        self._model = weakref.ref(model)
        self._lean = BipartiteBuffer(model, extended=False)
        self._full = BipartiteBuffer(model, extended=False)
        self._extended = BipartiteBuffer(model, extended=True)

    def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[Any] | None:  # noqa: ARG002
        """Time the extractors in turn."""
        model = self._model()
        assert model is not None
        self._seen += 1
        if self._seen == 1:
            self._lean.update()
            self._extended.update()
            return None
        self.sizes = (state.n_variables, model.getNLPRows(), state.n_edges)
        self._time("kept", self._lean.update)
        self._time("kept, all columns", self._extended.update)
        self._full.invalidate()
        self._time("full", self._full.update)
        if self._seen % self.slow_every == 0:
            self._time("PySCIPOpt", model.getBipartiteGraphRepresentation)
            if self._gyozas is not None:
                gyozas = self._gyozas
                self._time("gyozas", lambda: gyozas(model))
        if self._seen > self.n_nodes:
            model.interruptSolve()
        return None

    def _time(self, name: str, extract: Callable[[], object]) -> None:
        started = perf_counter()
        extract()
        self.seconds.setdefault(name, []).append(perf_counter() - started)


def measure(family: str, size: str, n_nodes: int) -> TimingPolicy:
    """Time all extractors in the middle of a clean solve of one generated instance (seed 0 upwards until there is a tree)."""
    timing = TimingPolicy(n_nodes, slow_every=max(1, n_nodes // 20))
    for seed in range(20):
        if timing._seen > n_nodes:
            break
        model = families.get(family).generate(size, seed).to_model()
        apply_settings(model, "clean")
        model.setParam("branching/pscost/priority", 1_000_000)
        timing._seen = 0
        attach(model, timing, strict=True)
        optimize(model)
    return timing


@click.command()
@click.option("--nodes", default=200, show_default=True, help="Nodes timed per instance.")
@click.option("--only", multiple=True, help="FAMILY:SIZE; may be repeated. Default: five families.")
def main(nodes: int, only: tuple[str, ...]) -> None:
    """Print a Markdown table of median milliseconds and of ratios to PySCIPOpt's extraction."""
    chosen = [tuple(item.split(":", 1)) for item in only] or list(INSTANCES)
    columns = ["kept", "kept, all columns", "full", "PySCIPOpt", "gyozas"]
    header = ["instance (variables / LP rows / edges)", *columns, "PySCIPOpt / kept", "PySCIPOpt / full"]
    click.echo("| " + " | ".join(header) + " |")
    click.echo("|---" * len(header) + "|")
    for family, size in chosen:
        timing = measure(family, size, nodes)
        medians = {name: 1e3 * statistics.median(values) for name, values in timing.seconds.items()}
        cells = [f"{medians[name]:.3f}" if name in medians else "-" for name in columns]
        ratios = [f"{medians['PySCIPOpt'] / medians[name]:.0f}x" if "PySCIPOpt" in medians else "-" for name in ("kept", "full")]
        label = f"{family} {size} ({' / '.join(map(str, timing.sizes))})"
        click.echo("| " + " | ".join([label, *cells, *ratios]) + " |")


if __name__ == "__main__":
    main()
