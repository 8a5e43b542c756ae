"""Cython's view of network.h."""

from libc.stdint cimport int32_t, int64_t


cdef extern from "network.h" nogil:
    ctypedef struct revi_layer:
        int n_in "in"
        int n_out "out"
        const float* weight
        const float* bias
    ctypedef struct revi_normalisation:
        int n_columns
        int width
        const int* place
        const int* logarithmic
        const int* flag
        const float* mean
        const float* inverse_scale
        float limit
    ctypedef struct revi_halfconv_weights:
        revi_layer source
        revi_layer target
        const float* edge
        const float* gamma
        const float* beta
        float epsilon
        revi_layer update1
        revi_layer update2
    ctypedef struct revi_network:
        int width
        int heads
        revi_normalisation variables
        revi_normalisation rows
        revi_layer variables1
        revi_layer variables2
        revi_layer rows1
        revi_layer rows2
        revi_halfconv_weights to_rows
        revi_halfconv_weights to_variables
        revi_layer query
        revi_layer key
        revi_layer value
        const float* null_token
        revi_layer score1
        int classes
        float class_distance
        revi_layer score2
        int n_facts
        revi_layer step1
        const float* step_child
        revi_layer step2
    ctypedef struct revi_state:
        int64_t n_variables
        int64_t n_rows
        int64_t n_candidates
        int variable_columns
        int row_columns
        const float* variable_features
        const float* row_features
        const int64_t* row_offsets
        const int32_t* edge_variables
        const float* edge_values
        const int64_t* variable_offsets
        const int32_t* edge_rows
        const float* variable_edge_values
        const int32_t* candidates
    int64_t revi_network_scratch(const revi_network*, int64_t, int64_t, int64_t)
    void revi_network_encode(
        const revi_network*, const revi_state*, int, float*, int64_t*, int32_t*, float*, float*)
    void revi_network_decode(
        const revi_network*, int64_t, const float*, const int32_t*, int64_t, const float*, float*, float*)
    void revi_network_steps(
        const revi_network*, int64_t, const float*, int64_t, const float*, const float*, float*, float*)
