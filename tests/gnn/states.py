"""Branching states for tests: random ones, those of the golden files, and the same state in another order."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from revibranch.branching.state import ROW_COLUMNS, VARIABLE_COLUMNS, BranchState, NodeFacts, variable_column_names

GOLDEN = Path(__file__).parents[1] / "data" / "golden"


def facts(**changes: float) -> NodeFacts:
    usual = NodeFacts(
        number=7,
        depth=3,
        run=1,
        lower_bound=10.0,
        lp_objective=11.0,
        primal_bound=20.0,
        dual_bound=9.0,
        root_dual_bound=8.0,
        n_nodes=12,
        n_open=5,
        n_lps=40,
        n_solutions=2,
    )
    return replace(usual, **changes)


def build(
    variable_features: np.ndarray,
    row_features: np.ndarray,
    rows: np.ndarray,
    variables: np.ndarray,
    values: np.ndarray,
    candidates: np.ndarray,
    *,
    node: NodeFacts | None = None,
    structure_id: int = 0,
) -> BranchState:
    """A state from a list of edges, in any order; arrays are read-only, as those of a buffer are."""
    by_row = np.argsort(rows, kind="stable")
    rows, variables, values = rows[by_row], variables[by_row], values[by_row]
    by_variable = np.argsort(variables, kind="stable")
    state = BranchState(
        variable_features=variable_features.astype(np.float32),
        row_features=row_features.astype(np.float32),
        row_offsets=_offsets(rows, len(row_features)),
        edge_variables=variables.astype(np.int32),
        edge_values=values.astype(np.float32),
        variable_offsets=_offsets(variables, len(variable_features)),
        edge_rows=rows[by_variable].astype(np.int32),
        edge_order=by_variable.astype(np.int64),
        candidates=candidates.astype(np.int32),
        structure_id=structure_id,
        node=node or facts(),
    )
    for field in fields(state):
        if isinstance(value := getattr(state, field.name), np.ndarray):
            value.flags.writeable = False
    return state


def _offsets(targets: np.ndarray, count: int) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(np.bincount(targets, minlength=count))]).astype(np.int64)


def random_state(
    seed: int = 0,
    *,
    n_variables: int = 12,
    n_rows: int = 8,
    n_edges: int = 40,
    n_candidates: int = 5,
    columns: int = len(VARIABLE_COLUMNS),
    incumbent: bool = True,
    node: NodeFacts | None = None,
    structure_id: int = 0,
) -> BranchState:
    """A state of random numbers; edges may leave rows and variables without any."""
    generator = np.random.default_rng(seed)
    variable_features = generator.normal(size=(n_variables, columns))
    if not incumbent:
        names = variable_column_names()
        variable_features[:, [names.index("incumbent_value"), names.index("average_incumbent_value")]] = np.nan
    n_edges = min(n_edges, n_variables * n_rows)
    places = generator.choice(n_variables * n_rows, size=n_edges, replace=False)
    return build(
        variable_features,
        generator.normal(size=(n_rows, len(ROW_COLUMNS))),
        places // max(n_variables, 1),
        places % max(n_variables, 1),
        generator.normal(size=n_edges),
        generator.choice(n_variables, size=n_candidates, replace=False),
        node=node,
        structure_id=structure_id,
    )


@st.composite
def states(draw: st.DrawFn) -> BranchState:
    """States of all shapes: without rows, edges, candidates or incumbent too."""
    n_variables = draw(st.integers(1, 12))
    return random_state(
        draw(st.integers(0, 2**16)),
        n_variables=n_variables,
        n_rows=draw(st.integers(0, 8)),
        n_edges=draw(st.integers(0, 40)),
        n_candidates=draw(st.integers(0, n_variables)),
        incumbent=draw(st.booleans()),
    )


def edge_list(state: BranchState) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, variables and values of the edges, in the row order."""
    rows = np.repeat(np.arange(state.n_rows), np.diff(state.row_offsets))
    return rows, state.edge_variables, state.edge_values


def permuted(state: BranchState, seed: int) -> BranchState:
    """The same graph with variables, rows and edges in another order; the candidates keep theirs."""
    generator = np.random.default_rng(seed)
    variables, rows = generator.permutation(state.n_variables), generator.permutation(state.n_rows)
    new_variable, new_row = np.argsort(variables), np.argsort(rows)
    edge_rows, edge_variables, values = edge_list(state)
    edges = generator.permutation(state.n_edges)
    return build(
        state.variable_features[variables],
        state.row_features[rows],
        new_row[edge_rows][edges],
        new_variable[edge_variables][edges],
        values[edges],
        new_variable[state.candidates],
        node=state.node,
    )


def golden_states() -> list[BranchState]:
    """The states that Ecole's ``NodeBipartite`` returned inside SCIP: Ecole's 19 columns, real numbers and NaN."""
    result = []
    for path in sorted(GOLDEN.glob("*.npz")):
        decisions = json.loads(path.with_suffix(".json").read_text())["decisions"]
        with np.load(path) as file:
            for decision in decisions:
                prefix = f"d{decision['decision']}_"
                rows, variables = file[f"{prefix}edge_indices"]
                result.append(
                    build(
                        file[f"{prefix}variable_features"],
                        file[f"{prefix}row_features"],
                        rows,
                        variables,
                        file[f"{prefix}edge_values"],
                        file[f"{prefix}action_set"],
                        node=facts(number=decision["node_number"], depth=decision["depth"]),
                        structure_id=len(result),
                    )
                )
    return result
