/* Small dense layers over many rows: y = relu?(x W + b), with W in registers' reach.
 *
 * The products of a policy are tall and narrow (a thousand rows, 8 to 128 columns), where a general BLAS spends its time on
 * packing and threads. Bias and ReLU are applied before a result leaves its register.
 */
#ifndef REVIBRANCH_DENSE_H
#define REVIBRANCH_DENSE_H

#include <stdint.h>

typedef struct {
    int in;              /* columns of x that are read */
    int out;             /* columns of y that are written: a multiple of 8 */
    const float *weight; /* (in, out), row-major */
    const float *bias;   /* (out) */
} revi_layer;

/* Rows of x and y stand `x_stride` and `y_stride` floats apart; x and y do not overlap, unless no column of y is one that
 * the layer reads. */
void revi_dense(const revi_layer *layer, int64_t rows, const float *x, int64_t x_stride, float *y, int64_t y_stride,
                int relu);

#endif
