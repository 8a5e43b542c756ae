#include "dense.h"

#include "vector.h"

/* 3 x 4 accumulators fit the 16 registers of AVX2; twice that, and a quarter more, the 32 of AVX-512. */
#define LANES REVI_F32_LANES
#define NAME(name) f32_##name
#define INLINE REVI_INLINE
#define TILE_ROWS(n_vectors) ((n_vectors) == 4 ? 3 : 6)
#include "dense_kernel.h"

REVI_DISPATCH static int narrow(const revi_layer *layer, int column, int64_t rows, const float *x, int64_t x_stride,
                                float *y, int64_t y_stride, int relu)
{
    return f32_dense(layer, column, rows, x, x_stride, y, y_stride, relu);
}

#ifdef REVI_WIDE
#define LANES 16
#define NAME(name) f32w_##name
#define INLINE REVI_WIDE_INLINE
#define TILE_ROWS(n_vectors) ((n_vectors) == 4 ? 6 : 8)
#include "dense_kernel.h"

REVI_WIDE static int wide(const revi_layer *layer, int column, int64_t rows, const float *x, int64_t x_stride, float *y,
                          int64_t y_stride, int relu)
{
    return f32w_dense(layer, column, rows, x, x_stride, y, y_stride, relu);
}
#endif

void revi_dense(const revi_layer *layer, int64_t rows, const float *x, int64_t x_stride, float *y, int64_t y_stride,
                int relu)
{
    int column = 0;
#ifdef REVI_WIDE
    if (revi_has_wide())
        column = wide(layer, column, rows, x, x_stride, y, y_stride, relu);
#endif
    if (column < layer->out)
        narrow(layer, column, rows, x, x_stride, y, y_stride, relu);
}
