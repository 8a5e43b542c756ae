"""Taking the decisions of a solve down, one after the other, until they make an episode."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .episode import Episode, Json
from .episode_arrays import NODE_FACTS, ROW_STATIC, SHAPES, VARIABLE_STATIC
from .state import BranchState, variable_column_names
from .tree import SearchTree

__all__ = ["EpisodeRecorder"]

_node_facts = operator.attrgetter(*NODE_FACTS)


class EpisodeRecorder:
    """Takes the decisions of one solve down.

    Args:
        extended: keep all variable columns; False keeps Ecole's 19, and reads states with more or without.
    """

    def __init__(self, extended: bool = True) -> None:
        self.n_samples = 0
        """Decisions with an expert's scores."""
        self._n_columns = len(variable_column_names(extended))
        self._structures: dict[int, int] = {}
        # One list per array of the format, one entry per structure or decision.
        self._parts: dict[str, list[Any]] = {name: [] for name in SHAPES}

    def __len__(self) -> int:
        return len(self._parts["structure"])

    def add(
        self,
        state: BranchState,
        choice: int,
        *,
        parent: int,
        entered: int,
        scores: NDArray[np.float64] | None = None,
        log_probability: float = math.nan,
    ) -> int:
        """Take a decision down.

        Args:
            state: copied.
            choice: place of the branched candidate within ``state.candidates``.
            parent: number of the decision before it on its path; -1 for none.
            entered: the child of ``parent`` that the path entered: 0 down, 1 up, 2 middle; -1 without a parent.
            scores: the expert's, (k,), NaN where invalid; None for a decision that is no sample.
            log_probability: of the choice, under the policy that drew it; NaN where nobody drew.

        Returns:
            The decision's number, from 0.

        Raises:
            ValueError: the state lacks columns, or the decision does not fit it or those before.
        """
        k = len(state.candidates)
        if state.variable_features.shape[1] < self._n_columns:
            raise ValueError(f"the state has {state.variable_features.shape[1]} of {self._n_columns} variable columns")
        if not 0 <= choice < k or (scores is not None and scores.shape != (k,)):
            raise ValueError(f"choice {choice} or scores do not fit {k} candidates")
        if not -1 <= parent < len(self) or (parent < 0) != (entered < 0) or not -1 <= entered <= 2:
            raise ValueError(f"decision {len(self)} cannot follow child {entered} of decision {parent}")
        place = self._structures.get(state.structure_id)
        if place is None:
            place = self._structures[state.structure_id] = len(self._structures)
            self._put(
                {
                    "structure_counts": (state.n_variables, state.n_rows, state.n_edges),
                    "variable_static": state.variable_features[:, :VARIABLE_STATIC].copy(),
                    "row_static": state.row_features[:, :ROW_STATIC].copy(),
                    "row_lengths": np.diff(state.row_offsets),
                    "edge_variables": state.edge_variables.copy(),
                    "edge_values": state.edge_values.copy(),
                }
            )
        self._put(
            {
                "structure": place,
                "variable_dynamic": state.variable_features[:, VARIABLE_STATIC : self._n_columns].copy(),
                "row_dynamic": state.row_features[:, ROW_STATIC:].copy(),
                "candidate_counts": k,
                "candidates": state.candidates.copy(),
                "choice": choice,
                "parent": parent,
                "entered": entered,
                "log_probability": log_probability,
                "sample": scores is not None,
                "nodes": _node_facts(state.node),
            }
        )
        if scores is not None:
            self._put({"scores": scores.astype(np.float64)})
            self.n_samples += 1
        return len(self) - 1

    def episode(self, facts: Mapping[str, Json], tree: SearchTree | None = None) -> Episode:
        """The decisions so far.

        Args:
            facts: what is to be known of the solve, as JSON.
            tree: the solve's tree.

        Raises:
            TypeError: the facts are no JSON.
        """
        return Episode({name: _packed(name, parts, self._n_columns) for name, parts in self._parts.items()}, facts, tree)

    def _put(self, parts: Mapping[str, Any]) -> None:
        for name, part in parts.items():
            self._parts[name].append(part)


def _packed(name: str, parts: list[Any], n_columns: int) -> NDArray[Any]:
    dtype, shape = SHAPES[name]
    width = (n_columns - VARIABLE_STATIC,) if shape == (-1,) else shape
    if not parts:
        return np.empty((0, *width), dtype=dtype)
    joined = np.concatenate(parts) if isinstance(parts[0], np.ndarray) else np.array(parts)
    packed: NDArray[Any] = joined.astype(dtype, copy=False)
    return packed
