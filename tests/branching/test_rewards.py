"""Redistribution conserves the cost of a path, whatever is known of its bounds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from revibranch.branching.rewards import bound_gains, gap_levels, importance, redistribute, returns
from revibranch.branching.trajectory import heavy_paths

from .trees import Tree, trees

ANY_BOUND = st.one_of(
    st.floats(-1e9, 1e9),
    st.sampled_from([0.0, 1e20, -1e20, 1e308, -1e308, 5e-324, np.inf, -np.inf, np.nan]),
)
SIZES = st.lists(st.integers(1, 1000), min_size=1, max_size=30).map(lambda own: np.cumsum(own)[::-1].copy())


@given(SIZES, st.data(), st.sampled_from(["subtree", "bound", "attention", "uniform"]), st.floats(0, 1))
def test_weights_are_shares_and_the_cost_is_conserved(sizes: np.ndarray, data: st.DataObject, kind, alpha: float) -> None:
    gains = data.draw(arrays(np.float64, len(sizes), elements=ANY_BOUND))
    attention = data.draw(arrays(np.float64, len(sizes), elements=st.floats(0, 1)))
    weights = importance(kind, sizes, gains=gains, attention=attention)
    assert weights.shape == sizes.shape
    assert (weights >= 0).all()
    assert weights.sum() == pytest.approx(1.0, abs=1e-12)
    rewards = redistribute(weights, sizes[0], alpha)
    assert rewards.sum() == pytest.approx(-sizes[0], rel=1e-12)
    assert returns(rewards)[0] == pytest.approx(-sizes[0], rel=1e-12)


@given(trees())
def test_subtree_weights_give_every_decision_the_return_of_its_subtree(tree: Tree) -> None:
    for path in heavy_paths(tree.parent, tree.sizes):
        sizes = tree.sizes[path]
        rewards = redistribute(importance("subtree", sizes), sizes[0], 1.0)
        np.testing.assert_allclose(returns(rewards), -sizes, rtol=1e-12)


def test_alpha_zero_is_sparse() -> None:
    rewards = redistribute(importance("subtree", np.array([9, 5, 3])), 9, 0.0)
    np.testing.assert_array_equal(rewards, [0, 0, -9])


def test_half_of_a_cost_redistributed_by_hand() -> None:
    weights = importance("subtree", np.array([10, 5, 3]))
    np.testing.assert_allclose(weights, [0.5, 0.2, 0.3])
    np.testing.assert_allclose(redistribute(weights, 10, 0.5), [-2.5, -1.0, -6.5])


@pytest.mark.parametrize(
    ("gains", "expected"),
    [
        ([0.0, 3.0, 1.0], [3 / 5, 0, 2 / 5]),
        ([2.0, 2.0 + 1e-12, 2.0], [1 / 3] * 3),
        ([1.0, np.inf, 3.0], [1, 0, 0]),
        ([1.0, 1e20, 3.0], [1, 0, 0]),
        ([-np.inf, 1.0, 3.0], [1 / 2, 1 / 2, 0]),
        ([np.nan, 1.0, 3.0], [1 / 3, 2 / 3, 0]),
        ([np.nan] * 3, [1 / 3] * 3),
        ([np.inf] * 3, [1 / 3] * 3),
        ([np.inf, np.nan, -np.inf], [0, 1 / 3, 2 / 3]),
    ],
)
def test_bound_weights_by_hand(gains: list[float], expected: list[float]) -> None:
    np.testing.assert_allclose(importance("bound", np.array([9, 5, 3]), gains=np.array(gains)), expected, atol=1e-12)


def test_attention_is_taken_as_it_is_up_to_its_sum() -> None:
    sizes = np.array([9, 5, 3])
    np.testing.assert_allclose(importance("attention", sizes, attention=np.array([1, 3, 0])), [0.25, 0.75, 0])
    np.testing.assert_allclose(importance("attention", sizes, attention=np.zeros(3)), [1 / 3] * 3)


def test_gains_follow_the_next_bound_or_the_one_that_is_given() -> None:
    bounds = np.array([1.0, 4.0, 4.5])
    np.testing.assert_array_equal(bound_gains(bounds), [3, 0.5, np.nan])
    np.testing.assert_array_equal(bound_gains(bounds, np.array([2.0, np.inf, 1e20])), [1, np.inf, np.inf])
    # A bound that is not known gives no gain, be it on this side or on that.
    np.testing.assert_array_equal(bound_gains(np.array([-1e20, np.nan, 1, 1]), np.array([5, 5, -np.inf, np.nan])), [np.nan] * 4)


@given(st.integers(0, 9), st.data())
def test_gains_of_any_bounds_are_no_trouble(length: int, data: st.DataObject) -> None:
    bounds, after = (data.draw(arrays(np.float64, length, elements=ANY_BOUND)) for _ in range(2))
    assert bound_gains(bounds).shape == (length,)
    gains = bound_gains(bounds, after)
    assert gains.shape == (length,)
    assert not (gains == -np.inf).any()


@given(st.lists(st.floats(-100, 0), min_size=1, max_size=20), st.floats(0, 1))
def test_returns_satisfy_bellmans_equation(rewards: list[float], gamma: float) -> None:
    result = returns(np.array(rewards), gamma)
    np.testing.assert_allclose(result, np.array(rewards) + gamma * np.append(result[1:], 0.0), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("kind", "sizes", "given", "message"),
    [
        ("subtree", [], {}, "at least one"),
        ("subtree", [3, 5], {}, "do not increase"),
        ("uniform", [3, 0], {}, "positive"),
        ("uniform", [np.inf, 1], {}, "positive"),
        ("bound", [3, 1], {}, "need gains"),
        ("bound", [3, 1], {"gains": np.zeros(3)}, r"gains must have shape \[2\], not \[3\]"),
        ("attention", [3, 1], {}, "need attention"),
        ("attention", [3, 1], {"attention": np.array([-1.0, 2])}, "not negative"),
        ("attention", [3, 1], {"attention": np.array([np.nan, 2])}, "finite"),
        ("depth", [3, 1], {}, "unknown importance 'depth'"),
    ],
)
def test_bad_paths_are_refused(kind, sizes, given, message) -> None:
    with pytest.raises(ValueError, match=message):
        importance(kind, np.array(sizes), **given)


@pytest.mark.parametrize(
    ("weights", "cost", "alpha", "message"),
    [
        ([0.5, 0.6], 3, 1, "sum to 1"),
        ([1.5, -0.5], 3, 1, "not negative"),
        ([np.nan, 1], 3, 1, "not negative"),
        ([], 3, 1, "sum to 1"),
        ([1], np.inf, 1, "cost"),
        ([1], -3, 1, "cost"),
        ([1], 3, 1.1, "alpha"),
        ([1], 3, np.nan, "alpha"),
    ],
)
def test_bad_redistributions_are_refused(weights, cost, alpha, message) -> None:
    with pytest.raises(ValueError, match=message):
        redistribute(np.array(weights, dtype=float), cost, alpha)


@given(
    arrays(np.float64, 5, elements=st.floats(1e-3, 1e6)),
    arrays(np.float64, (2, 5), elements=st.one_of(st.floats(-1, 2), st.sampled_from([0.0, 1.0, 1 / 256, np.inf, -np.inf]))),
)
def test_levels_solve_their_equation(gap: np.ndarray, shares: np.ndarray) -> None:
    levels = gap_levels(gap, gap * shares[0], gap * shares[1])
    seen = shares.clip(1 / 256, 1)
    np.testing.assert_allclose(np.exp2(-levels * seen).sum(axis=0), 1.0, rtol=1e-9)
    assert (levels >= 1.0).all()
    assert (levels <= 256.0 * (1 + 1e-9)).all()
    np.testing.assert_allclose(gap_levels(gap, gap * shares[1], gap * shares[0]), levels, rtol=1e-12)


@given(st.floats(0.01, 1), st.floats(0.01, 1), st.floats(0.01, 1))
def test_more_gain_never_needs_more_levels(one: float, other: float, more: float) -> None:
    first, second = (gap_levels(np.ones(1), np.array([gain]), np.array([other]))[0] for gain in sorted([one, more]))
    assert second <= first + 1e-12


@pytest.mark.parametrize(
    ("first", "second", "levels"),
    [(1.0, 1.0, 1.0), (0.5, 0.5, 2.0), (0.25, 0.25, 4.0), (1.0, 0.5, 1.388484), (0.0, 0.0, 256.0)],
)
def test_levels_by_hand(first: float, second: float, levels: float) -> None:
    assert gap_levels(np.array([8.0]), np.array([8 * first]), np.array([8 * second]))[0] == pytest.approx(levels, rel=1e-6)


@pytest.mark.parametrize(
    ("gap", "first", "complaint"),
    [
        ([0.0], [1.0], "gaps"),
        ([np.inf], [1.0], "gaps"),
        ([np.nan], [1.0], "gaps"),
        ([1.0], [np.nan], "known"),
        ([1.0], [1.0, 2.0], "shape"),
    ],
)
def test_levels_of_what_is_not_known_are_refused(gap: list[float], first: list[float], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        gap_levels(np.array(gap), np.array(first), np.ones(1))
