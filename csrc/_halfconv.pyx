# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The fused sum of a half-convolution, forward and backward, on arrays. See halfconv.h for the formula."""

from libc.stdint cimport int32_t, int64_t

from halfconv cimport *


MAX_WIDTH = REVI_MAX_WIDTH


ctypedef fused real:
    float
    double


cdef int check_shape(str name, Py_ssize_t rows, Py_ssize_t columns, Py_ssize_t n, Py_ssize_t width) except -1:
    if rows != n or columns != width:
        raise ValueError(f"{name} has shape ({rows}, {columns}), expected ({n}, {width})")
    return 0


cdef int check_length(str name, Py_ssize_t length, Py_ssize_t expected) except -1:
    if length != expected:
        raise ValueError(f"{name} has length {length}, expected {expected}")
    return 0


cdef revi_graph checked(
    const int64_t[::1] offsets, const int32_t[::1] sources, Py_ssize_t n_values, Py_ssize_t n_sources, Py_ssize_t width,
    Py_ssize_t n_targets, Py_ssize_t target_width, Py_ssize_t n_edge, Py_ssize_t n_gamma, Py_ssize_t n_beta) except *:
    """The graph, once all arrays fit it: what the kernels rely on without looking."""
    cdef revi_graph graph
    cdef const char *problem
    if not offsets.shape[0]:
        raise ValueError("offsets must hold one number more than there are targets")
    if width > REVI_MAX_WIDTH:
        raise ValueError(f"the width must be a multiple of 8, at most {REVI_MAX_WIDTH}, not {width}")
    check_shape("target", n_targets, target_width, offsets.shape[0] - 1, width)
    check_length("values", n_values, sources.shape[0])
    check_length("edge", n_edge, width)
    check_length("gamma", n_gamma, width)
    check_length("beta", n_beta, width)
    graph.n_targets = n_targets
    graph.n_sources = n_sources
    graph.offsets = &offsets[0]
    graph.sources = &sources[0]
    graph.width = <int> width
    with nogil:
        problem = revi_graph_problem(&graph, sources.shape[0])
    if problem != NULL:
        raise ValueError(problem.decode())
    return graph


def forward(
    const int64_t[::1] offsets, const int32_t[::1] sources, const real[::1] values,
    const real[:, ::1] source, const real[:, ::1] target, const real[::1] edge,
    const real[::1] gamma, const real[::1] beta, double epsilon, real[:, ::1] out):
    """Write the sums, (targets, D), to ``out``; stubs describe the arguments."""
    cdef revi_graph graph = checked(
        offsets, sources, values.shape[0], source.shape[0], source.shape[1], target.shape[0], target.shape[1],
        edge.shape[0], gamma.shape[0], beta.shape[0])
    check_shape("out", out.shape[0], out.shape[1], target.shape[0], target.shape[1])
    with nogil:
        if real is float:
            revi_halfconv_forward_f32(
                &graph, &values[0], &source[0, 0], &target[0, 0], &edge[0], &gamma[0], &beta[0], <float> epsilon, &out[0, 0])
        else:
            revi_halfconv_forward_f64(
                &graph, &values[0], &source[0, 0], &target[0, 0], &edge[0], &gamma[0], &beta[0], epsilon, &out[0, 0])


def backward(
    const int64_t[::1] offsets, const int32_t[::1] sources, const real[::1] values,
    const real[:, ::1] source, const real[:, ::1] target, const real[::1] edge,
    const real[::1] gamma, const real[::1] beta, double epsilon, const real[:, ::1] grad,
    real[:, ::1] d_source, real[:, ::1] d_target, real[::1] d_edge, real[::1] d_gamma, real[::1] d_beta):
    """Write the gradients; stubs describe the arguments."""
    cdef revi_graph graph = checked(
        offsets, sources, values.shape[0], source.shape[0], source.shape[1], target.shape[0], target.shape[1],
        edge.shape[0], gamma.shape[0], beta.shape[0])
    check_shape("grad", grad.shape[0], grad.shape[1], target.shape[0], target.shape[1])
    check_shape("d_source", d_source.shape[0], d_source.shape[1], source.shape[0], source.shape[1])
    check_shape("d_target", d_target.shape[0], d_target.shape[1], target.shape[0], target.shape[1])
    check_length("d_edge", d_edge.shape[0], edge.shape[0])
    check_length("d_gamma", d_gamma.shape[0], gamma.shape[0])
    check_length("d_beta", d_beta.shape[0], beta.shape[0])
    with nogil:
        if real is float:
            revi_halfconv_backward_f32(
                &graph, &values[0], &source[0, 0], &target[0, 0], &edge[0], &gamma[0], &beta[0], <float> epsilon,
                &grad[0, 0], &d_source[0, 0], &d_target[0, 0], &d_edge[0], &d_gamma[0], &d_beta[0])
        else:
            revi_halfconv_backward_f64(
                &graph, &values[0], &source[0, 0], &target[0, 0], &edge[0], &gamma[0], &beta[0], epsilon,
                &grad[0, 0], &d_source[0, 0], &d_target[0, 0], &d_edge[0], &d_gamma[0], &d_beta[0])
