#include "vector.h"

#include <stdlib.h>

static int best(void)
{
#ifdef REVI_X86
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
        return 0;
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") ? 2 : 1;
#else
    return 0;
#endif
}

int revi_vector_level(void)
{
    static const char *const names[] = {"x4", "x8", "x16"};
    static int known = -1; /* Threads that ask at once come to the same answer. */
    int level = __atomic_load_n(&known, __ATOMIC_RELAXED);
    if (level < 0) {
        const char *wanted = getenv("REVIBRANCH_VECTORS");
        level = best();
        for (int lower = 0; wanted != NULL && lower < level; ++lower)
            if (strcmp(wanted, names[lower]) == 0)
                level = lower;
        __atomic_store_n(&known, level, __ATOMIC_RELAXED);
    }
    return level;
}
