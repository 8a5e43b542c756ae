#include "vector.h"

#ifdef REVI_WIDE
#include <stdlib.h>

int revi_has_wide(void)
{
    static int known; /* 0: not asked yet. Threads that ask at once come to the same answer. */
    int answer = __atomic_load_n(&known, __ATOMIC_RELAXED);
    if (answer == 0) {
        const char *choice = getenv("REVIBRANCH_AVX512");
        const int wanted = choice == NULL || strcmp(choice, "0") != 0;
        __builtin_cpu_init();
        answer = wanted && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") ? 1 : -1;
        __atomic_store_n(&known, answer, __ATOMIC_RELAXED);
    }
    return answer > 0;
}
#endif
