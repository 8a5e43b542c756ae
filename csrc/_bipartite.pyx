# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The LP's bipartite graph at a node, written into arrays that live as long as the solve."""

from libc.math cimport INFINITY, NAN, fabs, floor
from libc.string cimport memcmp, memcpy, memset
from libc.stdint cimport int32_t, int64_t

cimport numpy as cnp
import numpy as np

from scip_api cimport *

from .state import ECOLE_VARIABLE_COLUMNS, ROW_COLUMNS, VARIABLE_COLUMNS, BranchState, NodeFacts

cnp.import_array()
include "bridge.pxi"

cdef enum:
    ECOLE_COLUMNS = 19
    ALL_COLUMNS = 28
    ROW_WIDTH = 5

# SCIP_INVALID is 1e99; anything this large is no value of a variable.
cdef double INVALID = 1e98

if (ECOLE_VARIABLE_COLUMNS, len(VARIABLE_COLUMNS), len(ROW_COLUMNS)) != (ECOLE_COLUMNS, ALL_COLUMNS, ROW_WIDTH):
    raise ImportError("revibranch.branching.state and the compiled revibranch.branching._bipartite name different columns")


cdef struct RowKey:
    # What tells one row of the LP from another. SCIP reuses addresses, so the unique index stands for the row; sides and
    # norm are there because SCIP lets constraint handlers change them in place.
    int index
    int n_entries
    double lhs
    double rhs
    double constant
    double norm
    # SCIP sorts a row's entries by column index when it first needs to, in place. A row that was sorted when it was read
    # stays as it is; of another row the order is kept, from here on in the array of unsorted columns (-1: sorted).
    int64_t unsorted


cdef object _grown(object array, Py_ssize_t needed):
    """An array with room for `needed` rows: the same one where it is large enough, otherwise half as large again."""
    if array.shape[0] >= needed:
        return array
    return np.empty((needed + needed // 2 + 16, *array.shape[1:]), dtype=array.dtype)


cdef object _view(object array, Py_ssize_t length):
    view = array[:length]
    view.flags.writeable = False
    return view


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
    cdef int n_columns
    cdef bint known              # the kept matrix may be compared at all
    cdef int kept_run, n_variables, n_lp_rows, n_sides, n_candidates
    cdef Py_ssize_t n_edges
    cdef double objective_norm, lp_scale
    cdef SCIP_SOL* incumbent
    cdef int incumbent_index
    # Memory, as NumPy arrays with spare room at their ends
    cdef cnp.ndarray variable_array, row_array, row_offset_array, edge_variable_array, edge_value_array
    cdef cnp.ndarray variable_offset_array, edge_row_array, edge_order_array, candidate_array
    cdef cnp.ndarray pointer_array, key_array, unsorted_array, objective_array, incumbent_array, cursor_array
    # Views of the current structure
    cdef tuple views

    def __init__(self, model, *, bint extended=True):
        self.handle = _Handle(model)
        self.extended = extended
        self.n_columns = ALL_COLUMNS if extended else ECOLE_COLUMNS
        self.structure_id = 0
        self.known = False
        self.incumbent = NULL
        self.incumbent_index = -1
        self.variable_array = np.empty((0, self.n_columns), np.float32)
        self.row_array = np.empty((0, ROW_WIDTH), np.float32)
        self.row_offset_array = np.empty(0, np.int64)
        self.edge_variable_array = np.empty(0, np.int32)
        self.edge_value_array = np.empty(0, np.float32)
        self.variable_offset_array = np.empty(0, np.int64)
        self.edge_row_array = np.empty(0, np.int32)
        self.edge_order_array = np.empty(0, np.int64)
        self.candidate_array = np.empty(0, np.int32)
        self.pointer_array = np.empty(0, np.uintp)
        self.key_array = np.empty((0, sizeof(RowKey)), np.uint8)
        self.unsorted_array = np.empty(0, np.uintp)
        self.objective_array = np.empty(0, np.float64)
        self.incumbent_array = np.empty(0, np.float32)
        self.cursor_array = np.empty(0, np.int64)
        self.views = None

    def invalidate(self):
        """Forget the kept matrix: the next ``update`` reads everything."""
        self.known = False

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
            kept = self.known and self.is_kept(scip)
        if not kept:
            self.known = False
            self.read_structure(scip)
            self.known = True
        self.write_dynamic(scip)
        self.read_candidates(scip)
        return BranchState(
            *self.views, _view(self.candidate_array, self.n_candidates), self.structure_id, self.node_facts(scip)
        )

    # ---- structure: rows, edges, static columns ------------------------------------------------------------------

    cdef bint is_kept(self, SCIP* scip) noexcept nogil:
        cdef SCIP_ROW** rows = scip_api.SCIPgetLPRows(scip)
        cdef RowKey* keys = <RowKey*> self.key_array.data
        cdef SCIP_COL** unsorted = <SCIP_COL**> self.unsorted_array.data
        cdef RowKey key
        cdef int i
        if (
            scip_api.SCIPgetNLPRows(scip) != self.n_lp_rows
            or scip_api.SCIPgetNVars(scip) != self.n_variables
            or scip_api.SCIPgetNRuns(scip) != self.kept_run
            or scip_api.SCIPgetObjNorm(scip) != self.objective_norm
            or scip_api.SCIPgetNActivePricers(scip) > 0
        ):
            return False
        if memcmp(
            scip_api.SCIPgetVars(scip),
            self.pointer_array.data,
            self.n_variables * sizeof(SCIP_VAR*),
        ) != 0:
            return False
        for i in range(self.n_lp_rows):
            read_key(rows[i], &key)
            if (
                key.index != keys[i].index
                or key.n_entries != keys[i].n_entries
                or key.lhs != keys[i].lhs
                or key.rhs != keys[i].rhs
                or key.constant != keys[i].constant
                or key.norm != keys[i].norm
            ):
                return False
            if keys[i].unsorted >= 0 and memcmp(
                scip_api.SCIProwGetCols(rows[i]), unsorted + keys[i].unsorted, key.n_entries * sizeof(SCIP_COL*)
            ) != 0:
                return False
        return True

    cdef int read_structure(self, SCIP* scip) except -1:
        cdef SCIP_ROW** rows = scip_api.SCIPgetLPRows(scip)
        cdef SCIP_VAR** variables = scip_api.SCIPgetVars(scip)
        cdef int n_rows = scip_api.SCIPgetNLPRows(scip)
        cdef int n_variables = scip_api.SCIPgetNVars(scip)
        cdef Py_ssize_t n_sides = 0, n_edges = 0, n_entries = 0, sides
        cdef double infinity = scip_api.SCIPinfinity(scip)
        cdef RowKey* keys
        cdef int i
        self.kept_run = scip_api.SCIPgetNRuns(scip)
        self.n_variables = n_variables
        self.n_lp_rows = n_rows
        self.objective_norm = scip_api.SCIPgetObjNorm(scip)
        self.incumbent_index = -1  # its values must be read again: positions may have moved

        self.key_array = _grown(self.key_array, n_rows)
        keys = <RowKey*> self.key_array.data
        with nogil:
            for i in range(n_rows):
                read_key(rows[i], &keys[i])
                sides = (keys[i].lhs > -infinity) + (keys[i].rhs < infinity)
                n_sides += sides
                n_edges += sides * keys[i].n_entries
                n_entries += keys[i].n_entries
        if n_edges >= 2**31:
            raise RuntimeError(f"the LP has {n_edges} edges, more than 32-bit places can count")

        self.pointer_array = _grown(self.pointer_array, n_variables)
        self.objective_array = _grown(self.objective_array, n_variables)
        self.incumbent_array = _grown(self.incumbent_array, n_variables)
        self.variable_array = _grown(self.variable_array, n_variables)
        self.variable_offset_array = _grown(self.variable_offset_array, n_variables + 1)
        self.cursor_array = _grown(self.cursor_array, n_variables)
        self.row_array = _grown(self.row_array, n_sides)
        self.row_offset_array = _grown(self.row_offset_array, n_sides + 1)
        self.edge_variable_array = _grown(self.edge_variable_array, n_edges)
        self.edge_value_array = _grown(self.edge_value_array, n_edges)
        self.edge_row_array = _grown(self.edge_row_array, n_edges)
        self.edge_order_array = _grown(self.edge_order_array, n_edges)
        memcpy(self.pointer_array.data, variables, n_variables * sizeof(SCIP_VAR*))
        self.n_sides = n_sides
        self.unsorted_array = _grown(self.unsorted_array, n_entries)
        with nogil:
            self.write_static_columns(variables)
            self.write_rows(rows, infinity)
            self.transpose()
        self.structure_id += 1
        self.views = (
            _view(self.variable_array, n_variables),
            _view(self.row_array, n_sides),
            _view(self.row_offset_array, n_sides + 1),
            _view(self.edge_variable_array, self.n_edges),
            _view(self.edge_value_array, self.n_edges),
            _view(self.variable_offset_array, n_variables + 1),
            _view(self.edge_row_array, self.n_edges),
            _view(self.edge_order_array, self.n_edges),
        )
        return 0

    cdef void write_static_columns(self, SCIP_VAR** variables) noexcept nogil:
        cdef float* out = <float*> self.variable_array.data
        cdef double* objective = <double*> self.objective_array.data
        cdef double scale = self.objective_norm if self.objective_norm > 0.0 else 1.0
        cdef int i, kind
        for i in range(self.n_variables):
            objective[i] = scip_api.SCIPvarGetObj(variables[i])
            kind = scip_api.SCIPvarGetType(variables[i])  # binary, integer, implied integer, continuous
            out[0] = <float> (objective[i] / scale)
            out[1] = kind == 0
            out[2] = kind == 1
            out[3] = kind == 2
            out[4] = kind == 3
            out += self.n_columns

    cdef void write_rows(self, SCIP_ROW** rows, double infinity) noexcept nogil:
        cdef RowKey* keys = <RowKey*> self.key_array.data
        cdef double* objective = <double*> self.objective_array.data
        cdef int64_t* offsets = <int64_t*> self.row_offset_array.data
        cdef int32_t* edge_variables = <int32_t*> self.edge_variable_array.data
        cdef float* edge_values = <float*> self.edge_value_array.data
        cdef float* out = <float*> self.row_array.data
        cdef SCIP_COL** unsorted = <SCIP_COL**> self.unsorted_array.data
        # Edges of each variable, one place on: ``transpose`` adds them up.
        cdef int64_t* counts = <int64_t*> self.variable_offset_array.data + 1
        cdef SCIP_COL** columns
        cdef double* values
        cdef double norm, product, cosine, side, sign
        cdef int64_t edge = 0, first, n_unsorted = 0
        cdef int i, j, position, index, last, which, side_number = 0
        cdef bint is_sorted
        offsets[0] = 0
        memset(self.variable_offset_array.data, 0, (self.n_variables + 1) * sizeof(int64_t))
        for i in range(self.n_lp_rows):
            columns = scip_api.SCIProwGetCols(rows[i])
            values = scip_api.SCIProwGetVals(rows[i])
            norm = keys[i].norm if keys[i].norm > 0.0 else 1.0
            cosine = 0.0
            first = -1  # edges of this row's first side; the second side copies them
            last = -1
            is_sorted = True
            for which in range(2):
                if which == 0:
                    if keys[i].lhs <= -infinity:
                        continue
                    side = keys[i].lhs
                    sign = -1.0
                else:
                    if keys[i].rhs >= infinity:
                        continue
                    side = keys[i].rhs
                    sign = 1.0
                if first < 0:
                    first = edge
                    for j in range(keys[i].n_entries):
                        index = scip_api.SCIPcolGetIndex(columns[j])
                        is_sorted = is_sorted and index > last
                        last = index
                        position = scip_api.SCIPcolGetVarProbindex(columns[j])
                        if position < 0:
                            continue  # a column whose variable left the problem has no node to point at
                        edge_variables[edge] = position
                        counts[position] += 1
                        edge_values[edge] = <float> (sign * values[j] / norm)
                        cosine += values[j] * objective[position]
                        edge += 1
                    product = keys[i].norm * self.objective_norm
                    cosine = cosine / product if product > 1e-9 else 0.0
                else:
                    for j in range(<int> (offsets[side_number] - first)):
                        edge_variables[edge] = edge_variables[first + j]
                        counts[edge_variables[edge]] += 1
                        edge_values[edge] = -edge_values[first + j]
                        edge += 1
                out[0] = <float> (sign * (side - keys[i].constant) / norm)
                out[1] = <float> (sign * cosine)
                out += ROW_WIDTH
                side_number += 1
                offsets[side_number] = edge
            keys[i].unsorted = -1
            if not is_sorted:
                keys[i].unsorted = n_unsorted
                memcpy(unsorted + n_unsorted, columns, keys[i].n_entries * sizeof(SCIP_COL*))
                n_unsorted += keys[i].n_entries
        self.n_edges = edge

    cdef void transpose(self) noexcept nogil:
        """The variable order of the edges, by counting: rows come out ascending within each variable."""
        cdef int64_t* row_offsets = <int64_t*> self.row_offset_array.data
        cdef int32_t* edge_variables = <int32_t*> self.edge_variable_array.data
        cdef int64_t* offsets = <int64_t*> self.variable_offset_array.data
        cdef int64_t* cursor = <int64_t*> self.cursor_array.data
        cdef int32_t* edge_rows = <int32_t*> self.edge_row_array.data
        cdef int64_t* edge_order = <int64_t*> self.edge_order_array.data
        cdef int64_t edge, place
        cdef int i
        for i in range(self.n_variables):
            offsets[i + 1] += offsets[i]
            cursor[i] = offsets[i]
        for i in range(self.n_sides):
            for edge in range(row_offsets[i], row_offsets[i + 1]):
                place = cursor[edge_variables[edge]]
                cursor[edge_variables[edge]] = place + 1
                edge_rows[place] = i
                edge_order[place] = edge

    # ---- what changes at every node ------------------------------------------------------------------------------

    cdef int write_dynamic(self, SCIP* scip) except -1:
        with nogil:
            self.lp_scale = <double> scip_api.SCIPgetNLPs(scip) + 5.0
            self.read_incumbent(scip)
            self.write_variable_columns(scip)
            if self.extended:
                self.write_extended_columns(scip)
            self.write_row_columns(scip)
        return 0

    cdef void read_incumbent(self, SCIP* scip) noexcept nogil:
        # Asking SCIP for a solution's value costs as much as all other columns of a variable together, and the
        # incumbent rarely changes.
        cdef SCIP_SOL* best = scip_api.SCIPgetBestSol(scip)
        cdef int index = scip_api.SCIPsolGetIndex(best) if best != NULL else -1
        cdef SCIP_VAR** variables = scip_api.SCIPgetVars(scip)
        cdef float* values = <float*> self.incumbent_array.data
        cdef int i
        if best != NULL and (best != self.incumbent or index != self.incumbent_index):
            for i in range(self.n_variables):
                values[i] = <float> scip_api.SCIPgetSolVal(scip, best, variables[i])
        self.incumbent = best
        self.incumbent_index = index

    cdef void write_variable_columns(self, SCIP* scip) noexcept nogil:
        cdef SCIP_VAR** variables = scip_api.SCIPgetVars(scip)
        cdef float* out = <float*> self.variable_array.data
        cdef float* incumbent = <float*> self.incumbent_array.data
        cdef double infinity = scip_api.SCIPinfinity(scip)
        cdef double epsilon = scip_api.SCIPepsilon(scip)
        cdef double feastol = scip_api.SCIPfeastol(scip)
        cdef double scale = self.objective_norm if self.objective_norm > 0.0 else 1.0
        cdef SCIP_VAR* variable
        cdef SCIP_COL* column
        cdef double value, lower, upper
        cdef int i, basis
        for i in range(self.n_variables):
            variable = variables[i]
            column = NULL
            # Loose variables (pricing, or in no row) have no column to ask.
            if scip_api.SCIPvarGetStatus(variable) == REVI_VARSTATUS_COLUMN:
                column = scip_api.SCIPvarGetCol(variable)
                if not scip_api.SCIPcolIsInLP(column):
                    column = NULL
            lower = scip_api.SCIPvarGetLbLocal(variable)
            upper = scip_api.SCIPvarGetUbLocal(variable)
            value = scip_api.SCIPvarGetLPSol(variable)
            out[5] = lower > -infinity
            out[6] = upper < infinity
            out[8] = <float> value
            # EPSFRAC and EPSEQ of SCIP, written out: two calls a variable less
            out[9] = <float> (value - floor(value + feastol)) if out[4] == 0.0 else 0.0
            out[10] = fabs(value - lower) <= epsilon
            out[11] = fabs(value - upper) <= epsilon
            if self.incumbent != NULL:
                out[13] = incumbent[i]
                out[14] = <float> scip_api.SCIPvarGetAvgSol(variable)
            else:
                out[13] = NAN
                out[14] = NAN
            if column != NULL:
                out[7] = <float> (scip_api.SCIPgetColRedcost(scip, column) / scale)
                out[12] = <float> (scip_api.SCIPcolGetAge(column) / self.lp_scale)
                basis = scip_api.SCIPcolGetBasisStatus(column)
            else:
                out[7] = 0.0
                out[12] = 0.0
                basis = -1
            out[15] = basis == 0
            out[16] = basis == 1
            out[17] = basis == 2
            out[18] = basis == 3
            out += self.n_columns

    cdef void write_extended_columns(self, SCIP* scip) noexcept nogil:
        cdef SCIP_VAR** variables = scip_api.SCIPgetVars(scip)
        cdef float* out = <float*> self.variable_array.data
        cdef SCIP_VAR* variable
        cdef double root
        cdef int i
        for i in range(self.n_variables):
            variable = variables[i]
            out[19] = <float> scip_api.SCIPgetVarPseudocost(scip, variable, 0)
            out[20] = <float> scip_api.SCIPgetVarPseudocost(scip, variable, 1)
            out[21] = <float> scip_api.SCIPgetVarPseudocostCount(scip, variable, 0)
            out[22] = <float> scip_api.SCIPgetVarPseudocostCount(scip, variable, 1)
            out[23] = <float> scip_api.SCIPgetVarAvgInferences(scip, variable, 0)
            out[24] = <float> scip_api.SCIPgetVarAvgInferences(scip, variable, 1)
            out[25] = <float> scip_api.SCIPgetVarAvgConflictlength(scip, variable, 0)
            out[26] = <float> scip_api.SCIPgetVarAvgConflictlength(scip, variable, 1)
            root = scip_api.SCIPvarGetRootSol(variable)
            out[27] = <float> root if fabs(root) < INVALID else NAN
            out += self.n_columns

    cdef void write_row_columns(self, SCIP* scip) noexcept nogil:
        cdef SCIP_ROW** rows = scip_api.SCIPgetLPRows(scip)
        cdef RowKey* keys = <RowKey*> self.key_array.data
        cdef float* out = <float*> self.row_array.data
        cdef double infinity = scip_api.SCIPinfinity(scip)
        cdef double epsilon = scip_api.SCIPepsilon(scip)
        cdef double objective_scale = self.objective_norm if self.objective_norm > 0.0 else 1.0
        cdef double activity, norm
        cdef float dual, age
        cdef bint has_lhs, has_rhs
        cdef int i
        for i in range(self.n_lp_rows):
            has_lhs = keys[i].lhs > -infinity
            has_rhs = keys[i].rhs < infinity
            if not (has_lhs or has_rhs):
                continue
            norm = keys[i].norm if keys[i].norm > 0.0 else 1.0
            activity = scip_api.SCIPgetRowLPActivity(scip, rows[i])
            dual = <float> (scip_api.SCIProwGetDualsol(rows[i]) / (norm * objective_scale))
            age = <float> (scip_api.SCIProwGetAge(rows[i]) / self.lp_scale)
            if has_lhs:
                out[2] = fabs(activity - keys[i].lhs) <= epsilon
                out[3] = -dual
                out[4] = age
                out += ROW_WIDTH
            if has_rhs:
                out[2] = fabs(activity - keys[i].rhs) <= epsilon
                out[3] = dual
                out[4] = age
                out += ROW_WIDTH

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
        self.candidate_array = _grown(self.candidate_array, n_best_priority)
        out = <int32_t*> self.candidate_array.data
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
            self.kept_run,
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


cdef inline void read_key(SCIP_ROW* row, RowKey* key) noexcept nogil:
    key.index = scip_api.SCIProwGetIndex(row)
    key.n_entries = scip_api.SCIProwGetNNonz(row)
    key.lhs = scip_api.SCIProwGetLhs(row)
    key.rhs = scip_api.SCIProwGetRhs(row)
    key.constant = scip_api.SCIProwGetConstant(row)
    key.norm = scip_api.SCIProwGetNorm(row)


cdef inline double _bound(double value, double infinity) noexcept nogil:
    """SCIP's infinity as the floating-point one."""
    if value >= infinity:
        return INFINITY
    if value <= -infinity:
        return -INFINITY
    return value
