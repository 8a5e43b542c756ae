/* Short vectors of GCC and Clang, which compile on any machine, in kinds that kernels are written for once:
 *
 *     f32x4   4 floats, f64x2 2 doubles: any machine (SSE2 on x86-64, NEON on aarch64)
 *     f32x8   8 floats: AVX2
 *     f32x16  16 floats: AVX-512
 *
 * A kind K has K_vector, K_load, K_store, K_positive, K_where_positive, K_total and K_totals. Which of them a processor can
 * run is asked at run time, see revi_vector_level. Compilers take vectors wider than the machine's apart so badly that each
 * width needs a kind of its own: with 8 floats on 16-byte registers GCC 12 is 3 to 8 times slower than with 4.
 */
#ifndef REVIBRANCH_VECTOR_H
#define REVIBRANCH_VECTOR_H

#include <stdint.h>
#include <string.h>

/* Functions marked REVI_DISPATCH are plain loops that the compiler puts on vectors by itself: compiled several times on
 * x86-64 and chosen at load time (GNU ifunc). GCC knows these levels from 12 on; Clang's resolvers were seen to choose the
 * default whatever the processor (Clang 14). The resolvers run before the sanitizers' run-time is up, hence no clones in
 * such builds. */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__)
#if __GNUC__ >= 12
#define REVI_DISPATCH __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#endif
#endif
#ifndef REVI_DISPATCH
#define REVI_DISPATCH
#endif

/* The best kind that the processor runs: 0 for f32x4, 1 for f32x8, 2 for f32x16. The environment variable
 * REVIBRANCH_VECTORS may ask for less: "x4", "x8" or "x16". */
int revi_vector_level(void);

/* Arrays of vectors reach registers only where every loop over them is unrolled. */
#define REVI_UNROLL _Pragma("GCC unroll 16")

#define REVI_INLINE static inline __attribute__((always_inline))

/* How many vectors K_totals sums at a time. */
#define REVI_TOTALS 8

#if defined(__clang__)
#define REVI_SHUFFLE(mask, a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define REVI_SHUFFLE(mask, a, b, ...) __builtin_shuffle(a, b, (mask){__VA_ARGS__})
#endif

/* What can be said alike for all kinds; `positive` is ReLU of y. A value where y > 0, 0 elsewhere, comes without a comparison,
 * which compilers take apart lane by lane in some kinds: 0 - y has its sign bit set for just these. */
#define REVI_KIND(kind, real, integer, lanes, positive, INLINE)                                                      \
    typedef real kind##_vector __attribute__((vector_size(lanes * sizeof(real))));                                   \
    typedef integer kind##_mask __attribute__((vector_size(lanes * sizeof(real))));                                  \
    INLINE kind##_vector kind##_load(const real *from)                                                               \
    {                                                                                                                \
        kind##_vector value;                                                                                         \
        memcpy(&value, from, sizeof(value));                                                                         \
        return value;                                                                                                \
    }                                                                                                                \
    INLINE void kind##_store(real *to, kind##_vector value)                                                          \
    {                                                                                                                \
        memcpy(to, &value, sizeof(value));                                                                           \
    }                                                                                                                \
    INLINE kind##_vector kind##_positive(kind##_vector y)                                                            \
    {                                                                                                                \
        return positive;                                                                                             \
    }                                                                                                                \
    INLINE kind##_vector kind##_where_positive(kind##_vector y, kind##_vector value)                                 \
    {                                                                                                                \
        const kind##_vector zero = {0};                                                                              \
        return (kind##_vector)((kind##_mask)value & ((kind##_mask)(zero - y) >> (8 * sizeof(real) - 1)));            \
    }

/* The sum over the lanes of a vector (K_total), and those of REVI_TOTALS vectors at once (K_totals): there halves are added
 * vector by vector, as in a transposition. */

/* y + |y| is 2 y or 0, exactly, for y below half the largest number. NaN passes, as through any other ReLU. */
REVI_KIND(f32x4, float, int32_t, 4, 0.5f * (y + (f32x4_vector)((f32x4_mask)y & 0x7fffffff)), REVI_INLINE)

REVI_INLINE float f32x4_total(f32x4_vector value)
{
    return (value[0] + value[1]) + (value[2] + value[3]);
}

REVI_INLINE void f32x4_totals(const f32x4_vector *values, float *totals)
{
    f32x4_vector pairs[4];
    REVI_UNROLL for (int k = 0; k < 4; ++k) {
        const f32x4_vector a = values[2 * k], b = values[2 * k + 1];
        pairs[k] = REVI_SHUFFLE(f32x4_mask, a, b, 0, 4, 1, 5) + REVI_SHUFFLE(f32x4_mask, a, b, 2, 6, 3, 7);
    }
    REVI_UNROLL for (int k = 0; k < 2; ++k) {
        const f32x4_vector a = pairs[2 * k], b = pairs[2 * k + 1];
        f32x4_store(totals + 4 * k, REVI_SHUFFLE(f32x4_mask, a, b, 0, 1, 4, 5) + REVI_SHUFFLE(f32x4_mask, a, b, 2, 3, 6, 7));
    }
}

REVI_KIND(f64x2, double, int64_t, 2, 0.5 * (y + (f64x2_vector)((f64x2_mask)y & 0x7fffffffffffffff)), REVI_INLINE)

REVI_INLINE double f64x2_total(f64x2_vector value)
{
    return value[0] + value[1];
}

REVI_INLINE void f64x2_totals(const f64x2_vector *values, double *totals)
{
    REVI_UNROLL for (int k = 0; k < REVI_TOTALS; ++k)
        totals[k] = f64x2_total(values[k]);
}

#if defined(__x86_64__) && defined(__GNUC__)
#define REVI_X86

#include <immintrin.h>

#define REVI_X8 __attribute__((target("avx2,fma")))
#define REVI_X8_INLINE REVI_INLINE REVI_X8
/* Of a number and a NaN these maxima are the second. */
REVI_KIND(f32x8, float, int32_t, 8, (f32x8_vector)_mm256_max_ps(_mm256_setzero_ps(), (__m256)y), REVI_X8_INLINE)

REVI_X8_INLINE float f32x8_total(f32x8_vector value)
{
    return ((value[0] + value[4]) + (value[1] + value[5])) + ((value[2] + value[6]) + (value[3] + value[7]));
}

REVI_X8_INLINE void f32x8_totals(const f32x8_vector *values, float *totals)
{
    f32x8_vector pairs[4], fours[2];
    REVI_UNROLL for (int k = 0; k < 4; ++k) {
        const f32x8_vector a = values[2 * k], b = values[2 * k + 1];
        pairs[k] = REVI_SHUFFLE(f32x8_mask, a, b, 0, 8, 1, 9, 4, 12, 5, 13) +
                   REVI_SHUFFLE(f32x8_mask, a, b, 2, 10, 3, 11, 6, 14, 7, 15);
    }
    REVI_UNROLL for (int k = 0; k < 2; ++k) {
        const f32x8_vector a = pairs[2 * k], b = pairs[2 * k + 1];
        fours[k] = REVI_SHUFFLE(f32x8_mask, a, b, 0, 1, 8, 9, 4, 5, 12, 13) +
                   REVI_SHUFFLE(f32x8_mask, a, b, 2, 3, 10, 11, 6, 7, 14, 15);
    }
    f32x8_store(totals, REVI_SHUFFLE(f32x8_mask, fours[0], fours[1], 0, 1, 2, 3, 8, 9, 10, 11) +
                            REVI_SHUFFLE(f32x8_mask, fours[0], fours[1], 4, 5, 6, 7, 12, 13, 14, 15));
}

#define REVI_X16 __attribute__((target("avx2,fma,avx512f,avx512dq")))
#define REVI_X16_INLINE REVI_INLINE REVI_X16
REVI_KIND(f32x16, float, int32_t, 16, (f32x16_vector)_mm512_max_ps(_mm512_setzero_ps(), (__m512)y), REVI_X16_INLINE)

REVI_X16_INLINE float f32x16_total(f32x16_vector value)
{
    return _mm512_reduce_add_ps((__m512)value);
}

REVI_X16_INLINE void f32x16_totals(const f32x16_vector *values, float *totals)
{
    f32x8_vector halves[REVI_TOTALS];
    REVI_UNROLL for (int k = 0; k < REVI_TOTALS; ++k) {
        const __m512 value = (__m512)values[k];
        halves[k] = (f32x8_vector)_mm512_castps512_ps256(value) + (f32x8_vector)_mm512_extractf32x8_ps(value, 1);
    }
    f32x8_totals(halves, totals);
}
#endif

#endif
