/* Body of a dense layer for one kind of float vectors (vector.h); included by dense.c once per kind with LANES, NAME,
 * TARGET (its functions' attribute) and TILE_ROWS(n_vectors) defined, and undefines them. */

#define VEC NAME(vector)
#define INLINE REVI_INLINE TARGET

/* `n_rows` rows and `n_vectors` vectors of outputs at a time. */
INLINE void NAME(tile)(const revi_layer *layer, int column, const float *x, int64_t x_stride, float *y, int64_t y_stride,
                       int relu, int n_rows, int n_vectors)
{
    VEC sums[TILE_ROWS(1)][4], weights[4];
    REVI_UNROLL for (int v = 0; v < n_vectors; ++v) {
        weights[v] = NAME(load)(layer->bias + column + v * LANES);
        REVI_UNROLL for (int r = 0; r < n_rows; ++r)
            sums[r][v] = weights[v];
    }
    for (int k = 0; k < layer->in; ++k) {
        const float *row = layer->weight + (int64_t)k * layer->out + column;
        REVI_UNROLL for (int v = 0; v < n_vectors; ++v)
            weights[v] = NAME(load)(row + v * LANES);
        REVI_UNROLL for (int r = 0; r < n_rows; ++r)
            REVI_UNROLL for (int v = 0; v < n_vectors; ++v)
                sums[r][v] += x[r * x_stride + k] * weights[v];
    }
    REVI_UNROLL for (int r = 0; r < n_rows; ++r)
        REVI_UNROLL for (int v = 0; v < n_vectors; ++v)
            NAME(store)(y + r * y_stride + column + v * LANES, relu ? NAME(positive)(sums[r][v]) : sums[r][v]);
}

INLINE void NAME(columns)(const revi_layer *layer, int column, int64_t rows, const float *x, int64_t x_stride, float *y,
                          int64_t y_stride, int relu, int n_vectors)
{
    const int n_rows = TILE_ROWS(n_vectors);
    int64_t i = 0;
    for (; i + n_rows <= rows; i += n_rows)
        NAME(tile)(layer, column, x + i * x_stride, x_stride, y + i * y_stride, y_stride, relu, n_rows, n_vectors);
    for (; i < rows; ++i)
        NAME(tile)(layer, column, x + i * x_stride, x_stride, y + i * y_stride, y_stride, relu, 1, n_vectors);
}

/* The layer's outputs from `column` on, as far as whole vectors reach; returns the column behind them. */
TARGET static int NAME(dense)(const revi_layer *layer, int column, int64_t rows, const float *x, int64_t x_stride, float *y,
                              int64_t y_stride, int relu)
{
    for (; column + 4 * LANES <= layer->out; column += 4 * LANES)
        NAME(columns)(layer, column, rows, x, x_stride, y, y_stride, relu, 4);
    for (; column + 2 * LANES <= layer->out; column += 2 * LANES)
        NAME(columns)(layer, column, rows, x, x_stride, y, y_stride, relu, 2);
    for (; column + LANES <= layer->out; column += LANES)
        NAME(columns)(layer, column, rows, x, x_stride, y, y_stride, relu, 1);
    return column;
}

#undef VEC
#undef LANES
#undef NAME
#undef INLINE
#undef TARGET
#undef TILE_ROWS
