/* Body of the half-convolution for one type; included by halfconv.c once per type with REAL, VEC, HALF, MASK, LANES, NAME
 * and ROOT defined, and undefines them.
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

/* The value where the condition holds, 0 elsewhere (C, unlike C++, has no `?:` on vectors). */
REVI_INLINE VEC NAME(where)(MASK condition, VEC value)
{
    return (VEC)((MASK)value & condition);
}

REVI_INLINE REAL NAME(total)(VEC value)
{
    HALF low, high;
    memcpy(&low, &value, sizeof(low));
    memcpy(&high, (const char *)&value + sizeof(low), sizeof(high));
    low += high;
    REAL sum = 0;
    for (int lane = 0; lane < LANES / 2; lane += 2)
        sum += low[lane] + low[lane + 1];
    return sum;
}

/* x of one edge, and 1 / sqrt(mean(x^2) + epsilon) as the result. */
REVI_INLINE REAL NAME(gather)(VEC *x, const REAL *source, const VEC *base, REAL value, const REAL *edge, REAL epsilon,
                              int blocks)
{
    VEC squares = {0};
    for (int b = 0; b < blocks; ++b) {
        x[b] = NAME(load)(source + b * LANES) + base[b] + value * NAME(load)(edge + b * LANES);
        squares += x[b] * x[b];
    }
    return (REAL)1 / ROOT(NAME(total)(squares) / (REAL)(blocks * LANES) + epsilon);
}

REVI_INLINE void NAME(forward)(const revi_graph *graph, const REAL *values, const REAL *source, const REAL *target,
                               const REAL *edge, const REAL *gamma, const REAL *beta, REAL epsilon, REAL *sums, int blocks)
{
    const int64_t stride = (int64_t)blocks * LANES;
    const VEC zero = {0};
    VEC x[MAX_BLOCKS], base[MAX_BLOCKS], sum[MAX_BLOCKS];
    for (int64_t i = 0; i < graph->n_targets; ++i) {
        for (int b = 0; b < blocks; ++b) {
            base[b] = NAME(load)(target + i * stride + b * LANES);
            sum[b] = zero;
        }
        for (int64_t e = graph->offsets[i]; e < graph->offsets[i + 1]; ++e) {
            const REAL scale = NAME(gather)(x, source + graph->sources[e] * stride, base, values[e], edge, epsilon, blocks);
            for (int b = 0; b < blocks; ++b) {
                const VEC y = x[b] * scale * NAME(load)(gamma + b * LANES) + NAME(load)(beta + b * LANES);
                sum[b] += NAME(where)(y > zero, y);
            }
        }
        for (int b = 0; b < blocks; ++b)
            NAME(store)(sums + i * stride + b * LANES, sum[b]);
    }
}

REVI_INLINE void NAME(backward)(const revi_graph *graph, const REAL *values, const REAL *source, const REAL *target,
                                const REAL *edge, const REAL *gamma, const REAL *beta, REAL epsilon, const REAL *grad,
                                REAL *d_source, REAL *d_target, REAL *d_edge, REAL *d_gamma, REAL *d_beta, int blocks)
{
    const int64_t stride = (int64_t)blocks * LANES;
    const VEC zero = {0};
    VEC x[MAX_BLOCKS], g[MAX_BLOCKS], base[MAX_BLOCKS], upstream[MAX_BLOCKS], d_base[MAX_BLOCKS];
    VEC edge_sum[MAX_BLOCKS], gamma_sum[MAX_BLOCKS], beta_sum[MAX_BLOCKS];
    for (int b = 0; b < blocks; ++b)
        edge_sum[b] = gamma_sum[b] = beta_sum[b] = zero;
    memset(d_source, 0, (size_t)(graph->n_sources * stride) * sizeof(REAL));
    for (int64_t i = 0; i < graph->n_targets; ++i) {
        for (int b = 0; b < blocks; ++b) {
            base[b] = NAME(load)(target + i * stride + b * LANES);
            upstream[b] = NAME(load)(grad + i * stride + b * LANES);
            d_base[b] = zero;
        }
        for (int64_t e = graph->offsets[i]; e < graph->offsets[i + 1]; ++e) {
            const int64_t at = graph->sources[e] * stride;
            const REAL scale = NAME(gather)(x, source + at, base, values[e], edge, epsilon, blocks);
            VEC products = zero;
            for (int b = 0; b < blocks; ++b) {
                x[b] *= scale;
                const VEC weight = NAME(load)(gamma + b * LANES);
                const VEC y = x[b] * weight + NAME(load)(beta + b * LANES);
                const VEC through = NAME(where)(y > zero, upstream[b]);
                beta_sum[b] += through;
                gamma_sum[b] += through * x[b];
                g[b] = through * weight;
                products += g[b] * x[b];
            }
            /* Of the norm: dx = (g - x_normalised * mean(g * x_normalised)) * scale */
            const REAL slope = NAME(total)(products) / (REAL)(blocks * LANES);
            for (int b = 0; b < blocks; ++b) {
                const VEC dx = (g[b] - x[b] * slope) * scale;
                d_base[b] += dx;
                edge_sum[b] += values[e] * dx;
                NAME(store)(d_source + at + b * LANES, NAME(load)(d_source + at + b * LANES) + dx);
            }
        }
        for (int b = 0; b < blocks; ++b)
            NAME(store)(d_target + i * stride + b * LANES, d_base[b]);
    }
    for (int b = 0; b < blocks; ++b) {
        NAME(store)(d_edge + b * LANES, edge_sum[b]);
        NAME(store)(d_gamma + b * LANES, gamma_sum[b]);
        NAME(store)(d_beta + b * LANES, beta_sum[b]);
    }
}

#undef MAX_BLOCKS
#undef REAL
#undef VEC
#undef HALF
#undef MASK
#undef LANES
#undef NAME
#undef ROOT
