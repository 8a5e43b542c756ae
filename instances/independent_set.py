"""Maximum independent set on random graphs, in the clique formulation.

Graphs after A.-L. Barabasi and R. Albert, "Emergence of scaling in random networks", Science 286, 1999, and P. Erdos and
A. Renyi, "On random graphs", 1959; formulation of D. Bergman et al., "Decision Diagrams for Optimization", 2016, as in
Gasse et al. 2019: the nodes are greedily partitioned into cliques, one row each, and edges between cliques keep a row of
their own.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from .draws import Draws
from .family import Family, Parameters, Size
from .milp import INFINITY, LongArray, Milp

__all__ = ["FAMILY", "IndependentSetParameters"]

Adjacency = NDArray[np.bool_]


class IndependentSetParameters(Parameters):
    """The graph's law and the rows: greedily found cliques and left-over edges, or all maximal cliques (tighter, as in gyozas)."""

    graph: Literal["barabasi-albert", "erdos-renyi"] = "barabasi-albert"
    affinity: int = Field(default=4, ge=1)
    edge_probability: float = Field(default=0.25, gt=0.0, lt=1.0)
    cliques: Literal["greedy", "maximal"] = "greedy"


def draw(size: Size, parameters: IndependentSetParameters, draws: Draws) -> Milp:
    """Draw the arrays: one binary variable per node; an isolated node has no row.

    Raises:
        ValueError: there are no more nodes than the affinity.
    """
    (n_nodes,) = size
    if parameters.graph == "barabasi-albert":
        adjacency = _barabasi_albert(n_nodes, parameters.affinity, draws)
    else:
        adjacency = _erdos_renyi(n_nodes, parameters.edge_probability, draws)
    cliques = _greedy_cliques(adjacency) if parameters.cliques == "greedy" else _maximal_cliques(adjacency)
    cliques = [clique for clique in cliques if clique.size > 1]
    remaining = np.triu(adjacency, 1)
    for clique in cliques:
        remaining[np.ix_(clique, clique)] = False
    edges = np.argwhere(remaining)
    sizes = np.concatenate([np.array([clique.size for clique in cliques], dtype=np.int64), np.full(len(edges), 2, dtype=np.int64)])
    n_rows = sizes.size
    columns = np.concatenate([*cliques, edges.ravel()]).astype(np.int32)
    return Milp(
        objective=np.ones(n_nodes),
        lower=np.zeros(n_nodes),
        upper=np.ones(n_nodes),
        types=np.full(n_nodes, b"B", dtype="S1"),
        row_offsets=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        columns=columns,
        values=np.ones(columns.size),
        lhs=np.full(n_rows, -INFINITY),
        rhs=np.ones(n_rows),
        maximise=True,
    )


def _barabasi_albert(n_nodes: int, affinity: int, draws: Draws) -> Adjacency:
    """Start with a star; every further node joins ``affinity`` different nodes, drawn by degree.

    A draw by degree is a uniform draw from the list of all edges' ends.
    """
    if n_nodes <= affinity:
        raise ValueError(f"a Barabasi-Albert graph of affinity {affinity} needs more than {affinity} nodes, not {n_nodes}")
    adjacency = np.zeros((n_nodes, n_nodes), dtype=np.bool_)
    ends = [*range(affinity), *[affinity] * affinity]
    adjacency[affinity, :affinity] = True
    supply: list[float] = []
    for node in range(affinity + 1, n_nodes):
        chosen: dict[int, None] = {}
        while len(chosen) < affinity:
            if not supply:
                supply = draws.uniform(4 * n_nodes).tolist()
            chosen[ends[int(supply.pop() * len(ends))]] = None
        adjacency[node, list(chosen)] = True
        ends.extend(chosen)
        ends.extend([node] * affinity)
    return adjacency | adjacency.T


def _erdos_renyi(n_nodes: int, probability: float, draws: Draws) -> Adjacency:
    adjacency = np.zeros((n_nodes, n_nodes), dtype=np.bool_)
    upper = np.triu_indices(n_nodes, 1)
    adjacency[upper] = draws.uniform(upper[0].size) < probability
    return adjacency | adjacency.T


def _greedy_cliques(adjacency: Adjacency) -> list[LongArray]:
    """Partition the nodes into cliques: take the node of highest degree left and add neighbours, highest degree first."""
    order = np.argsort(-adjacency.sum(axis=1), kind="stable")
    ranked = adjacency[np.ix_(order, order)]
    left = np.ones(order.size, dtype=np.bool_)
    cliques = []
    for centre in range(order.size):
        if not left[centre]:
            continue
        members = [centre]
        left[centre] = False
        fitting = ranked[centre] & left
        while fitting.any():
            member = int(fitting.argmax())
            members.append(member)
            left[member] = False
            fitting &= ranked[member]
        cliques.append(np.sort(order[members]))
    return cliques


def _maximal_cliques(adjacency: Adjacency) -> list[LongArray]:
    """List all maximal cliques: Bron and Kerbosch 1973 with Tomita's pivot; exponential in the worst case."""
    neighbours = [set(np.flatnonzero(row).tolist()) for row in adjacency]
    cliques: list[LongArray] = []
    stack: list[tuple[list[int], set[int], set[int]]] = [([], set(range(len(neighbours))), set())]
    while stack:
        members, candidates, excluded = stack.pop()
        if not candidates:
            if not excluded:
                cliques.append(np.array(sorted(members), dtype=np.int64))
            continue
        pivot = max(candidates | excluded, key=lambda node: (len(candidates & neighbours[node]), -node))
        for node in sorted(candidates - neighbours[pivot]):
            stack.append(([*members, node], candidates & neighbours[node], excluded & neighbours[node]))
            candidates = candidates - {node}
            excluded = excluded | {node}
    cliques.sort(key=_by_members)
    return cliques


def _by_members(clique: LongArray) -> Any:
    return clique.tolist()


_SMALL, _MEDIUM = Size((500,)), Size((1000,))

FAMILY = Family(
    name="independent-set",
    title="maximum independent set: nodes",
    source="Barabasi & Albert 1999 / Erdos & Renyi 1959, clique formulation as in Gasse et al. 2019",
    number=4,
    version=1,
    dimensions={"nodes": 2},
    default_size=_SMALL,
    published_sizes={
        "small": _SMALL,
        "medium": _MEDIUM,
        "large": Size((1500,)),
        "rl2branch": _SMALL,
        "rl2branch-transfer": _MEDIUM,
    },
    parameters=IndependentSetParameters,
    draw=draw,
)
