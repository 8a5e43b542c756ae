/* The sum inside a half-convolution, fused: gather, add, norm, ReLU and sum over the edges of each target, in registers.
 * No tensor of edges x width is ever made.
 *
 *     sum_i = sum over edges (j -> i) of relu(gamma * x / sqrt(mean(x^2) + epsilon) + beta),
 *     x = source_j + target_i + value * edge
 *
 * This is LayerNorm where x has mean zero over its width. The mean of a sum is the sum of the means, so whoever wants
 * LayerNorm centres sources, targets and edge before (or the linear layers that make them: free), not each edge's x.
 *
 * Arrays are dense and row-major. Targets are the rows of a CSR structure. Accumulation goes in the order of the edges, on
 * one thread: the same numbers every time.
 */
#ifndef REVIBRANCH_HALFCONV_H
#define REVIBRANCH_HALFCONV_H

#include <stdint.h>

/* The widest that the kernels take. */
#define REVI_MAX_WIDTH 512

typedef struct {
    int64_t n_targets;
    int64_t n_sources;
    const int64_t *offsets; /* (n_targets + 1) */
    const int32_t *sources; /* (edges) */
    int width;              /* D: a multiple of 8, at most REVI_MAX_WIDTH; fastest for 32 and 64 */
} revi_graph;

/* What is wrong with a graph, in words, or NULL: offsets that do not run from 0 to `edges` without going down, a source that
 * does not exist, a width that the kernels do not take. A fraction of a per cent of what the sums cost. */
const char *revi_graph_problem(const revi_graph *graph, int64_t edges);

#define REVI_HALFCONV(real, suffix)                                                                                  \
    /* sums (n_targets, D) is overwritten. */                                                                        \
    void revi_halfconv_forward_##suffix(const revi_graph *graph, const real *values, const real *source,             \
                                        const real *target, const real *edge, const real *gamma, const real *beta,   \
                                        real epsilon, real *sums);                                                   \
    /* Gradients of a loss whose gradient with respect to the sums is `grad`; all outputs are overwritten:           \
     * d_source (n_sources, D), d_target (n_targets, D), d_edge, d_gamma, d_beta (D). */                             \
    void revi_halfconv_backward_##suffix(const revi_graph *graph, const real *values, const real *source,            \
                                         const real *target, const real *edge, const real *gamma, const real *beta,  \
                                         real epsilon, const real *grad, real *d_source, real *d_target,             \
                                         real *d_edge, real *d_gamma, real *d_beta);

REVI_HALFCONV(float, f32)
REVI_HALFCONV(double, f64)
#undef REVI_HALFCONV

#endif
