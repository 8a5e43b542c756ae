# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False, nonecheck=True
"""The LP's bipartite graph at a node, written into arrays that live as long as the solve."""

from libc.math cimport INFINITY
from libc.stdint cimport int32_t, int64_t

cimport numpy as cnp
import numpy as np

from scip_api cimport *

from .state import ECOLE_VARIABLE_COLUMNS, ROW_COLUMNS, VARIABLE_COLUMNS, BranchState, NodeFacts

cnp.import_array()
include "bridge.pxi"


cdef extern from "lp_graph.h" nogil:
    int REVI_ECOLE_COLUMNS
    int REVI_ALL_COLUMNS
    int REVI_ROW_COLUMNS
    ctypedef struct revi_row_key:
        pass
    ctypedef struct revi_lp_graph:
        int n_columns, run, n_variables, n_lp_rows, n_sides
        int64_t n_edges, n_entries
        double infinity, objective_norm
        int incumbent_index
        float* variable_features
        float* row_features
        int64_t* row_offsets
        int32_t* edge_variables
        float* edge_values
        int64_t* variable_offsets
        int32_t* edge_rows
        int64_t* edge_order
        SCIP_VAR** variables
        revi_row_key* keys
        SCIP_COL** unsorted
        double* objective
        float* incumbent_values
        int32_t* column_indices
        int32_t* cursor
    bint revi_lp_is_kept(const revi_lp_graph*, SCIP*)
    bint revi_lp_same_variables(const revi_lp_graph*, SCIP*)
    void revi_lp_read_keys(revi_lp_graph*, SCIP*)
    void revi_lp_read_structure(revi_lp_graph*, SCIP*)
    void revi_lp_write_dynamic(revi_lp_graph*, SCIP*)


if (ECOLE_VARIABLE_COLUMNS, len(VARIABLE_COLUMNS), len(ROW_COLUMNS)) != (REVI_ECOLE_COLUMNS, REVI_ALL_COLUMNS, REVI_ROW_COLUMNS):
    raise ImportError("revibranch.branching.state and the compiled revibranch.branching._bipartite name different columns")


# Arrays with several columns; all others are given out flat.
cdef frozenset WIDE = frozenset({"variable_features", "row_features"})


cdef class BipartiteBuffer:
    """Writes the state of the focus node into arrays of its own; nothing is allocated per node once they have grown.

    The matrix is kept between calls and read anew only when the LP's rows, the variables or the objective's norm
    changed, or while a pricer is active (SCIP then moves entries within rows).

    Args:
        model: the PySCIPOpt model; held weakly.
        extended: write all columns of ``VARIABLE_COLUMNS``, not only Ecole's 19.
    """

    cdef _Handle handle
    cdef readonly bint extended
    """Whether the columns behind Ecole's 19 are written."""
    cdef readonly long long structure_id
    """Number of times the matrix was read."""
    cdef bint known         # the kept matrix may be compared at all
    cdef revi_lp_graph graph
    cdef dict arrays        # what the graph points into: NumPy arrays with spare room at their ends
    cdef tuple views        # of the current structure
    cdef int n_candidates

    def __init__(self, model, *, bint extended=True):
        self.handle = _Handle(model)
        self.extended = extended
        self.structure_id = 0
        self.known = False
        self.graph.n_columns = REVI_ALL_COLUMNS if extended else REVI_ECOLE_COLUMNS
        self.graph.incumbent_index = -1
        self.arrays = {}
        self.views = None

    def invalidate(self):
        """Forget what was kept: the next ``update`` reads it anew."""
        self.known = False
        # Another solve may find another solution of the same number at the same address.
        self.graph.incumbent_index = -1

    def update(self):
        """The state of the focus node.

        Returns:
            A ``BranchState`` whose arrays are read-only views, valid until the next ``update`` of this buffer.

        Raises:
            RuntimeError: SCIP is not in its solving stage, the node has no solved LP, or the model was freed.
        """
        cdef SCIP* scip = self.handle.solving("update()")
        cdef bint kept
        if not scip_api.SCIPhasCurrentNodeLP(scip) or scip_api.SCIPgetLPSolstat(scip) != REVI_LPSOLSTAT_OPTIMAL:
            raise RuntimeError("update() needs a node whose LP is solved to optimality")
        with nogil:
            kept = self.known and revi_lp_is_kept(&self.graph, scip)
        if not kept:
            self.known = False
            self.read_structure(scip)
            self.known = True
        with nogil:
            revi_lp_write_dynamic(&self.graph, scip)
        self.read_candidates(scip)
        return BranchState(*self.views, self.view("candidates", self.n_candidates), self.structure_id, self.node_facts(scip))

    cdef int read_structure(self, SCIP* scip) except -1:
        cdef revi_lp_graph* graph = &self.graph
        # The incumbent's values are no part of the matrix: they stay while they stand at the same variables.
        if self.structure_id == 0 or not revi_lp_same_variables(graph, scip):
            graph.incumbent_index = -1
        graph.run = scip_api.SCIPgetNRuns(scip)
        graph.n_variables = scip_api.SCIPgetNVars(scip)
        graph.n_lp_rows = scip_api.SCIPgetNLPRows(scip)
        graph.infinity = scip_api.SCIPinfinity(scip)
        graph.objective_norm = scip_api.SCIPgetObjNorm(scip)
        try:
            graph.keys = <revi_row_key*> self.room("keys", graph.n_lp_rows, sizeof(revi_row_key), np.uint8)
            with nogil:
                revi_lp_read_keys(graph, scip)
            if graph.n_edges >= 2**31:
                raise RuntimeError(f"the LP has {graph.n_edges} edges, more than 32-bit places can count")
            self.make_room()
        except BaseException:
            graph.n_variables = -1  # what is there is not of so many variables: the next reading must not compare with it
            raise
        with nogil:
            revi_lp_read_structure(graph, scip)
        self.structure_id += 1
        self.views = (
            self.view("variable_features", graph.n_variables),
            self.view("row_features", graph.n_sides),
            self.view("row_offsets", graph.n_sides + 1),
            self.view("edge_variables", graph.n_edges),
            self.view("edge_values", graph.n_edges),
            self.view("variable_offsets", graph.n_variables + 1),
            self.view("edge_rows", graph.n_edges),
            self.view("edge_order", graph.n_edges),
        )
        return 0

    # ---- memory --------------------------------------------------------------------------------------------------

    cdef int make_room(self) except -1:
        cdef revi_lp_graph* graph = &self.graph
        cdef int n = graph.n_variables, m = graph.n_sides
        graph.variables = <SCIP_VAR**> self.room("variables", n, 1, np.uintp)
        graph.objective = <double*> self.room("objective", n, 1, np.float64)
        graph.incumbent_values = <float*> self.room("incumbent_values", n, 1, np.float32)
        graph.column_indices = <int32_t*> self.room("column_indices", n, 1, np.int32)
        graph.cursor = <int32_t*> self.room("cursor", n, 1, np.int32)
        graph.unsorted = <SCIP_COL**> self.room("unsorted", graph.n_entries, 1, np.uintp)
        graph.variable_features = <float*> self.room("variable_features", n, graph.n_columns, np.float32)
        graph.row_features = <float*> self.room("row_features", m, REVI_ROW_COLUMNS, np.float32)
        graph.row_offsets = <int64_t*> self.room("row_offsets", m + 1, 1, np.int64)
        graph.edge_variables = <int32_t*> self.room("edge_variables", graph.n_edges, 1, np.int32)
        graph.edge_values = <float*> self.room("edge_values", graph.n_edges, 1, np.float32)
        graph.variable_offsets = <int64_t*> self.room("variable_offsets", n + 1, 1, np.int64)
        graph.edge_rows = <int32_t*> self.room("edge_rows", graph.n_edges, 1, np.int32)
        graph.edge_order = <int64_t*> self.room("edge_order", graph.n_edges, 1, np.int64)
        return 0

    cdef void* room(self, str name, Py_ssize_t needed, int width, object dtype) except NULL:
        """Memory for `needed` items: the same as before where it is large enough, otherwise half as much again."""
        array = self.arrays.get(name)
        if array is None or len(array) < needed:
            array = self.arrays[name] = np.empty((needed + needed // 2 + 16) * width, dtype).reshape(-1, width)
        return cnp.PyArray_DATA(array)

    cdef object view(self, str name, Py_ssize_t length):
        view = self.arrays[name][:length] if name in WIDE else self.arrays[name][:length, 0]
        view.flags.writeable = False
        return view

    # ---- candidates and the node -----------------------------------------------------------------------------------

    cdef int read_candidates(self, SCIP* scip) except -1:
        cdef SCIP_VAR** candidates
        cdef double* values
        cdef double* fractions
        cdef int n_all, n_best_priority, n_implied, i
        cdef int32_t* out
        _check(
            scip_api.SCIPgetLPBranchCands(scip, &candidates, &values, &fractions, &n_all, &n_best_priority, &n_implied),
            "SCIPgetLPBranchCands",
        )
        out = <int32_t*> self.room("candidates", n_best_priority, 1, np.int32)
        for i in range(n_best_priority):
            out[i] = scip_api.SCIPvarGetProbindex(candidates[i])
        self.n_candidates = n_best_priority
        return 0

    cdef object node_facts(self, SCIP* scip):
        cdef SCIP_NODE* node = scip_api.SCIPgetFocusNode(scip)
        cdef double infinity = scip_api.SCIPinfinity(scip)
        return NodeFacts(
            scip_api.SCIPnodeGetNumber(node),
            scip_api.SCIPnodeGetDepth(node),
            self.graph.run,
            _bound(scip_api.SCIPnodeGetLowerbound(node), infinity),
            _bound(scip_api.SCIPgetLPObjval(scip), infinity),
            _bound(scip_api.SCIPgetUpperbound(scip), infinity),
            _bound(scip_api.SCIPgetLowerbound(scip), infinity),
            _bound(scip_api.SCIPgetLowerboundRoot(scip), infinity),
            scip_api.SCIPgetNNodes(scip),
            scip_api.SCIPgetNNodesLeft(scip),
            scip_api.SCIPgetNLPs(scip),
            scip_api.SCIPgetNSols(scip),
        )


cdef inline double _bound(double value, double infinity) noexcept nogil:
    """SCIP's infinity as the floating-point one."""
    if value >= infinity:
        return INFINITY
    if value <= -infinity:
        return -INFINITY
    return value
