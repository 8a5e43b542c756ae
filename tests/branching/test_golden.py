"""The state equals Ecole's ``NodeBipartite`` on recorded solves.

The cases under tests/data/golden were recorded inside SCIP 10.0.2, in the libscip that the PySCIPOpt 6.3.0 wheel bundles, by
Ecole's observation function without its cache, while the first LP candidate was branched on. Here the same file is solved with
the same parameters and the same decisions, and the states are compared. Where the replay's LP path leaves the recorded one
(another libscip or another kind of processor), the states that it did meet are compared and the test says how many.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyscipopt import SCIP_RESULT, Branchrule, Model

from revibranch.branching._bipartite import BipartiteBuffer
from revibranch.branching._scip import Search, scip_version
from revibranch.branching.state import ECOLE_VARIABLE_COLUMNS, BranchState, row_column_names, variable_column_names

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
CASES = sorted(path.stem for path in GOLDEN.glob("*.json"))


class Replay(Branchrule):
    """Branches on the first candidate and keeps the states of the recorded decisions."""

    def __init__(self, model: Model, wanted: set[int], extended: bool) -> None:
        self.buffer = BipartiteBuffer(model, extended=extended)
        self.search = Search(model)
        self.wanted = wanted
        self.decision = 0
        self.states: dict[int, BranchState] = {}

    def branchexeclp(self, allowaddcons: bool) -> dict[str, Any]:
        state = self.buffer.update()
        if self.decision in self.wanted:
            self.states[self.decision] = state.copy()
        self.search.branch(int(state.candidates[0]))
        self.decision += 1
        if self.decision > max(self.wanted):
            self.model.interruptSolve()
        return {"result": SCIP_RESULT.BRANCHED}


def replay(case: str, extended: bool) -> tuple[dict[str, Any], dict[int, BranchState]]:
    facts = json.loads((GOLDEN / f"{case}.json").read_text())
    model = Model()
    model.hideOutput()
    model.readProblem(str(GOLDEN / facts["instance"]))
    model.setParams(facts["params_set"])
    rule = Replay(model, {decision["decision"] for decision in facts["decisions"]}, extended)
    model.includeBranchrule(rule, "replay", "", priority=536870911, maxdepth=-1, maxbounddist=1.0)
    model.optimize()
    return facts, rule.states


def edges(indices: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return indices[0], indices[1], values


@pytest.mark.skipif(scip_version()[0] != 10, reason="the golden states are those of SCIP 10")
@pytest.mark.parametrize("extended", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_state_equals_the_recorded_one(case: str, extended: bool) -> None:
    facts, states = replay(case, extended)
    arrays = np.load(GOLDEN / f"{case}.npz")
    assert tuple(facts["variable_feature_names"]) == variable_column_names(extended=False)
    assert tuple(facts["row_feature_names"]) == row_column_names()
    met = 0
    for decision in facts["decisions"]:
        k = decision["decision"]
        if k not in states:
            continue
        state = states[k]
        if (state.node.number, state.node.n_lps) != (decision["node_number"], decision["n_lps"]) or not np.isclose(
            state.node.lp_objective, decision["lp_objval"], rtol=1e-12, atol=1e-12
        ):
            continue
        met += 1
        expected = {
            name: arrays[f"d{k}_{name}"] for name in ("variable_features", "row_features", "edge_indices", "edge_values", "action_set")
        }
        np.testing.assert_array_equal(state.candidates, expected["action_set"])
        row_of_edge = np.repeat(np.arange(state.n_rows), np.diff(state.row_offsets))
        np.testing.assert_array_equal(row_of_edge, expected["edge_indices"][0])
        np.testing.assert_array_equal(state.edge_variables, expected["edge_indices"][1])
        np.testing.assert_allclose(state.edge_values, expected["edge_values"], rtol=1e-6, atol=0)
        np.testing.assert_allclose(state.row_features, expected["row_features"], rtol=1e-6, atol=1e-30)
        np.testing.assert_allclose(
            state.variable_features[:, :ECOLE_VARIABLE_COLUMNS], expected["variable_features"], rtol=1e-6, atol=1e-30, equal_nan=True
        )
        assert state.node.depth == decision["depth"]
        assert state.node.n_nodes == decision["n_nodes"]
        assert state.node.lower_bound == pytest.approx(decision["node_lowerbound"], rel=1e-12)
        assert state.node.n_solutions == decision["n_sols"]
    assert met > 0, "the root's LP already differs: this libscip computes other numbers than the recorded one"
    if met < len(facts["decisions"]):
        pytest.skip(f"compared {met} of {len(facts['decisions'])} states: the LP path left the recorded one")
