#define _GNU_SOURCE
#include "CMemory.h"

#include <stdlib.h>
#include <sys/mman.h>

int qm_reserve_spent = 0;

static void *reserve = NULL;

static void *map(size_t byte_count) {
    void *memory = mmap(NULL, byte_count, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

int qm_reserve_hold(void) {
    if (__atomic_load_n(&reserve, __ATOMIC_ACQUIRE)) return 1;
    void *memory = map(QM_RESERVE_SIZE);
    if (!memory) return 0;
    void *none = NULL;
    __atomic_store_n(&qm_reserve_spent, 0, __ATOMIC_RELAXED);
    if (!__atomic_compare_exchange_n(&reserve, &none, memory, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        munmap(memory, QM_RESERVE_SIZE);  // another thread was faster
    return 1;
}

int qm_is_available(size_t byte_count) {
    void *memory = map(byte_count);
    if (memory) munmap(memory, byte_count);
    return memory != NULL;
}

/// Gives up the reserve for an allocation that was refused; 0: that would not help, or it is gone already.
static int spend(size_t byte_count) {
    if (byte_count > QM_RESERVE_SIZE / 4) return 0;
    void *memory = __atomic_exchange_n(&reserve, NULL, __ATOMIC_ACQ_REL);
    if (!memory) return 0;
    __atomic_store_n(&qm_reserve_spent, 1, __ATOMIC_RELAXED);
    munmap(memory, QM_RESERVE_SIZE);
    return 1;
}

#if defined(__ELF__)
// What the linker puts in the place of malloc and its relatives where it is told --wrap, and what they are then called.
// Where it is not told so (tests, Swift packages) nobody calls these.
#define REAL(type, name, parameters)                                                                                      \
    extern type __real_##name parameters __attribute__((weak));                                                           \
    type __wrap_##name parameters;                                                                                        \
    type __wrap_##name parameters

REAL(void *, malloc, (size_t size)) {
    void *memory = __real_malloc(size);
    return memory || !spend(size) ? memory : __real_malloc(size);
}

REAL(void *, calloc, (size_t count, size_t size)) {
    size_t total;
    void *memory = __real_calloc(count, size);
    if (memory || __builtin_mul_overflow(count, size, &total) || !spend(total)) return memory;
    return __real_calloc(count, size);
}

REAL(void *, realloc, (void *old, size_t size)) {
    void *memory = __real_realloc(old, size);
    return memory || size == 0 || !spend(size) ? memory : __real_realloc(old, size);
}

REAL(void *, aligned_alloc, (size_t alignment, size_t size)) {
    void *memory = __real_aligned_alloc(alignment, size);
    return memory || !spend(size) ? memory : __real_aligned_alloc(alignment, size);
}

REAL(int, posix_memalign, (void **out, size_t alignment, size_t size)) {
    int error = __real_posix_memalign(out, alignment, size);
    return !error || !spend(size) ? error : __real_posix_memalign(out, alignment, size);
}

// C++'s operator new, which Swift's runtime uses too: it throws where malloc returns NULL, and nobody catches that.
REAL(void *, _Znwm, (size_t size)) {
    void *memory = __wrap_malloc(size ? size : 1);
    return memory ? memory : __real__Znwm(size);
}
#endif
