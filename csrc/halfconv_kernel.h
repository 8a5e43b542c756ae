/* Body of the half-convolution for one type; included by halfconv.c once per type with REAL, VEC, HALF, MASK,
 * MAGNITUDE, SIGN, LANES, NAME and ROOT defined, and undefines them.
 *
 * `blocks` is the number of vectors in a width. Where it is a compile-time constant (the widths people use) the loops over
 * blocks unroll, and everything of one edge stays in registers.
 */

#define MAX_BLOCKS (REVI_MAX_WIDTH / LANES)

REVI_INLINE VEC NAME(load)(const REAL *from)
{
    VEC value;
    memcpy(&value, from, sizeof(value));
    return value;
}

REVI_INLINE void NAME(store)(REAL *to, VEC value)
{
    memcpy(to, &value, sizeof(value));
}

/* ReLU without a comparison, which compilers take apart lane by lane where a vector is wider than the machine's:
 * y + |y| is 2 y or 0, exactly. NaN passes, as through any other ReLU. */
REVI_INLINE VEC NAME(positive)(VEC y)
{
    return (REAL)0.5 * (y + (VEC)((MASK)y & MAGNITUDE));
}

/* The value where y > 0, 0 elsewhere: 0 - y has its sign bit set for just these. */
REVI_INLINE VEC NAME(where_positive)(VEC y, VEC value)
{
    const VEC zero = {0};
    return (VEC)((MASK)value & ((MASK)(zero - y) >> SIGN));
}

REVI_INLINE REAL NAME(total)(VEC value)
{
    HALF low, high;
    memcpy(&low, &value, sizeof(low));
    memcpy(&high, (const char *)&value + sizeof(low), sizeof(high));
    low += high;
    REAL sum = low[0] + low[1];
    REVI_UNROLL for (int lane = 2; lane < LANES / 2; lane += 2)
        sum += low[lane] + low[lane + 1];
    return sum;
}

/* Edges at a time. The norm of an edge is a chain of slow steps (a sum across lanes, a root, a division); going through a
 * group of edges step by step lets the chains of the group overlap, and roots and divisions run on vectors. */
#define GROUP 8

/* x of `count` edges from `first` on, edge after edge, and 1 / sqrt(mean(x^2) + epsilon) of each in `scale` (GROUP). */
REVI_INLINE void NAME(gather)(const revi_graph *graph, const REAL *values, const REAL *source, const VEC *base,
                              const REAL *edge, REAL epsilon, int64_t first, int count, VEC *x, REAL *scale,
                              int blocks)
{
    const int64_t stride = (int64_t)blocks * LANES;
    for (int k = 0; k < GROUP; ++k)
        scale[k] = 0;
    for (int k = 0; k < count; ++k) {
        const REAL *from = source + graph->sources[first + k] * stride;
        const REAL value = values[first + k];
        VEC squares = {0};
        REVI_UNROLL for (int b = 0; b < blocks; ++b) {
            const VEC entry = NAME(load)(from + b * LANES) + base[b] + value * NAME(load)(edge + b * LANES);
            squares += entry * entry;
            x[k * blocks + b] = entry;
        }
        scale[k] = NAME(total)(squares);
    }
    for (int k = 0; k < GROUP; ++k)
        scale[k] = (REAL)1 / ROOT(scale[k] / (REAL)(blocks * LANES) + epsilon);
}

REVI_INLINE void NAME(forward)(const revi_graph *graph, const REAL *values, const REAL *source, const REAL *target,
                               const REAL *edge, const REAL *gamma, const REAL *beta, REAL epsilon, REAL *sums, int blocks)
{
    const int64_t stride = (int64_t)blocks * LANES;
    const VEC zero = {0};
    VEC x[GROUP * MAX_BLOCKS], base[MAX_BLOCKS], sum[MAX_BLOCKS];
    REAL scale[GROUP];
    for (int64_t i = 0; i < graph->n_targets; ++i) {
        const int64_t end = graph->offsets[i + 1];
        REVI_UNROLL for (int b = 0; b < blocks; ++b) {
            base[b] = NAME(load)(target + i * stride + b * LANES);
            sum[b] = zero;
        }
        for (int64_t first = graph->offsets[i]; first < end; first += GROUP) {
            const int count = end - first < GROUP ? (int)(end - first) : GROUP;
            NAME(gather)(graph, values, source, base, edge, epsilon, first, count, x, scale, blocks);
            for (int k = 0; k < count; ++k) {
                REVI_UNROLL for (int b = 0; b < blocks; ++b) {
                    const VEC y = x[k * blocks + b] * scale[k] * NAME(load)(gamma + b * LANES) + NAME(load)(beta + b * LANES);
                    sum[b] += NAME(positive)(y);
                }
            }
        }
        REVI_UNROLL for (int b = 0; b < blocks; ++b)
            NAME(store)(sums + i * stride + b * LANES, sum[b]);
    }
}

REVI_INLINE void NAME(backward)(const revi_graph *graph, const REAL *values, const REAL *source, const REAL *target,
                                const REAL *edge, const REAL *gamma, const REAL *beta, REAL epsilon, const REAL *grad,
                                REAL *d_source, REAL *d_target, REAL *d_edge, REAL *d_gamma, REAL *d_beta, int blocks)
{
    const int64_t stride = (int64_t)blocks * LANES;
    const VEC zero = {0};
    VEC x[GROUP * MAX_BLOCKS], g[GROUP * MAX_BLOCKS], base[MAX_BLOCKS], upstream[MAX_BLOCKS], d_base[MAX_BLOCKS];
    VEC edge_sum[MAX_BLOCKS], gamma_sum[MAX_BLOCKS], beta_sum[MAX_BLOCKS];
    REAL scale[GROUP], slope[GROUP];
    REVI_UNROLL for (int b = 0; b < blocks; ++b)
        edge_sum[b] = gamma_sum[b] = beta_sum[b] = zero;
    memset(d_source, 0, (size_t)(graph->n_sources * stride) * sizeof(REAL));
    for (int64_t i = 0; i < graph->n_targets; ++i) {
        const int64_t end = graph->offsets[i + 1];
        REVI_UNROLL for (int b = 0; b < blocks; ++b) {
            base[b] = NAME(load)(target + i * stride + b * LANES);
            upstream[b] = NAME(load)(grad + i * stride + b * LANES);
            d_base[b] = zero;
        }
        for (int64_t first = graph->offsets[i]; first < end; first += GROUP) {
            const int count = end - first < GROUP ? (int)(end - first) : GROUP;
            NAME(gather)(graph, values, source, base, edge, epsilon, first, count, x, scale, blocks);
            for (int k = 0; k < count; ++k) {
                VEC products = zero;
                REVI_UNROLL for (int b = 0; b < blocks; ++b) {
                    const VEC normal = x[k * blocks + b] * scale[k];
                    const VEC weight = NAME(load)(gamma + b * LANES);
                    const VEC y = normal * weight + NAME(load)(beta + b * LANES);
                    const VEC through = NAME(where_positive)(y, upstream[b]);
                    beta_sum[b] += through;
                    gamma_sum[b] += through * normal;
                    products += through * weight * normal;
                    g[k * blocks + b] = through * weight;
                    x[k * blocks + b] = normal;
                }
                slope[k] = NAME(total)(products) / (REAL)(blocks * LANES);
            }
            /* Of the norm: dx = (g - x_normalised * mean(g * x_normalised)) * scale */
            for (int k = 0; k < count; ++k) {
                REAL *to = d_source + graph->sources[first + k] * stride;
                const REAL value = values[first + k];
                REVI_UNROLL for (int b = 0; b < blocks; ++b) {
                    const VEC dx = (g[k * blocks + b] - x[k * blocks + b] * slope[k]) * scale[k];
                    d_base[b] += dx;
                    edge_sum[b] += value * dx;
                    NAME(store)(to + b * LANES, NAME(load)(to + b * LANES) + dx);
                }
            }
        }
        REVI_UNROLL for (int b = 0; b < blocks; ++b)
            NAME(store)(d_target + i * stride + b * LANES, d_base[b]);
    }
    REVI_UNROLL for (int b = 0; b < blocks; ++b) {
        NAME(store)(d_edge + b * LANES, edge_sum[b]);
        NAME(store)(d_gamma + b * LANES, gamma_sum[b]);
        NAME(store)(d_beta + b * LANES, beta_sum[b]);
    }
}

#undef GROUP
#undef MAX_BLOCKS
#undef REAL
#undef VEC
#undef HALF
#undef MASK
#undef MAGNITUDE
#undef SIGN
#undef LANES
#undef NAME
#undef ROOT
