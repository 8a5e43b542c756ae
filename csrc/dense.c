#include "dense.h"

#include "vector.h"

/* 3 x 4 accumulators fit 16 registers, twice that the 32 of AVX-512. */
#define LANES 4
#define NAME(name) f32x4_##name
#define TARGET
#define TILE_ROWS(n_vectors) ((n_vectors) == 4 ? 3 : 6)
#include "dense_kernel.h"

#ifdef REVI_X86
#define LANES 8
#define NAME(name) f32x8_##name
#define TARGET REVI_X8
#define TILE_ROWS(n_vectors) ((n_vectors) == 4 ? 3 : 6)
#include "dense_kernel.h"

#define LANES 16
#define NAME(name) f32x16_##name
#define TARGET REVI_X16
#define TILE_ROWS(n_vectors) ((n_vectors) == 4 ? 6 : 8)
#include "dense_kernel.h"
#endif

void revi_dense(const revi_layer *layer, int64_t rows, const float *x, int64_t x_stride, float *y, int64_t y_stride,
                int relu)
{
    int column = 0; /* a kind leaves what its vectors are too wide for to the next one */
#ifdef REVI_X86
    const int level = revi_vector_level();
    if (level == 2)
        column = f32x16_dense(layer, column, rows, x, x_stride, y, y_stride, relu);
    if (level >= 1)
        column = f32x8_dense(layer, column, rows, x, x_stride, y, y_stride, relu);
#endif
    f32x4_dense(layer, column, rows, x, x_stride, y, y_stride, relu);
}
