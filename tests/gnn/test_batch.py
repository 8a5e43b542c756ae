from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from revibranch.gnn.batch import Edges, GraphBatch, tensor_view

from .states import edge_list, random_state, states


def triples(edges: Edges, flip: bool) -> list[tuple[int, int, float]]:
    """(row, variable, value) of every edge, sorted."""
    sources, targets = edges.edge_index.tolist()
    rows, variables = (sources, targets) if flip else (targets, sources)
    return sorted(zip(rows, variables, edges.values.tolist(), strict=True))


@given(st.lists(states(), min_size=1, max_size=4))
def test_a_batch_holds_every_edge_of_every_state_once_in_both_directions(parts):
    batch = GraphBatch.from_states(parts)
    expected, first_row, first_variable = [], 0, 0
    for state in parts:
        rows, variables, values = edge_list(state)
        expected += zip((rows + first_row).tolist(), (variables + first_variable).tolist(), values.tolist(), strict=True)
        first_row, first_variable = first_row + state.n_rows, first_variable + state.n_variables
    assert triples(batch.structure.by_row, flip=False) == sorted(expected)
    assert triples(batch.structure.by_variable, flip=True) == sorted(expected)


@given(st.lists(states(), min_size=1, max_size=4))
def test_every_part_of_a_batch_knows_its_graph(parts):
    batch = GraphBatch.from_states(parts)
    assert batch.n_graphs == len(parts)
    assert batch.variable_batch.tolist() == [g for g, state in enumerate(parts) for _ in range(state.n_variables)]
    assert batch.row_batch.tolist() == [g for g, state in enumerate(parts) for _ in range(state.n_rows)]
    assert batch.candidate_batch.tolist() == [g for g, state in enumerate(parts) for _ in state.candidates]
    features = np.concatenate([state.variable_features[state.candidates] for state in parts])
    np.testing.assert_array_equal(batch.variable_features[batch.candidates].numpy(), features)


@given(states())
def test_a_view_equals_a_batch_of_one(state):
    view, batch = GraphBatch.view(state), GraphBatch.from_states([state])
    for name in ("variable_features", "row_features", "candidates", "node_facts", "depths", "variable_offsets", "candidate_batch"):
        torch.testing.assert_close(getattr(view, name), getattr(batch, name), rtol=0, atol=0, equal_nan=True)
    for direction in ("by_row", "by_variable"):
        for name in ("offsets", "sources", "values"):
            mine, its = (getattr(getattr(graph.structure, direction), name) for graph in (view, batch))
            torch.testing.assert_close(mine, its, rtol=0, atol=0)


def test_a_batch_copies_and_a_view_does_not():
    state = random_state().copy()
    batch, view = GraphBatch.from_states([state]), GraphBatch.view(state)
    state.variable_features[0, 0] = 77.0
    state.edge_values[0] = 77.0
    assert view.variable_features[0, 0] == 77.0
    assert view.structure.by_row.values[0] == 77.0
    assert batch.variable_features[0, 0] != 77.0
    assert batch.structure.by_row.values[0] != 77.0


def test_a_view_of_read_only_memory_is_silent_and_keeps_it_alive():
    array = np.arange(5.0)
    array.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tensor = tensor_view(array)
    address = array.ctypes.data
    del array
    assert tensor.data_ptr() == address
    assert tensor.tolist() == [0, 1, 2, 3, 4]


def test_a_batch_that_is_where_it_should_be_stays_the_same_object():
    batch = GraphBatch.view(random_state())
    assert batch.to("cpu") is batch
    assert batch.to("meta").structure.by_row.values.is_meta


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        GraphBatch.from_states([])
    with pytest.raises(ValueError, match=r"\[19, 28\]"):
        GraphBatch.from_states([random_state(), random_state(columns=19)])
