/* Short vectors of GCC and Clang, which compile on any machine, in three kinds that kernels are written for once:
 *
 *     f32   8 floats (4 where registers have 16 bytes)
 *     f64   4 doubles
 *     f32w  16 floats: AVX-512, chosen at run time (revi_has_wide)
 *
 * A kind K has K_vector, K_load, K_store, K_positive, K_where_positive, K_total and K_totals.
 *
 * Functions marked REVI_DISPATCH are compiled several times on x86-64 and chosen at load time (GNU ifunc); elsewhere the
 * compiler's baseline is taken (on aarch64 that is NEON).
 */
#ifndef REVIBRANCH_VECTOR_H
#define REVIBRANCH_VECTOR_H

#include <stdint.h>
#include <string.h>

/* ifunc resolvers run before the sanitizers' run-time is up, hence no clones in such builds. */
#if defined(__x86_64__) && defined(__gnu_linux__) && defined(__has_attribute) && !defined(__SANITIZE_ADDRESS__) && \
    !defined(REVI_NO_DISPATCH)
#if __has_attribute(target_clones)
#define REVI_DISPATCH __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#endif
#endif
#ifndef REVI_DISPATCH
#define REVI_DISPATCH
#endif

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

/* Of what can be said alike for all kinds. A value where y > 0, 0 elsewhere: without a comparison, which compilers take apart
 * lane by lane where a vector is wider than the machine's; 0 - y has its sign bit set for just these. */
#define REVI_KIND(kind, real, integer, bytes, INLINE)                                               \
    typedef real kind##_vector __attribute__((vector_size(bytes)));                                                  \
    typedef integer kind##_mask __attribute__((vector_size(bytes)));                                                 \
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
    INLINE kind##_vector kind##_where_positive(kind##_vector y, kind##_vector value)                                 \
    {                                                                                                                \
        const kind##_vector zero = {0};                                                                              \
        return (kind##_vector)((kind##_mask)value & ((kind##_mask)(zero - y) >> (8 * sizeof(real) - 1)));            \
    }

#if defined(__x86_64__)
#define REVI_F32_LANES 8
#else
#define REVI_F32_LANES 4
#endif
REVI_KIND(f32, float, int32_t, REVI_F32_LANES * 4, REVI_INLINE)
REVI_KIND(f64, double, int64_t, 32, REVI_INLINE)

/* ReLU, again without a comparison: y + |y| is 2 y or 0, exactly. NaN passes, as through any other ReLU. */
REVI_INLINE f32_vector f32_positive(f32_vector y)
{
    return 0.5f * (y + (f32_vector)((f32_mask)y & 0x7fffffff));
}

REVI_INLINE f64_vector f64_positive(f64_vector y)
{
    return 0.5 * (y + (f64_vector)((f64_mask)y & 0x7fffffffffffffff));
}

/* The sum over the lanes of a vector. */
REVI_INLINE float f32_total(f32_vector value)
{
#if REVI_F32_LANES == 8
    return ((value[0] + value[4]) + (value[1] + value[5])) + ((value[2] + value[6]) + (value[3] + value[7]));
#else
    return (value[0] + value[1]) + (value[2] + value[3]);
#endif
}

REVI_INLINE double f64_total(f64_vector value)
{
    return (value[0] + value[2]) + (value[1] + value[3]);
}

/* The totals of REVI_TOTALS vectors: halves are added vector by vector, as in a transposition. */
REVI_INLINE void f32_totals(const f32_vector *values, float *totals)
{
#if REVI_F32_LANES == 8
    f32_vector pairs[4], fours[2], all;
    REVI_UNROLL for (int k = 0; k < 4; ++k) {
        const f32_vector a = values[2 * k], b = values[2 * k + 1];
        pairs[k] = REVI_SHUFFLE(f32_mask, a, b, 0, 8, 1, 9, 4, 12, 5, 13) + REVI_SHUFFLE(f32_mask, a, b, 2, 10, 3, 11, 6, 14, 7, 15);
    }
    REVI_UNROLL for (int k = 0; k < 2; ++k) {
        const f32_vector a = pairs[2 * k], b = pairs[2 * k + 1];
        fours[k] = REVI_SHUFFLE(f32_mask, a, b, 0, 1, 8, 9, 4, 5, 12, 13) + REVI_SHUFFLE(f32_mask, a, b, 2, 3, 10, 11, 6, 7, 14, 15);
    }
    all = REVI_SHUFFLE(f32_mask, fours[0], fours[1], 0, 1, 2, 3, 8, 9, 10, 11) +
          REVI_SHUFFLE(f32_mask, fours[0], fours[1], 4, 5, 6, 7, 12, 13, 14, 15);
    f32_store(totals, all);
#else
    f32_vector pairs[4];
    REVI_UNROLL for (int k = 0; k < 4; ++k) {
        const f32_vector a = values[2 * k], b = values[2 * k + 1];
        pairs[k] = REVI_SHUFFLE(f32_mask, a, b, 0, 4, 1, 5) + REVI_SHUFFLE(f32_mask, a, b, 2, 6, 3, 7);
    }
    REVI_UNROLL for (int k = 0; k < 2; ++k) {
        const f32_vector a = pairs[2 * k], b = pairs[2 * k + 1];
        f32_store(totals + 4 * k, REVI_SHUFFLE(f32_mask, a, b, 0, 1, 4, 5) + REVI_SHUFFLE(f32_mask, a, b, 2, 3, 6, 7));
    }
#endif
}

REVI_INLINE void f64_totals(const f64_vector *values, double *totals)
{
    REVI_UNROLL for (int k = 0; k < REVI_TOTALS; ++k)
        totals[k] = f64_total(values[k]);
}

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>

/* Whether f32w may be used: the processor has AVX-512, and the environment does not say REVIBRANCH_AVX512=0. */
int revi_has_wide(void);

#define REVI_WIDE __attribute__((target("avx512f,avx512dq")))
#define REVI_WIDE_INLINE REVI_INLINE REVI_WIDE

REVI_KIND(f32w, float, int32_t, 64, REVI_WIDE_INLINE)

REVI_WIDE_INLINE f32w_vector f32w_positive(f32w_vector y)
{
    return (f32w_vector)_mm512_max_ps(_mm512_setzero_ps(), (__m512)y); /* of a NaN and a number it returns the second */
}

REVI_WIDE_INLINE f32_vector f32w_halves(f32w_vector value)
{
    return (f32_vector)_mm512_castps512_ps256((__m512)value) + (f32_vector)_mm512_extractf32x8_ps((__m512)value, 1);
}

REVI_WIDE_INLINE float f32w_total(f32w_vector value)
{
    return _mm512_reduce_add_ps((__m512)value);
}

REVI_WIDE_INLINE void f32w_totals(const f32w_vector *values, float *totals)
{
    f32_vector halves[REVI_TOTALS];
    REVI_UNROLL for (int k = 0; k < REVI_TOTALS; ++k)
        halves[k] = f32w_halves(values[k]);
    f32_totals(halves, totals);
}
#endif

#endif
