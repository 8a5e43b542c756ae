/* Body of the half-convolution for one kind of vectors (vector.h); included by halfconv.c once per kind with REAL, LANES,
 * NAME, ROOT and INLINE defined, and undefines them.
 *
 * `blocks` is the number of vectors in a width. Where it is a compile-time constant (the widths people use) the loops over
 * blocks unroll, and everything of one edge stays in registers.
 */

#define VEC NAME(vector)
#define MAX_BLOCKS (REVI_MAX_WIDTH / LANES)

/* Edges at a time. The norm of an edge is a chain of slow steps (a sum across lanes, a root, a division); going through a
 * group of edges step by step lets the chains of the group overlap, and sums, roots and divisions run on vectors. */
#define GROUP REVI_TOTALS

typedef struct {
    VEC edge[MAX_BLOCKS], gamma[MAX_BLOCKS], beta[MAX_BLOCKS];
    REAL epsilon;
} NAME(weights);

INLINE void NAME(take)(NAME(weights) *weights, const REAL *edge, const REAL *gamma, const REAL *beta, REAL epsilon, int blocks)
{
    REVI_UNROLL for (int b = 0; b < blocks; ++b) {
        weights->edge[b] = NAME(load)(edge + b * LANES);
        weights->gamma[b] = NAME(load)(gamma + b * LANES);
        weights->beta[b] = NAME(load)(beta + b * LANES);
    }
    weights->epsilon = epsilon;
}

INLINE void NAME(sums)(const VEC *values, REAL *sums, int count)
{
    if (count == GROUP)
        NAME(totals)(values, sums);
    else
        for (int k = 0; k < count; ++k)
            sums[k] = NAME(total)(values[k]);
}

/* x of `count` edges from `first` on (at most GROUP), edge after edge, and 1 / sqrt(mean(x^2) + epsilon) of each in `scale`. */
INLINE void NAME(gather)(const revi_graph *graph, const REAL *values, const REAL *source, const NAME(weights) *weights,
                         const VEC *base, int64_t first, int count, VEC *x, REAL *scale, int blocks)
{
    const int64_t stride = (int64_t)blocks * LANES;
    VEC squares[GROUP];
    for (int k = 0; k < count; ++k) {
        const REAL *from = source + graph->sources[first + k] * stride;
        const REAL value = values[first + k];
        VEC square = {0};
        REVI_UNROLL for (int b = 0; b < blocks; ++b) {
            const VEC entry = NAME(load)(from + b * LANES) + base[b] + value * weights->edge[b];
            square += entry * entry;
            x[k * blocks + b] = entry;
        }
        squares[k] = square;
    }
    NAME(sums)(squares, scale, count);
    for (int k = 0; k < count; ++k)
        scale[k] = (REAL)1 / ROOT(scale[k] / (REAL)(blocks * LANES) + weights->epsilon);
}

/* Adds the messages of a group of edges to `sum`. */
INLINE void NAME(add)(const revi_graph *graph, const REAL *values, const REAL *source, const NAME(weights) *weights,
                      const VEC *base, int64_t first, int count, VEC *sum, int blocks)
{
    VEC x[GROUP * MAX_BLOCKS];
    REAL scale[GROUP];
    NAME(gather)(graph, values, source, weights, base, first, count, x, scale, blocks);
    for (int k = 0; k < count; ++k)
        REVI_UNROLL for (int b = 0; b < blocks; ++b)
            sum[b] += NAME(positive)(x[k * blocks + b] * scale[k] * weights->gamma[b] + weights->beta[b]);
}

INLINE void NAME(forward)(const revi_graph *graph, const REAL *values, const REAL *source, const REAL *target,
                          const REAL *edge, const REAL *gamma, const REAL *beta, REAL epsilon, REAL *sums, int blocks)
{
    const int64_t stride = (int64_t)blocks * LANES;
    NAME(weights) weights;
    VEC base[MAX_BLOCKS], sum[MAX_BLOCKS];
    NAME(take)(&weights, edge, gamma, beta, epsilon, blocks);
    for (int64_t i = 0; i < graph->n_targets; ++i) {
        const int64_t end = graph->offsets[i + 1];
        int64_t first = graph->offsets[i];
        REVI_UNROLL for (int b = 0; b < blocks; ++b) {
            base[b] = NAME(load)(target + i * stride + b * LANES);
            sum[b] = (VEC){0};
        }
        for (; first + GROUP <= end; first += GROUP)
            NAME(add)(graph, values, source, &weights, base, first, GROUP, sum, blocks);
        if (first < end)
            NAME(add)(graph, values, source, &weights, base, first, (int)(end - first), sum, blocks);
        REVI_UNROLL for (int b = 0; b < blocks; ++b)
            NAME(store)(sums + i * stride + b * LANES, sum[b]);
    }
}

/* What the gradients of all edges add up to. */
typedef struct {
    VEC edge[MAX_BLOCKS], gamma[MAX_BLOCKS], beta[MAX_BLOCKS];
} NAME(gradients);

/* Adds the gradients that go through a group of edges: to the sources', to the target's (`d_base`) and to the weights'. */
INLINE void NAME(add_back)(const revi_graph *graph, const REAL *values, const REAL *source, const NAME(weights) *weights,
                           const VEC *base, int64_t first, int count, const VEC *upstream, REAL *d_source, VEC *d_base,
                           NAME(gradients) *gradients, int blocks)
{
    const int64_t stride = (int64_t)blocks * LANES;
    VEC x[GROUP * MAX_BLOCKS], g[GROUP * MAX_BLOCKS], products[GROUP];
    REAL scale[GROUP], slope[GROUP];
    NAME(gather)(graph, values, source, weights, base, first, count, x, scale, blocks);
    for (int k = 0; k < count; ++k) {
        VEC product = {0};
        REVI_UNROLL for (int b = 0; b < blocks; ++b) {
            const VEC normal = x[k * blocks + b] * scale[k], gamma = weights->gamma[b];
            const VEC through = NAME(where_positive)(normal * gamma + weights->beta[b], upstream[b]);
            gradients->beta[b] += through;
            gradients->gamma[b] += through * normal;
            product += through * gamma * normal;
            g[k * blocks + b] = through * gamma;
            x[k * blocks + b] = normal;
        }
        products[k] = product;
    }
    NAME(sums)(products, slope, count);
    /* Of the norm: dx = (g - x_normalised * mean(g * x_normalised)) * scale */
    for (int k = 0; k < count; ++k) {
        REAL *to = d_source + graph->sources[first + k] * stride;
        const REAL value = values[first + k], mean = slope[k] / (REAL)(blocks * LANES);
        REVI_UNROLL for (int b = 0; b < blocks; ++b) {
            const VEC dx = (g[k * blocks + b] - x[k * blocks + b] * mean) * scale[k];
            d_base[b] += dx;
            gradients->edge[b] += value * dx;
            NAME(store)(to + b * LANES, NAME(load)(to + b * LANES) + dx);
        }
    }
}

INLINE void NAME(backward)(const revi_graph *graph, const REAL *values, const REAL *source, const REAL *target,
                           const REAL *edge, const REAL *gamma, const REAL *beta, REAL epsilon, const REAL *grad,
                           REAL *d_source, REAL *d_target, REAL *d_edge, REAL *d_gamma, REAL *d_beta, int blocks)
{
    const int64_t stride = (int64_t)blocks * LANES;
    NAME(weights) weights;
    NAME(gradients) gradients;
    VEC base[MAX_BLOCKS], upstream[MAX_BLOCKS], d_base[MAX_BLOCKS];
    NAME(take)(&weights, edge, gamma, beta, epsilon, blocks);
    REVI_UNROLL for (int b = 0; b < blocks; ++b)
        gradients.edge[b] = gradients.gamma[b] = gradients.beta[b] = (VEC){0};
    memset(d_source, 0, (size_t)(graph->n_sources * stride) * sizeof(REAL));
    for (int64_t i = 0; i < graph->n_targets; ++i) {
        const int64_t end = graph->offsets[i + 1];
        int64_t first = graph->offsets[i];
        REVI_UNROLL for (int b = 0; b < blocks; ++b) {
            base[b] = NAME(load)(target + i * stride + b * LANES);
            upstream[b] = NAME(load)(grad + i * stride + b * LANES);
            d_base[b] = (VEC){0};
        }
        for (; first + GROUP <= end; first += GROUP)
            NAME(add_back)(graph, values, source, &weights, base, first, GROUP, upstream, d_source, d_base, &gradients, blocks);
        if (first < end)
            NAME(add_back)(graph, values, source, &weights, base, first, (int)(end - first), upstream, d_source, d_base,
                           &gradients, blocks);
        REVI_UNROLL for (int b = 0; b < blocks; ++b)
            NAME(store)(d_target + i * stride + b * LANES, d_base[b]);
    }
    REVI_UNROLL for (int b = 0; b < blocks; ++b) {
        NAME(store)(d_edge + b * LANES, gradients.edge[b]);
        NAME(store)(d_gamma + b * LANES, gradients.gamma[b]);
        NAME(store)(d_beta + b * LANES, gradients.beta[b]);
    }
}

#undef GROUP
#undef MAX_BLOCKS
#undef VEC
#undef REAL
#undef LANES
#undef NAME
#undef ROOT
#undef INLINE
