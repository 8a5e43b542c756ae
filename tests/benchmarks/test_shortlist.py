"""The comparison of shortlists: its control is SCIP's own rule, and all of its runs agree."""

from __future__ import annotations

from revibranch.benchmarks.agreement import disagreements
from revibranch.benchmarks.run import run
from revibranch.benchmarks.shortlist import Pseudocosts, compare_lists
from revibranch.instances import families


def test_all_rules_solve_the_same_instances_and_agree() -> None:
    results = compare_lists("auction", "40x150", range(3), Pseudocosts(), [3])
    assert len(results) == 4
    for runs in zip(*results.values(), strict=True):
        assert {row.status for row in runs} == {"optimal"}
        assert disagreements(runs) == []
    assert results["policy"] != results["policy, strong branching among 3"]
    assert sum(row.strong_branching_lp_iterations or 0 for row in results["pseudocosts, strong branching among 3"]) > 0
    assert sum(row.strong_branching_lp_iterations or 0 for row in results["pseudocosts"]) == 0


def test_control_is_the_rule_pscost() -> None:
    # Not node for node: the rule breaks ties otherwise.
    nodes = {}
    for label, policy in (("rule", "scip:pscost"), ("policy", Pseudocosts())):
        rows = [run(lambda s=seed: families.get("auction").generate("60x250", s).to_model(), policy, settings="clean") for seed in range(4)]
        nodes[label] = sum(row.nodes or 0 for row in rows)
    assert nodes["policy"] < 2 * nodes["rule"] < 4 * nodes["policy"]
