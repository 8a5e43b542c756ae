"""Cython's view of halfconv.h."""

from libc.stdint cimport int32_t, int64_t


cdef extern from "halfconv.h" nogil:
    const int REVI_MAX_WIDTH
    ctypedef struct revi_graph:
        int64_t n_targets
        int64_t n_sources
        const int64_t* offsets
        const int32_t* sources
        int width

    const char* revi_graph_problem(const revi_graph* graph, int64_t edges)

    void revi_halfconv_forward_f32(
        const revi_graph* graph, const float* values, const float* source, const float* target, const float* edge,
        const float* gamma, const float* beta, float epsilon, float* sums)
    void revi_halfconv_forward_f64(
        const revi_graph* graph, const double* values, const double* source, const double* target, const double* edge,
        const double* gamma, const double* beta, double epsilon, double* sums)
    void revi_halfconv_backward_f32(
        const revi_graph* graph, const float* values, const float* source, const float* target, const float* edge,
        const float* gamma, const float* beta, float epsilon, const float* grad, float* d_source, float* d_target,
        float* d_edge, float* d_gamma, float* d_beta)
    void revi_halfconv_backward_f64(
        const revi_graph* graph, const double* values, const double* source, const double* target, const double* edge,
        const double* gamma, const double* beta, double epsilon, const double* grad, double* d_source, double* d_target,
        double* d_edge, double* d_gamma, double* d_beta)
