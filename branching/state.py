"""The state of a branching decision: the LP's bipartite graph at a node, as arrays.

Column order and meaning of the first 19 variable columns and of all row columns are those of Ecole's ``NodeBipartite``
(Gasse et al., "Exact Combinatorial Optimization with Graph Convolutional Neural Networks", NeurIPS 2019), so that a policy
trained on published data reads the same numbers here.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "ECOLE_VARIABLE_COLUMNS",
    "ROW_COLUMNS",
    "VARIABLE_COLUMNS",
    "BranchState",
    "Column",
    "NodeFacts",
    "row_column_names",
    "variable_column_names",
]

FloatArray = NDArray[np.float32]
IndexArray = NDArray[np.int32]
OffsetArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Column:
    """One feature column: its name, whether it changes while the matrix stays, and what it holds."""

    name: str
    kind: Literal["static", "dynamic"]
    meaning: str


# The one table of features: csrc/_bipartite.pyx writes columns in exactly this order and checks the counts at import.
VARIABLE_COLUMNS: tuple[Column, ...] = (
    Column("objective", "static", "objective coefficient / norm of the objective"),
    Column("is_type_binary", "static", "1 for a binary variable"),
    Column("is_type_integer", "static", "1 for a general integer variable"),
    Column("is_type_implicit_integer", "static", "1 for an implied integer variable (always 0 from SCIP 10 on)"),
    Column("is_type_continuous", "static", "1 for a continuous variable"),
    Column("has_lower_bound", "dynamic", "1 where the local lower bound is finite"),
    Column("has_upper_bound", "dynamic", "1 where the local upper bound is finite"),
    Column("normed_reduced_cost", "dynamic", "reduced cost / norm of the objective"),
    Column("solution_value", "dynamic", "value in the node's LP solution"),
    Column("solution_frac", "dynamic", "fractionality of that value; 0 for continuous variables"),
    Column("is_solution_at_lower_bound", "dynamic", "1 where that value is the local lower bound"),
    Column("is_solution_at_upper_bound", "dynamic", "1 where that value is the local upper bound"),
    Column("scaled_age", "dynamic", "LPs since the column was last nonzero / (number of LPs + 5)"),
    Column("incumbent_value", "dynamic", "value in the incumbent; NaN without one"),
    Column("average_incumbent_value", "dynamic", "average over the incumbents so far; NaN without one"),
    Column("is_basis_lower", "dynamic", "1 where the column is nonbasic at its lower bound"),
    Column("is_basis_basic", "dynamic", "1 where the column is basic"),
    Column("is_basis_upper", "dynamic", "1 where the column is nonbasic at its upper bound"),
    Column("is_basis_zero", "dynamic", "1 where the column is nonbasic and free, at zero"),
    Column(
        "pseudocost_down",
        "dynamic",
        "average gain in the dual bound per unit pushed down; unobserved: that of all variables",
    ),
    Column("pseudocost_up", "dynamic", "average gain in the dual bound per unit pushed up; unobserved: that of all variables"),
    Column("pseudocost_count_down", "dynamic", "number of observations behind pseudocost_down"),
    Column("pseudocost_count_up", "dynamic", "number of observations behind pseudocost_up"),
    Column("inferences_down", "dynamic", "average number of inferences after branching down"),
    Column("inferences_up", "dynamic", "average number of inferences after branching up"),
    Column("conflict_length_down", "dynamic", "average length of the conflicts that lowering the upper bound had a part in"),
    Column("conflict_length_up", "dynamic", "average length of the conflicts that raising the lower bound had a part in"),
    Column(
        "root_solution_value",
        "dynamic",
        "value in the last LP solution of the root; at the root, in the node's",
    ),
)

ECOLE_VARIABLE_COLUMNS = 19
"""The first columns of ``VARIABLE_COLUMNS`` that equal Ecole's; the rest is what SCIP has at hand beside them."""

ROW_COLUMNS: tuple[Column, ...] = (
    Column("bias", "static", "side of the row / norm of the row, in the orientation a.x <= side"),
    Column("objective_cosine_similarity", "static", "signed cosine of the row and the objective"),
    Column("is_tight", "dynamic", "1 where the row's activity equals the side"),
    Column("dual_solution_value", "dynamic", "dual value / (norm of the row * norm of the objective)"),
    Column("scaled_age", "dynamic", "LPs since the row's dual value was last nonzero / (number of LPs + 5)"),
)


def variable_column_names(extended: bool = True) -> tuple[str, ...]:
    """Names of the variable columns of a state, with or without those behind Ecole's 19."""
    columns = VARIABLE_COLUMNS if extended else VARIABLE_COLUMNS[:ECOLE_VARIABLE_COLUMNS]
    return tuple(column.name for column in columns)


def row_column_names() -> tuple[str, ...]:
    """Names of the row columns of a state."""
    return tuple(column.name for column in ROW_COLUMNS)


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What SCIP knows of the focus node and of the tree, in the transformed space (minimisation).

    Infinite bounds are ``+-inf``, never SCIP's 1e20.
    """

    number: int
    """SCIP's number of the node; the root is 1. Unique within one run (a restart begins anew)."""
    depth: int
    """Branchings between the root and the node."""
    run: int
    """SCIP's run; a restart begins the next one."""
    lower_bound: float
    """The node's lower bound."""
    lp_objective: float
    """Objective value of the node's LP."""
    primal_bound: float
    """Upper bound on the optimum: the incumbent's value or an objective limit; ``inf`` without either."""
    dual_bound: float
    """Lower bound of the whole tree."""
    root_dual_bound: float
    """Dual bound at the end of the root node; while the root is open, its bound so far."""
    n_nodes: int
    """Nodes processed in this run, the focus node included."""
    n_open: int
    """Leaves, children and siblings still open."""
    n_lps: int
    """LPs solved so far."""
    n_solutions: int
    """Solutions SCIP keeps."""


@dataclass(frozen=True, slots=True, eq=False)  # arrays have no truth: a state equals itself
class BranchState:
    """The bipartite graph of the LP at a node: n variables, m row sides, nnz edges, k candidates.

    Variables stand in the order of ``SCIPgetVars``. Every finite side of every LP row is a node of its own, in the
    orientation ``a.x <= side``, the left-hand side before the right-hand side.

    The arrays are views into the buffer that made the state: they stay valid until that buffer's next ``update``.
    ``copy`` keeps them. A buffer marks them read-only; those of a copy are not.
    """

    variable_features: FloatArray
    """(n, F) float32; columns as in ``VARIABLE_COLUMNS`` (F is 19 or all of them)."""
    row_features: FloatArray
    """(m, 5) float32; columns as in ``ROW_COLUMNS``."""
    row_offsets: OffsetArray
    """(m+1,) int64: edges of row i are ``row_offsets[i]:row_offsets[i+1]`` of ``edge_variables`` and ``edge_values``."""
    edge_variables: IndexArray
    """(nnz,) int32: variable of each edge, by row, in SCIP's storage order within a row."""
    edge_values: FloatArray
    """(nnz,) float32: coefficient / norm of the row."""
    variable_offsets: OffsetArray
    """(n+1,) int64: the same edges by variable."""
    edge_rows: IndexArray
    """(nnz,) int32: row side of each edge, by variable, ascending within a variable."""
    edge_order: OffsetArray
    """(nnz,) int64: place in the row order of each edge of the variable order."""
    candidates: IndexArray
    """(k,) int32: LP branching candidates of the best priority, as variable positions, in SCIP's order."""
    structure_id: int
    """Changes whenever rows, edges or static columns were read anew; equal numbers of one buffer mean equal structure."""
    node: NodeFacts

    @property
    def n_variables(self) -> int:
        """Number of variables n."""
        return len(self.variable_features)

    @property
    def n_rows(self) -> int:
        """Number of row sides m."""
        return len(self.row_features)

    @property
    def n_edges(self) -> int:
        """Number of edges nnz."""
        return len(self.edge_values)

    def copy(self) -> BranchState:
        """A state with arrays of its own, which no later ``update`` changes."""
        values: list[Any] = []
        for field in fields(self):
            value = getattr(self, field.name)
            values.append(value.copy() if isinstance(value, np.ndarray) else value)
        return BranchState(*values)
