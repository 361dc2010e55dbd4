#define _GNU_SOURCE
#include "cpu.h"

#include <sched.h>
#include <stdatomic.h>

static int detect(void) {
#if defined(__x86_64__)
    __builtin_cpu_init(); // also checks that the operating system saves the wide registers
    if (!(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c")))
        return QK_ISA_SCALAR;
#ifdef QK_EMULATES_AVX512
    return QK_ISA_AVX512_BF16;
#endif
    if (!(__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
          __builtin_cpu_supports("avx512vl")))
        return QK_ISA_AVX2;
    if (!(__builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vbmi")))
        return QK_ISA_AVX512;
    return QK_ISA_AVX512_BF16;
#else
    return QK_ISA_SCALAR;
#endif
}

// -1: not yet found. Finding it twice gives the same answer, so a relaxed race is harmless.
static atomic_int detected = -1;
static atomic_int limit = QK_ISA_AVX512_BF16;

int qk_cpu_isa(void) {
    int isa = atomic_load_explicit(&detected, memory_order_relaxed);
    if (isa < 0) {
        isa = detect();
        atomic_store_explicit(&detected, isa, memory_order_relaxed);
    }
    return isa;
}

int qk_isa(void) {
    int isa = qk_cpu_isa(), cap = atomic_load_explicit(&limit, memory_order_relaxed);
    return isa < cap ? isa : cap;
}

void qk_limit_isa(int isa) {
    atomic_store_explicit(&limit, isa, memory_order_relaxed);
}

int qk_processor_count(void) {
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 0;
}
