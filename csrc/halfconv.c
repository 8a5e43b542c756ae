#include "halfconv.h"

#include <math.h>
#include <stddef.h>

#include "vector.h"

#define REAL float
#define VEC revi_f32v
#define HALF revi_f32h
#define MASK revi_i32v
#define MAGNITUDE 0x7fffffff /* all bits but the sign's */
#define SIGN 31
#define LANES 8
#define NAME(name) f32_##name
#define ROOT sqrtf
#include "halfconv_kernel.h"

#define REAL double
#define VEC revi_f64v
#define HALF revi_f64h
#define MASK revi_i64v
#define MAGNITUDE 0x7fffffffffffffff
#define SIGN 63
#define LANES 4
#define NAME(name) f64_##name
#define ROOT sqrt
#include "halfconv_kernel.h"

/* Widths 32 and 64 get loops of constant length; any other multiple of 8 the general one. */
#define REVI_BY_WIDTH(call, lanes)                                                                                   \
    switch (graph->width) {                                                                                          \
    case 32:                                                                                                         \
        call(32 / lanes);                                                                                            \
        break;                                                                                                       \
    case 64:                                                                                                         \
        call(64 / lanes);                                                                                            \
        break;                                                                                                       \
    default:                                                                                                         \
        call(graph->width / lanes);                                                                                  \
    }

#define REVI_HALFCONV(real, suffix, lanes)                                                                           \
    REVI_DISPATCH void revi_halfconv_forward_##suffix(                                                               \
        const revi_graph *graph, const real *values, const real *source, const real *target, const real *edge,       \
        const real *gamma, const real *beta, real epsilon, real *sums)                                               \
    {                                                                                                                \
        REVI_BY_WIDTH(REVI_FORWARD_##suffix, lanes)                                                                  \
    }                                                                                                                \
    REVI_DISPATCH void revi_halfconv_backward_##suffix(                                                              \
        const revi_graph *graph, const real *values, const real *source, const real *target, const real *edge,       \
        const real *gamma, const real *beta, real epsilon, const real *grad, real *d_source, real *d_target,         \
        real *d_edge, real *d_gamma, real *d_beta)                                                                   \
    {                                                                                                                \
        REVI_BY_WIDTH(REVI_BACKWARD_##suffix, lanes)                                                                 \
    }

#define REVI_FORWARD_f32(blocks) f32_forward(graph, values, source, target, edge, gamma, beta, epsilon, sums, blocks)
#define REVI_FORWARD_f64(blocks) f64_forward(graph, values, source, target, edge, gamma, beta, epsilon, sums, blocks)
#define REVI_BACKWARD_f32(blocks)                                                                                    \
    f32_backward(graph, values, source, target, edge, gamma, beta, epsilon, grad, d_source, d_target, d_edge,        \
                 d_gamma, d_beta, blocks)
#define REVI_BACKWARD_f64(blocks)                                                                                    \
    f64_backward(graph, values, source, target, edge, gamma, beta, epsilon, grad, d_source, d_target, d_edge,        \
                 d_gamma, d_beta, blocks)

REVI_HALFCONV(float, f32, 8)
REVI_HALFCONV(double, f64, 4)

/* Without a branch in the loops, so that they run on vectors. */
REVI_DISPATCH static int offsets_fall(const int64_t *offsets, int64_t n_targets)
{
    int falls = 0;
    for (int64_t i = 0; i < n_targets; ++i)
        falls |= offsets[i] > offsets[i + 1];
    return falls;
}

REVI_DISPATCH static uint32_t largest(const int32_t *sources, int64_t edges)
{
    uint32_t most = 0; /* unsigned: a negative source is a huge one */
    for (int64_t e = 0; e < edges; ++e)
        most = (uint32_t)sources[e] > most ? (uint32_t)sources[e] : most;
    return most;
}

const char *revi_graph_problem(const revi_graph *graph, int64_t edges)
{
    if (graph->width <= 0 || graph->width % 8 || graph->width > REVI_MAX_WIDTH)
        return "the width must be a multiple of 8, at most 512";
    if (graph->offsets[0] != 0 || graph->offsets[graph->n_targets] != edges || offsets_fall(graph->offsets, graph->n_targets))
        return "offsets must run from 0 to the number of edges and never fall";
    if (edges && largest(graph->sources, edges) >= (uint64_t)graph->n_sources)
        return "an edge comes from a source that does not exist";
    return NULL;
}
