#include "halfconv.h"

#include <math.h>
#include <stddef.h>

#include "vector.h"

#define REAL float
#define LANES REVI_F32_LANES
#define NAME(name) f32_##name
#define ROOT sqrtf
#define INLINE REVI_INLINE
#include "halfconv_kernel.h"

#define REAL double
#define LANES 4
#define NAME(name) f64_##name
#define ROOT sqrt
#define INLINE REVI_INLINE
#include "halfconv_kernel.h"

#ifdef REVI_WIDE
#define REAL float
#define LANES 16
#define NAME(name) f32w_##name
#define ROOT sqrtf
#define INLINE REVI_WIDE_INLINE
#include "halfconv_kernel.h"
#endif

/* Widths 32 and 64 get loops of constant length; any other multiple of 8 the general one. */
#define BY_WIDTH(lanes, call, ...)                                                                                   \
    switch (graph->width) {                                                                                          \
    case 32:                                                                                                         \
        call(__VA_ARGS__, 32 / lanes);                                                                               \
        break;                                                                                                       \
    case 64:                                                                                                         \
        call(__VA_ARGS__, 64 / lanes);                                                                               \
        break;                                                                                                       \
    default:                                                                                                         \
        call(__VA_ARGS__, graph->width / lanes);                                                                     \
    }

#define FORWARD_PARAMETERS(real)                                                                                     \
    (const revi_graph *graph, const real *values, const real *source, const real *target, const real *edge,          \
     const real *gamma, const real *beta, real epsilon, real *sums)
#define FORWARD_ARGUMENTS graph, values, source, target, edge, gamma, beta, epsilon, sums
#define BACKWARD_PARAMETERS(real)                                                                                    \
    (const revi_graph *graph, const real *values, const real *source, const real *target, const real *edge,          \
     const real *gamma, const real *beta, real epsilon, const real *grad, real *d_source, real *d_target,            \
     real *d_edge, real *d_gamma, real *d_beta)
#define BACKWARD_ARGUMENTS                                                                                           \
    graph, values, source, target, edge, gamma, beta, epsilon, grad, d_source, d_target, d_edge, d_gamma, d_beta

#define HALFCONV(kind, real, lanes, marks)                                                                           \
    marks static void forward_##kind FORWARD_PARAMETERS(real){BY_WIDTH(lanes, kind##_forward, FORWARD_ARGUMENTS)}    \
    marks static void backward_##kind BACKWARD_PARAMETERS(real){BY_WIDTH(lanes, kind##_backward, BACKWARD_ARGUMENTS)}

HALFCONV(f32, float, REVI_F32_LANES, REVI_DISPATCH)
HALFCONV(f64, double, 4, REVI_DISPATCH)
#ifdef REVI_WIDE
HALFCONV(f32w, float, 16, REVI_WIDE)
#endif

void revi_halfconv_forward_f32 FORWARD_PARAMETERS(float)
{
#ifdef REVI_WIDE
    if (graph->width % 16 == 0 && revi_has_wide()) {
        forward_f32w(FORWARD_ARGUMENTS);
        return;
    }
#endif
    forward_f32(FORWARD_ARGUMENTS);
}

void revi_halfconv_backward_f32 BACKWARD_PARAMETERS(float)
{
#ifdef REVI_WIDE
    if (graph->width % 16 == 0 && revi_has_wide()) {
        backward_f32w(BACKWARD_ARGUMENTS);
        return;
    }
#endif
    backward_f32(BACKWARD_ARGUMENTS);
}

void revi_halfconv_forward_f64 FORWARD_PARAMETERS(double)
{
    forward_f64(FORWARD_ARGUMENTS);
}

void revi_halfconv_backward_f64 BACKWARD_PARAMETERS(double)
{
    backward_f64(BACKWARD_ARGUMENTS);
}

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
