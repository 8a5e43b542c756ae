from __future__ import annotations

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from revibranch.gnn.facts import NODE_FACTS, node_fact_vector

from .states import facts

bounds = st.floats(allow_nan=True, allow_infinity=True)
counts = st.integers(0, 10**9)


@given(bounds, bounds, bounds, bounds, counts, counts, counts, counts, st.integers(0, 10**6))
@example(1e308, 1.7e308, 1e308, -1.7e308, 0, 0, 0, 0, 0)
@example(0.0, 0.0, 0.0, 0.0, 0, 0, 0, 0, 0)
@example(5e-324, 0.0, 5e-324, -5e-324, 0, 0, 0, 0, 0)
def test_always_finite_and_between_0_and_1(here, primal, dual, root, depth, nodes, n_open, solutions, candidates):
    node = facts(
        lp_objective=here,
        primal_bound=primal,
        dual_bound=dual,
        root_dual_bound=root,
        depth=depth,
        n_nodes=nodes,
        n_open=n_open,
        n_solutions=solutions,
    )
    vector = node_fact_vector(node, candidates, max(candidates, 1))
    assert vector.shape == (len(NODE_FACTS),)
    assert vector.dtype == np.float32
    assert ((vector >= 0) & (vector <= 1)).all()


def named(node, n_candidates=5, n_variables=10):
    return dict(zip([name for name, _ in NODE_FACTS], node_fact_vector(node, n_candidates, n_variables).tolist(), strict=True))


def test_bounds_enter_relative_to_each_other():
    vector = named(facts(root_dual_bound=80.0, lp_objective=90.0, primal_bound=100.0, dual_bound=85.0))
    assert vector["position"] == 0.5
    assert np.isclose(vector["gain"], 10 / 90)
    assert np.isclose(vector["distance"], 10 / 100)
    assert np.isclose(vector["gap"], 15 / 100)
    assert vector["is_bounded_above"] == 1
    assert vector["share_of_candidates"] == 0.5


@given(st.floats(1e-3, 1e6))
def test_the_unit_of_the_objective_does_not_matter(unit):
    one = facts(root_dual_bound=-8.0, lp_objective=-5.0, primal_bound=3.0, dual_bound=-7.0)
    other = facts(root_dual_bound=-8.0 * unit, lp_objective=-5.0 * unit, primal_bound=3.0 * unit, dual_bound=-7.0 * unit)
    assert np.allclose(node_fact_vector(one, 5, 10), node_fact_vector(other, 5, 10), atol=1e-6)


def test_missing_bounds_have_their_documented_values():
    inf = float("inf")
    vector = named(facts(primal_bound=inf, dual_bound=-inf, root_dual_bound=-inf))
    assert (vector["is_bounded_above"], vector["position"], vector["gain"]) == (0, 0, 0)
    assert (vector["distance"], vector["gap"]) == (1, 1)
