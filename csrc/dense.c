#include "dense.h"

#include "vector.h"

#define LANES 8

/* `n_rows` rows and `n_vectors` vectors of outputs at a time: 3 x 4 accumulators fit the 16 registers of AVX2. */
REVI_INLINE void tile(const revi_layer *layer, int column, const float *x, int64_t x_stride, float *y, int64_t y_stride,
                      int relu, int n_rows, int n_vectors)
{
    revi_f32v sums[3][4], weights[4];
    REVI_UNROLL for (int v = 0; v < n_vectors; ++v) {
        memcpy(&weights[v], layer->bias + column + v * LANES, sizeof(revi_f32v));
        REVI_UNROLL for (int r = 0; r < n_rows; ++r)
            sums[r][v] = weights[v];
    }
    for (int k = 0; k < layer->in; ++k) {
        const float *row = layer->weight + (int64_t)k * layer->out + column;
        REVI_UNROLL for (int v = 0; v < n_vectors; ++v)
            memcpy(&weights[v], row + v * LANES, sizeof(revi_f32v));
        REVI_UNROLL for (int r = 0; r < n_rows; ++r)
            REVI_UNROLL for (int v = 0; v < n_vectors; ++v)
                sums[r][v] += x[r * x_stride + k] * weights[v];
    }
    REVI_UNROLL for (int r = 0; r < n_rows; ++r)
        REVI_UNROLL for (int v = 0; v < n_vectors; ++v) {
            if (relu) /* y + |y| is 2 y or 0, see halfconv_kernel.h */
                sums[r][v] = 0.5f * (sums[r][v] + (revi_f32v)((revi_i32v)sums[r][v] & 0x7fffffff));
            memcpy(y + r * y_stride + column + v * LANES, &sums[r][v], sizeof(revi_f32v));
        }
}

REVI_INLINE void columns(const revi_layer *layer, int column, int64_t rows, const float *x, int64_t x_stride, float *y,
                         int64_t y_stride, int relu, int n_vectors)
{
    int64_t i = 0;
    for (; i + 3 <= rows; i += 3)
        tile(layer, column, x + i * x_stride, x_stride, y + i * y_stride, y_stride, relu, 3, n_vectors);
    for (; i < rows; ++i)
        tile(layer, column, x + i * x_stride, x_stride, y + i * y_stride, y_stride, relu, 1, n_vectors);
}

REVI_DISPATCH void revi_dense(const revi_layer *layer, int64_t rows, const float *x, int64_t x_stride, float *y,
                              int64_t y_stride, int relu)
{
    int column = 0;
    for (; column + 4 * LANES <= layer->out; column += 4 * LANES)
        columns(layer, column, rows, x, x_stride, y, y_stride, relu, 4);
    for (; column + LANES <= layer->out; column += LANES)
        columns(layer, column, rows, x, x_stride, y, y_stride, relu, 1);
}
