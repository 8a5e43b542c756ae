# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The branching network in C: one graph in, scores or step embeddings out. See network.h, and gnn/native.py for the folding."""

from libc.stdint cimport int32_t, int64_t
from libc.string cimport memcpy

cimport numpy as cnp
import numpy as np

from halfconv cimport REVI_MAX_WIDTH, revi_graph, revi_graph_problem
from network cimport *

cnp.import_array()

include "facts.pxi"


cdef extern from "vector.h" nogil:
    int revi_vector_level()


MAX_WIDTH = REVI_MAX_WIDTH
VECTORS = "x4", "x8", "x16"


def vectors():
    """Which of them the kernels take here."""
    return VECTORS[revi_vector_level()]


cdef int64_t candidate_edges(const revi_state* state) except -1:
    """Edges of all candidates together, once they are known to be variables of the graph."""
    cdef int64_t i, edges = 0
    cdef int32_t variable
    if state.n_candidates > state.n_variables:
        raise ValueError(f"{state.n_candidates} candidates among {state.n_variables} variables")
    for i in range(state.n_candidates):
        variable = state.candidates[i]
        if not 0 <= variable < state.n_variables:
            raise ValueError(f"candidate {variable} is none of the {state.n_variables} variables")
        edges += state.variable_offsets[variable + 1] - state.variable_offsets[variable]
    return edges


cdef int check_edges(
    int64_t n_targets, int64_t n_sources, const int64_t* offsets, const int32_t* sources, int width, int64_t n_edges) except -1:
    cdef revi_graph graph
    cdef const char* problem
    graph.n_targets, graph.n_sources, graph.offsets, graph.sources, graph.width = n_targets, n_sources, offsets, sources, width
    with nogil:
        problem = revi_graph_problem(&graph, n_edges)
    if problem != NULL:
        raise ValueError(f"the state's edges: {problem.decode()}")
    return 0


cdef bint _fixed(object array) except -1:
    """Whether nobody is to write into an array, so that what was found of it stays true."""
    return isinstance(array, np.ndarray) and not cnp.PyArray_ISWRITEABLE(<cnp.ndarray> array)


cdef object _grown(object array, Py_ssize_t needed):
    return array if array.shape[0] >= needed else np.empty(needed + needed // 2 + 16, dtype=array.dtype)


cdef class NativeNetwork:
    """A network's folded weights and its scratch memory; for one thread at a time.

    Args:
        width: D, a multiple of 8.
        heads: attention heads.
        n_facts: numbers in a node's fact vector.
        classes: of the head, or 0 where it gives one score.
        highest: centre of the last class.
        limit: normalised inputs are clipped at +- this.
        epsilon: of both LayerNorms.
        arrays: folded weights by name, C-contiguous float32 (int32 for places, logarithmic, flag).

    Raises:
        ValueError: an array has another shape than the network needs.
    """

    cdef revi_network network
    cdef dict arrays
    cdef cnp.ndarray scratch, embeddings, edge_values, revived
    cdef cnp.ndarray candidate_offsets, candidate_sources, candidate_values
    cdef object structure
    cdef int64_t n_embedded
    cdef int least_variable_columns, least_row_columns

    def __init__(
        self, int width, int heads, int n_facts, int classes, float highest, float limit, tuple epsilon, dict arrays
    ):
        cdef revi_network* network = &self.network
        if width % 8 or width < 8 or width > REVI_MAX_WIDTH:
            raise ValueError(f"the native network wants a width that is a multiple of 8, at most {REVI_MAX_WIDTH}; not {width}")
        if heads < 1 or width % heads:
            raise ValueError(f"the native network wants heads that divide the width of {width}, not {heads}")
        if classes < 0 or classes == 1:
            raise ValueError(f"the native network wants no classes (0) or at least 2, not {classes}")
        self.arrays = arrays
        network.width, network.heads, network.n_facts = width, heads, n_facts
        network.classes = classes
        network.class_distance = highest / (classes - 1) if classes else 0.0
        self.normalisation("variables", &network.variables, limit)
        self.normalisation("rows", &network.rows, limit)
        self.least_variable_columns = 1 + int(arrays["variables.place"].max())
        self.least_row_columns = 1 + int(arrays["rows.place"].max())
        self.layer("variables1", &network.variables1, network.variables.width, width)
        self.layer("variables2", &network.variables2, width, width)
        self.layer("rows1", &network.rows1, network.rows.width, width)
        self.layer("rows2", &network.rows2, width, width)
        self.half("to_rows", &network.to_rows, epsilon[0])
        self.half("to_variables", &network.to_variables, epsilon[1])
        self.layer("query", &network.query, width, width)
        self.layer("key", &network.key, width, width)
        self.layer("value", &network.value, width, width)
        network.null_token = self.vector("null", width)
        self.layer("score1", &network.score1, 2 * width, width)
        self.layer("score2", &network.score2, width, (classes + 7) // 8 * 8 if classes else 1)
        self.layer("step1", &network.step1, 2 * width + n_facts, width)
        network.step_child = self.vector("step.child", 3 * width)
        self.layer("step2", &network.step2, width, width)
        self.scratch = np.empty(0, np.float32)
        self.embeddings = np.empty(0, np.float32)
        self.edge_values = np.empty(0, np.float32)
        self.revived = np.empty(0, np.float32)
        self.candidate_offsets = np.empty(0, np.int64)
        self.candidate_sources = np.empty(0, np.int32)
        self.candidate_values = np.empty(0, np.float32)
        self.structure = None
        self.n_embedded = -1

    # ---- weights -------------------------------------------------------------------------------------------------

    cdef const float* vector(self, str name, Py_ssize_t size) except NULL:
        array = self.arrays[name]
        if array.dtype != np.float32 or array.size != size or not array.flags.c_contiguous:
            raise ValueError(f"{name}: {array.dtype}{list(array.shape)} where {size} float32 are wanted")
        return <const float*> cnp.PyArray_DATA(array)

    cdef const int* integers(self, str name, Py_ssize_t size) except NULL:
        array = self.arrays[name]
        if array.dtype != np.int32 or array.size != size or not array.flags.c_contiguous:
            raise ValueError(f"{name}: {array.dtype}{list(array.shape)} where {size} int32 are wanted")
        return <const int*> cnp.PyArray_DATA(array)

    cdef int layer(self, str name, revi_layer* layer, int n_in, int n_out) except -1:
        layer.n_in, layer.n_out = n_in, n_out
        layer.weight = self.vector(name + ".weight", <Py_ssize_t> n_in * n_out)
        layer.bias = self.vector(name + ".bias", n_out)
        return 0

    cdef int normalisation(self, str name, revi_normalisation* normalisation, float limit) except -1:
        cdef int n = len(self.arrays[name + ".place"])
        normalisation.n_columns = n
        normalisation.width = n + int((self.arrays[name + ".flag"] >= 0).sum())
        normalisation.place = self.integers(name + ".place", n)
        normalisation.logarithmic = self.integers(name + ".logarithmic", n)
        normalisation.flag = self.integers(name + ".flag", n)
        normalisation.mean = self.vector(name + ".mean", n)
        normalisation.inverse_scale = self.vector(name + ".inverse_scale", n)
        normalisation.limit = limit
        return 0

    cdef int half(self, str name, revi_halfconv_weights* half, float epsilon) except -1:
        cdef int width = self.network.width
        self.layer(name + ".source", &half.source, width, width)
        self.layer(name + ".target", &half.target, width, width)
        half.edge = self.vector(name + ".edge", width)
        half.gamma = self.vector(name + ".gamma", width)
        half.beta = self.vector(name + ".beta", width)
        half.epsilon = epsilon
        self.layer(name + ".update1", &half.update1, 2 * width + 1, width)
        self.layer(name + ".update2", &half.update2, width, width)
        return 0

    # ---- one graph -----------------------------------------------------------------------------------------------

    def revive(self, steps):
        """The memory that each step of a path left for the child that the path entered.

        Args:
            steps: ``PathStep``s, whose memories ``steps`` gave.

        Returns:
            (T, D) float32, valid until the next call.

        Raises:
            ValueError: a memory that is none of this network's.
        """
        cdef int width = self.network.width, child
        cdef Py_ssize_t place = 0
        cdef float* rows
        cdef cnp.ndarray memory
        self.revived = _grown(self.revived, len(steps) * width)
        rows = <float*> self.revived.data
        for step in steps:
            child, kept = step.child, step.memory
            if not isinstance(kept, np.ndarray):
                raise ValueError(f"a step's memory is an array, not {type(kept).__name__}")
            memory = kept
            if (
                cnp.PyArray_TYPE(memory) != cnp.NPY_FLOAT32 or memory.ndim != 2 or not 0 <= child < memory.shape[0]
                or memory.shape[1] != width or not cnp.PyArray_IS_C_CONTIGUOUS(memory)
            ):
                raise ValueError(f"a step's memory is {kept.dtype}{list(kept.shape)} where float32[3, {width}] is wanted, of child {child}")
            memcpy(rows + place * width, <float*> memory.data + child * width, width * sizeof(float))
            place += 1
        return self.revived[: place * width].reshape(place, width)

    def score(self, state, const float[:, ::1] memory, bint everything):
        """Scores of the candidates.

        Args:
            state: a ``BranchState``.
            memory: (T, D) revived steps, oldest first; T may be 0.
            everything: embed all variables, for ``steps`` to follow, not only the candidates.

        Returns:
            (k,) float32.

        Raises:
            ValueError: the state lacks columns that this network reads, or its indices do not fit its arrays; an array of another type.
        """
        cdef revi_network* network = &self.network
        cdef revi_state view
        cdef int64_t n_steps = memory.shape[0]
        cdef const float* steps = &memory[0, 0] if n_steps else NULL
        cdef float* scratch
        cdef float* embeddings
        cdef float* scores
        cdef int64_t n, k, edges
        if n_steps and memory.shape[1] != network.width:
            raise ValueError(f"steps have width {memory.shape[1]}, the network has {network.width}")
        arrays = self.look_at(state, &view)  # held: the view has no more than their addresses
        n, k, edges = view.n_variables, view.n_candidates, candidate_edges(&view)
        self.scratch = _grown(self.scratch, revi_network_scratch(network, n, view.n_rows, n_steps))
        self.embeddings = _grown(self.embeddings, n * network.width)
        self.candidate_offsets = _grown(self.candidate_offsets, k + 1)
        if not everything:
            self.candidate_sources = _grown(self.candidate_sources, edges)
            self.candidate_values = _grown(self.candidate_values, edges)
        scratch = <float*> self.scratch.data
        embeddings = <float*> self.embeddings.data
        result = np.empty(k, np.float32)
        scores = <float*> cnp.PyArray_DATA(result)
        self.n_embedded = n if everything else -1
        with nogil:
            revi_network_encode(
                network, &view, everything, scratch, <int64_t*> self.candidate_offsets.data,
                <int32_t*> self.candidate_sources.data, <float*> self.candidate_values.data, embeddings,
            )
            revi_network_decode(
                network, k, embeddings, view.candidates if everything else NULL, n_steps, steps, scratch, scores
            )
        return result

    def steps(self, int64_t chosen, const float[::1] facts, const float[::1] position):
        """Steps of a decision at the graph scored last, one for each child.

        Args:
            chosen: position of the branched variable.
            facts: (n_facts,) the node's fact vector.
            position: (D,) encoding of the node's depth.

        Returns:
            (3, D) float32: child down, up, middle.

        Raises:
            ValueError: the last graph was not scored with ``everything``, or an argument does not fit it.
        """
        cdef revi_network* network = &self.network
        if not 0 <= chosen < self.n_embedded:
            raise ValueError(f"variable {chosen} is not among the {max(self.n_embedded, 0)} embedded ones")
        if facts.shape[0] != network.n_facts or position.shape[0] != network.width:
            raise ValueError("facts or position have another length than the network's")
        result = np.empty((3, network.width), np.float32)
        cdef float* out = <float*> cnp.PyArray_DATA(result)
        with nogil:
            revi_network_steps(
                network, self.n_embedded, <float*> self.embeddings.data, chosen, &facts[0], &position[0],
                <float*> self.scratch.data, out,
            )
        return result

    cdef tuple look_at(self, state, revi_state* view):
        # The structure's arrays, and those of the node.
        edges = (
            state.row_offsets, state.edge_variables, state.edge_values, state.variable_offsets, state.edge_rows, state.edge_order,
        )
        node = state.variable_features, state.row_features, state.candidates
        # Other dtypes and strides are refused here (ValueError).
        cdef const int64_t[::1] row_offsets = edges[0]
        cdef const int32_t[::1] edge_variables = edges[1]
        cdef const float[::1] edge_values = edges[2]
        cdef const int64_t[::1] variable_offsets = edges[3]
        cdef const int32_t[::1] edge_rows = edges[4]
        cdef const int64_t[::1] edge_order = edges[5]
        cdef const float[:, ::1] variables = node[0]
        cdef const float[:, ::1] rows = node[1]
        cdef const int32_t[::1] candidates = node[2]
        cdef Py_ssize_t i, n_edges = edge_values.shape[0]
        view.n_variables, view.variable_columns = variables.shape[0], variables.shape[1]
        view.n_rows, view.row_columns = rows.shape[0], rows.shape[1]
        view.n_candidates = candidates.shape[0]
        if view.variable_columns < self.least_variable_columns or view.row_columns < self.least_row_columns:
            raise ValueError(
                f"the state has {view.variable_columns} variable and {view.row_columns} row columns; "
                f"this network reads {self.least_variable_columns} and {self.least_row_columns}"
            )
        if (
            row_offsets.shape[0] != view.n_rows + 1 or variable_offsets.shape[0] != view.n_variables + 1
            or edge_variables.shape[0] != n_edges or edge_rows.shape[0] != n_edges or edge_order.shape[0] != n_edges
            or row_offsets[view.n_rows] != n_edges or variable_offsets[view.n_variables] != n_edges
        ):
            raise ValueError("the state's edges do not fit its rows and variables")
        view.variable_features = &variables[0, 0]
        view.row_features = &rows[0, 0]
        view.row_offsets = &row_offsets[0]
        view.edge_variables = &edge_variables[0]
        view.edge_values = &edge_values[0]
        view.variable_offsets = &variable_offsets[0]
        view.edge_rows = &edge_rows[0]
        view.candidates = &candidates[0]
        # What belongs to the structure is looked at once: where its edges lead, and their values in variable order. Its arrays
        # are kept alive with it, so that an equal address means the very same memory, and the number tells whether it was
        # written anew. Into those that are not read-only anybody may have written meanwhile.
        structure = (
            state.structure_id, n_edges, view.n_variables, view.n_rows, <size_t> view.row_offsets, <size_t> view.edge_variables,
            <size_t> view.edge_values, <size_t> view.variable_offsets, <size_t> view.edge_rows, <size_t> &edge_order[0],
        )
        fixed = True
        for array in edges:
            fixed = fixed and _fixed(array)
        if not fixed or self.structure is None or self.structure[0] != structure:
            check_edges(view.n_rows, view.n_variables, view.row_offsets, view.edge_variables, self.network.width, n_edges)
            check_edges(view.n_variables, view.n_rows, view.variable_offsets, view.edge_rows, self.network.width, n_edges)
            self.structure = None  # until the values are there
            self.edge_values = _grown(self.edge_values, n_edges)
            for i in range(n_edges):
                if not 0 <= edge_order[i] < n_edges:
                    raise ValueError(f"the state's edge order has place {edge_order[i]} of {n_edges}")
                (<float*> self.edge_values.data)[i] = edge_values[edge_order[i]]
            self.structure = structure, edges
        view.variable_edge_values = <float*> self.edge_values.data
        return edges + node
