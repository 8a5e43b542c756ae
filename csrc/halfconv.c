#include "halfconv.h"

#include <math.h>
#include <stddef.h>

#include "vector.h"

#define REAL float
#define LANES 4
#define NAME(name) f32x4_##name
#define ROOT sqrtf
#define INLINE REVI_INLINE
#include "halfconv_kernel.h"

#define REAL double
#define LANES 2
#define NAME(name) f64x2_##name
#define ROOT sqrt
#define INLINE REVI_INLINE
#include "halfconv_kernel.h"

#ifdef REVI_X86
#define REAL float
#define LANES 8
#define NAME(name) f32x8_##name
#define ROOT sqrtf
#define INLINE REVI_X8_INLINE
#include "halfconv_kernel.h"

#define REAL float
#define LANES 16
#define NAME(name) f32x16_##name
#define ROOT sqrtf
#define INLINE REVI_X16_INLINE
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

HALFCONV(f32x4, float, 4, )
HALFCONV(f64x2, double, 2, )
#ifdef REVI_X86
HALFCONV(f32x8, float, 8, REVI_X8)
HALFCONV(f32x16, float, 16, REVI_X16)
#endif

/* By level, see vector.h. */
static void (*const forwards[]) FORWARD_PARAMETERS(float) = {
    forward_f32x4,
#ifdef REVI_X86
    forward_f32x8, forward_f32x16,
#endif
};
static void (*const backwards[]) BACKWARD_PARAMETERS(float) = {
    backward_f32x4,
#ifdef REVI_X86
    backward_f32x8, backward_f32x16,
#endif
};

static int level(const revi_graph *graph)
{
    const int best = revi_vector_level();
    return best == 2 && graph->width % 16 ? 1 : best; /* all widths are multiples of 8 */
}

void revi_halfconv_forward_f32 FORWARD_PARAMETERS(float)
{
    forwards[level(graph)](FORWARD_ARGUMENTS);
}

void revi_halfconv_backward_f32 BACKWARD_PARAMETERS(float)
{
    backwards[level(graph)](BACKWARD_ARGUMENTS);
}

void revi_halfconv_forward_f64 FORWARD_PARAMETERS(double)
{
    forward_f64x2(FORWARD_ARGUMENTS);
}

void revi_halfconv_backward_f64 BACKWARD_PARAMETERS(double)
{
    backward_f64x2(BACKWARD_ARGUMENTS);
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

#define TEXT(number) #number
#define TEXT_OF(number) TEXT(number)

const char *revi_graph_problem(const revi_graph *graph, int64_t edges)
{
    if (graph->width <= 0 || graph->width % 8 || graph->width > REVI_MAX_WIDTH)
        return "the width must be a multiple of 8, at most " TEXT_OF(REVI_MAX_WIDTH);
    if (graph->offsets[0] != 0 || graph->offsets[graph->n_targets] != edges || offsets_fall(graph->offsets, graph->n_targets))
        return "offsets must run from 0 to the number of edges and never fall";
    if (edges && largest(graph->sources, edges) >= (uint64_t)graph->n_sources)
        return "an edge comes from a source that does not exist";
    return NULL;
}
