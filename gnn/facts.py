"""What the network is told of a node and its tree: a short vector of bounded numbers."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ..branching.state import NodeFacts

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


def node_fact_vector(facts: NodeFacts, n_candidates: int, n_variables: int) -> NDArray[np.float32]:
    """The node's facts as the network reads them.

    Bounds enter relative to each other only, so that the vector does not change with the unit of the objective. Counts
    of LPs and the number of the run are left out: they depend on cut rounds and restarts more than on the tree.

    Args:
        facts: of the state at hand; bounds may be infinite or NaN.
        n_candidates: branching candidates of the state.
        n_variables: variables of the state.

    Returns:
        (len(NODE_FACTS),) float32, finite, in [0, 1].
    """
    root, here, primal, dual = facts.root_dual_bound, facts.lp_objective, facts.primal_bound, facts.dual_bound
    return np.array(
        [
            facts.depth / (facts.depth + 10.0),
            float(math.isfinite(primal)),
            _position(here, root, primal),
            _relative(here, root, missing=0.0),
            _relative(primal, here, missing=1.0),
            _relative(primal, dual, missing=1.0),
            _squash(facts.n_nodes),
            _squash(facts.n_open),
            _squash(facts.n_solutions),
            _squash(n_candidates),
            _clip(n_candidates / n_variables) if n_variables else 0.0,
        ],
        dtype=np.float32,
    )


def _all_finite(*values: float) -> bool:
    return all(math.isfinite(value) for value in values)


def _clip(value: float) -> float:
    return min(max(value, 0.0), 1.0)


def _position(value: float, lower: float, upper: float) -> float:
    """(value - lower) / (upper - lower), clipped to [0, 1]; 0 where it means nothing."""
    if not _all_finite(value, lower, upper) or upper <= lower:
        return 0.0
    # Quartered, because the difference of two huge bounds may overflow; two denormal ones become equal by it.
    return _clip((value / 4 - lower / 4) / (upper / 4 - lower / 4)) if upper / 4 > lower / 4 else 0.0


def _relative(upper: float, lower: float, *, missing: float) -> float:
    """(upper - lower) / max(|upper|, |lower|), clipped to [0, 1]."""
    if not _all_finite(upper, lower):
        return missing
    magnitude = max(abs(upper), abs(lower))
    return _clip(upper / magnitude - lower / magnitude) if magnitude > 0 else 0.0


def _squash(count: int) -> float:
    """Logarithm of a count, bounded: half at about 50, 0.7 at 10,000."""
    logarithm = math.log1p(max(count, 0))
    return logarithm / (logarithm + 4.0)
