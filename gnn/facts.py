"""What the network is told of a node and its tree: a short vector of bounded numbers, computed in ``csrc/facts.pxi``."""

from __future__ import annotations

from ._network import node_fact_vector

__all__ = ["NODE_FACTS", "node_fact_vector"]

NODE_FACTS: tuple[tuple[str, str], ...] = (
    ("depth", "squashed depth of the node"),
    ("is_bounded_above", "1 where there is an incumbent or an objective limit"),
    ("position", "(LP objective - root dual bound) / (primal bound - root dual bound); 0 where a bound is missing"),
    ("gain", "LP objective over the root dual bound, relative; 0 where that bound is missing"),
    ("distance", "primal bound over the LP objective, relative; 1 without a primal bound"),
    ("gap", "primal bound over the tree's dual bound, relative; 1 where a bound is missing"),
    ("n_nodes", "squashed logarithm of the nodes processed"),
    ("n_open", "squashed logarithm of the open nodes"),
    ("n_solutions", "squashed logarithm of the solutions kept"),
    ("n_candidates", "squashed logarithm of the branching candidates"),
    ("share_of_candidates", "candidates / variables"),
)
"""Name and meaning of each number, in order. All lie in [0, 1]; relative means divided by the larger magnitude."""
