/* Eight floats, or four doubles, at a time: GCC's and Clang's vector types, which compile on any machine.
 *
 * Functions marked REVI_DISPATCH are compiled several times on x86-64 and chosen by the processor at load time (GNU
 * ifunc); elsewhere the compiler's baseline is taken (on aarch64 that is NEON).
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

/* A whole vector, its half for sums across it, and what a comparison of two vectors gives. */
typedef float revi_f32v __attribute__((vector_size(32)));
typedef float revi_f32h __attribute__((vector_size(16)));
typedef int32_t revi_i32v __attribute__((vector_size(32)));
typedef double revi_f64v __attribute__((vector_size(32)));
typedef double revi_f64h __attribute__((vector_size(16)));
typedef int64_t revi_i64v __attribute__((vector_size(32)));

#endif
