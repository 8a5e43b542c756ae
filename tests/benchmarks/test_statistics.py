"""The statistics against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from revibranch.benchmarks.comparison import compare
from revibranch.benchmarks.statistics import METRICS, performance_profile, shifted_geometric_mean, summarize, unbranched, wins

from .rows import error_row, run_row, timeout_row

NODES, SECONDS, ALL_LP = METRICS["nodes"], METRICS["seconds"], METRICS["all_lp_iterations"]


def by_policy(rows):
    return {summary.policy: summary for summary in summarize(rows)}


def test_shifted_geometric_mean_by_hand():
    # (10+10)(70+10) = 1600 = 40^2
    assert shifted_geometric_mean([10, 70], 10) == pytest.approx(30.0)
    assert shifted_geometric_mean([0, 0, 0], 1) == 0.0
    assert shifted_geometric_mean([5], 10) == pytest.approx(5.0)
    assert math.isnan(shifted_geometric_mean([], 10))


def test_means_and_spread_over_seeds_by_hand():
    # Seed 0: nodes 10 and 70 -> 30. Seed 1: nodes 40 and 40 -> 40. Means 30, 40: mean 35, deviation 10/sqrt(2).
    rows = [
        run_row("a", 0, nodes=10),
        run_row("b", 0, nodes=70),
        run_row("a", 1, nodes=40),
        run_row("b", 1, nodes=40),
    ]
    estimate = by_policy(rows)["p"].estimates["nodes"]
    assert estimate.runs == 4
    assert estimate.seed_mean == pytest.approx(35.0)
    assert estimate.seed_deviation == pytest.approx(100 * (10 / math.sqrt(2)) / 35)
    assert estimate.mean == pytest.approx((20 * 80 * 50 * 50) ** 0.25 - 10)


def test_one_seed_has_no_spread():
    assert by_policy([run_row("a"), run_row("b")])["p"].estimates["seconds"].seed_deviation is None


def test_strong_branching_lp_iterations_are_added_not_mixed():
    estimates = by_policy([run_row(lp_iterations=300, strong_branching_lp_iterations=4000)])["p"].estimates
    assert estimates["lp_iterations"].mean == pytest.approx(300)
    assert estimates["all_lp_iterations"].mean == pytest.approx(4300)


def test_a_timeout_counts_at_the_limit_in_seconds_and_at_its_value_in_nodes():
    # The clock overran the limit of 100 s a little (100.4): the limit counts. (99+1)(0+1) -> the second run takes 0 s.
    rows = [timeout_row("a", nodes=70, time_limit=99.0), run_row("b", nodes=10, solve_seconds=0.0, time_limit=99.0)]
    summary = by_policy(rows)["p"]
    assert (summary.solved, summary.limits, summary.errors) == (1, 1, 0)
    assert summary.estimates["seconds"].mean == pytest.approx(9.0)
    assert summary.estimates["nodes"].mean == pytest.approx(30.0)


def test_a_timeout_that_stopped_early_still_costs_the_whole_limit():
    row = timeout_row("a", status="memlimit", solve_seconds=3.0)
    assert by_policy([row])["p"].estimates["seconds"].mean == pytest.approx(100.0)


def test_an_error_is_counted_and_never_a_number():
    summary = by_policy([run_row("a", nodes=50), error_row("b")])["p"]
    assert (summary.runs, summary.solved, summary.limits, summary.errors) == (2, 1, 0, 1)
    assert summary.estimates["nodes"].runs == 1
    assert summary.estimates["nodes"].mean == pytest.approx(50)


def test_missing_runs_are_counted():
    rows = [run_row("a", policy="p"), run_row("b", policy="p"), run_row("a", policy="q")]
    summaries = by_policy(rows)
    assert (summaries["p"].missing, summaries["q"].missing) == (0, 1)


def test_instances_without_branching_are_left_out_of_nodes_but_not_of_seconds():
    rows = [
        run_row("trivial", policy="p", nodes=1, solve_seconds=0.0),
        run_row("trivial", policy="q", nodes=0, solve_seconds=0.0),
        run_row("tree", policy="p", nodes=1, solve_seconds=3.0),
        run_row("tree", policy="q", nodes=50, solve_seconds=3.0),
    ]
    assert unbranched(rows) == {"trivial"}
    summaries = by_policy(rows)
    assert summaries["p"].estimates["nodes"].mean == pytest.approx(1.0)
    assert summaries["q"].estimates["nodes"].mean == pytest.approx(50.0)
    assert summaries["q"].estimates["seconds"].runs == 2
    assert summaries["q"].estimates["seconds"].mean == pytest.approx(1.0)


def test_one_node_whose_probing_did_the_rest_is_a_tree():
    assert unbranched([run_row("a", nodes=1, fair_nodes=9)]) == frozenset()
    assert unbranched([run_row("a", nodes=1, fair_nodes=1)]) == {"a"}


def test_an_instance_whose_root_hit_the_limit_is_not_without_branching():
    assert unbranched([timeout_row("a", nodes=1)]) == frozenset()
    assert unbranched([error_row("a")]) == frozenset()


def test_wins_are_shared_by_ties_and_never_given_for_nothing():
    rows = [
        run_row("a", policy="p", solve_seconds=10.0),
        run_row("a", policy="q", solve_seconds=10.09),  # within 1 %
        run_row("a", policy="r", solve_seconds=10.2),
        run_row("b", policy="p", solve_seconds=0.02),
        run_row("b", policy="q", solve_seconds=0.01),  # within one tick
        run_row("b", policy="r", solve_seconds=0.05),
        run_row("c", policy="p", solve_seconds=5.0),
        timeout_row("c", policy="q", solve_seconds=1.0),  # stopped, not solved
        error_row("c", policy="r"),
        timeout_row("d", policy="p"),
        run_row("e", policy="p", nodes=1, solve_seconds=0.1),
        run_row("e", policy="q", nodes=1, solve_seconds=0.2),
    ]
    assert wins(rows) == {"p": 2.0, "q": 1.0, "r": 0.0}


def test_paired_ratio_by_hand():
    # p: nodes 10 and 70 -> 30; q: 40 and 110 -> sqrt(50*120) - 10
    rows = [
        run_row("a", policy="p", nodes=10),
        run_row("b", policy="p", nodes=70),
        run_row("a", policy="q", nodes=40),
        run_row("b", policy="q", nodes=110),
    ]
    result = compare(rows, "p", "q", NODES)
    assert result.ratio == pytest.approx(30 / (math.sqrt(6000) - 10))
    assert (result.instances, result.pairs, result.left_out) == (2, 2, 0)


def test_the_bootstrap_draws_instances_with_all_their_pairs():
    # Two instances: a resample holds a twice, both, or b twice, with probabilities 1/4, 1/2, 1/4. So the interval's ends are
    # the ratios of the two instances alone, whatever the number of seeds; drawing runs would give values in between.
    rows = []
    for seed in range(20):
        rows += [run_row("a", seed, "p", nodes=20), run_row("a", seed, "q", nodes=40)]
        rows += [run_row("b", seed, "p", nodes=90), run_row("b", seed, "q", nodes=30)]
    result = compare(rows, "p", "q", NODES)
    assert result.low == pytest.approx(20 / 40)
    assert result.high == pytest.approx(90 / 30)
    assert result.instances == 2
    assert result.pairs == 40


def test_trainings_are_drawn_of_each_policy_on_its_own():
    """One training of the policy halves all costs, the other doubles them: the same on all instances, so only trainings vary."""
    rows = [run_row(instance, seed, "a", nodes=nodes) for instance in "vwxyz" for seed, nodes in ((0, 90), (1, 390))]
    rows += [run_row(instance, seed, "b", nodes=190) for instance in "vwxyz" for seed in (0, 1)]
    of_instances = compare(rows, "a", "b", METRICS["nodes"])
    of_trainings = compare(rows, "a", "b", METRICS["nodes"], trainings=True)
    assert of_instances.ratio == of_trainings.ratio == pytest.approx(1.0)
    assert (of_instances.low, of_instances.high) == pytest.approx((1.0, 1.0))
    assert (of_trainings.low, of_trainings.high) == pytest.approx((90 / 190, 390 / 190))  # a quarter of the draws is twice the same
    assert of_trainings.p_value is None
    lone = compare([row for row in rows if row.seed == 0], "a", "b", METRICS["nodes"], trainings=True)
    assert (lone.ratio, lone.low, lone.high) == (pytest.approx(90 / 190), None, None)


def test_the_bootstrap_is_the_same_each_time():
    random = np.random.default_rng(1)
    rows = [run_row(str(i), 0, policy, nodes=int(random.integers(2, 1000))) for i in range(30) for policy in ("p", "q")]
    first, second = compare(rows, "p", "q", NODES), compare(rows, "p", "q", NODES)
    assert first == second
    assert first.low < first.ratio < first.high


def test_wilcoxon_by_hand():
    # Five instances, all cheaper: the exact two-sided p of the signed-rank test is 2 / 2^5.
    rows = []
    for place, nodes in enumerate((10, 20, 30, 40, 50)):
        rows += [run_row(str(place), 0, "p", nodes=nodes), run_row(str(place), 0, "q", nodes=nodes * (place + 2))]
    assert compare(rows, "p", "q", NODES).p_value == pytest.approx(2 / 2**5)


def test_wilcoxon_sees_one_number_an_instance():
    # Ten seeds of two instances are two samples, not twenty: the smallest possible p is 2 / 2^2.
    rows = []
    for seed in range(10):
        rows += [run_row("a", seed, "p", nodes=10), run_row("a", seed, "q", nodes=40 + seed)]
        rows += [run_row("b", seed, "p", nodes=10), run_row("b", seed, "q", nodes=90 + seed)]
    assert compare(rows, "p", "q", NODES).p_value == pytest.approx(0.5)


def test_equal_policies_are_not_told_apart():
    rows = [run_row(name, 0, policy, nodes=50) for name in "abc" for policy in "pq"]
    result = compare(rows, "p", "q", NODES)
    assert (result.ratio, result.low, result.high, result.p_value) == (1.0, 1.0, 1.0, 1.0)


def test_missing_and_failed_pairs_are_left_out_and_counted():
    rows = [
        run_row("a", 0, "p", nodes=10),
        run_row("a", 0, "q", nodes=40),
        run_row("a", 1, "p", nodes=1000),  # q never ran seed 1
        run_row("b", 0, "p", nodes=1000),
        error_row("b", 0, "q"),
        run_row("c", 0, "r"),  # neither
    ]
    result = compare(rows, "p", "q", NODES)
    assert result.ratio == pytest.approx(10 / 40)
    assert (result.instances, result.pairs, result.left_out) == (1, 1, 2)


def test_a_single_instance_has_a_ratio_but_no_interval_and_no_test():
    rows = [run_row("a", seed, policy, nodes=nodes) for seed in (0, 1) for policy, nodes in (("p", 20), ("q", 40))]
    result = compare(rows, "p", "q", NODES)
    assert result.ratio == pytest.approx(0.5)
    assert (result.low, result.high, result.p_value) == (None, None, None)


def test_no_common_pair_gives_no_ratio():
    result = compare([run_row("a", policy="p"), run_row("b", policy="q")], "p", "q", SECONDS)
    assert (result.ratio, result.pairs, result.left_out) == (None, 0, 2)


def test_a_pair_with_a_timeout_is_counted_at_the_limit():
    rows = [run_row("a", policy="p", solve_seconds=24.0), timeout_row("a", policy="q")]
    result = compare(rows, "p", "q", SECONDS)
    assert (result.policy_limits, result.baseline_limits) == (0, 1)
    assert result.ratio == pytest.approx(24 / 100)


def test_a_baseline_that_needs_no_time_gives_no_ratio_instead_of_infinity():
    rows = [run_row("a", policy="p", solve_seconds=1.0), run_row("a", policy="q", solve_seconds=0.0)]
    assert compare(rows, "p", "q", SECONDS).ratio is None


def test_times_below_the_clock_are_not_compared():
    rows = [run_row(name, 0, policy, solve_seconds=0.01 * (policy == name == "q")) for name in "abcdq" for policy in "pq"]
    result = compare(rows, "p", "q", SECONDS)  # means 0 and 0.002, both printed as 0.00
    assert (result.ratio, result.low, result.high, result.p_value) == (None, None, None, None)
    assert (result.instances, result.pairs) == (5, 5)
    # One that can be measured is enough.
    rows += [run_row("r", 0, "p", solve_seconds=0.0), run_row("r", 0, "q", solve_seconds=9.0)]
    assert compare(rows, "p", "q", SECONDS).ratio == 0.0


def test_the_paired_comparison_leaves_out_instances_without_a_tree_only_for_nodes():
    rows = [run_row("flat", 0, policy, nodes=1, fair_nodes=1) for policy in "pq"] + [run_row("tree", 0, policy) for policy in "pq"]
    assert compare(rows, "p", "q", NODES).instances == 1
    assert compare(rows, "p", "q", ALL_LP).instances == 2


def test_performance_profile_by_hand():
    rows = [
        run_row("a", policy="p", solve_seconds=1.0),
        run_row("a", policy="q", solve_seconds=2.0),
        run_row("b", policy="p", solve_seconds=4.0),
        run_row("b", policy="q", solve_seconds=1.0),
        run_row("c", policy="p", solve_seconds=1.0),
        timeout_row("c", policy="q"),
        timeout_row("d", policy="p"),
        timeout_row("d", policy="q"),
        run_row("e", policy="p"),  # q never ran e: no pair
    ]
    profiles, pairs = performance_profile(rows)
    assert pairs == 4
    first, second = profiles
    assert first.factors.tolist() == [1.0, 4.0]
    assert first.shares.tolist() == [0.5, 0.75]
    assert second.factors.tolist() == [1.0, 2.0]
    assert second.shares.tolist() == [0.25, 0.5]


def test_a_profile_of_a_policy_that_solves_nothing_is_flat():
    profiles, _ = performance_profile([run_row("a", policy="p"), error_row("a", policy="q")])
    assert profiles[1].shares.tolist() == [0.0]
