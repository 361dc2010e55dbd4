#define _GNU_SOURCE
#include "host.h"

#include <pthread.h>
#include <stddef.h>

#if defined(__x86_64__)
#include <xmmintrin.h>

// fegetenv and fesetenv also save and load the x87 registers' state, which takes a hundred times as long.
qk_floating_point qk_take_floating_point(void) {
    qk_floating_point old = {.mxcsr = _mm_getcsr()};
    __asm__ volatile("fnstcw %0" : "=m"(old.x87_control));
    static const uint16_t usual = 0x37F;
    _mm_setcsr(0x1F80);
    if (old.x87_control != usual) __asm__ volatile("fldcw %0" : : "m"(usual));
    return old;
}

void qk_restore_floating_point(qk_floating_point environment) {
    uint16_t now;
    __asm__ volatile("fnstcw %0" : "=m"(now));
    _mm_setcsr(environment.mxcsr);
    if (environment.x87_control != now) __asm__ volatile("fldcw %0" : : "m"(environment.x87_control));
}
#else
qk_floating_point qk_take_floating_point(void) {
    qk_floating_point old;
    fegetenv(&old.environment);
    fesetenv(FE_DFL_ENV);
    return old;
}

void qk_restore_floating_point(qk_floating_point environment) {
    fesetenv(&environment.environment);
}
#endif

__attribute__((noinline)) uintptr_t qk_stack_position(void) {
    return (uintptr_t)__builtin_frame_address(0);
}

__attribute__((noinline)) void qk_call_further_down(void (*function)(void *context), void *context) {
    volatile char gap[4096];
    gap[0] = 0;
    function(context);
    gap[1] = 0; // so that the call above is not the last thing done, and the gap still there
}

#if defined(__APPLE__)
int qk_is_on_thread_stack(uintptr_t a, uintptr_t b) {
    const uintptr_t high = (uintptr_t)pthread_get_stackaddr_np(pthread_self());
    const uintptr_t low = high - pthread_get_stacksize_np(pthread_self());
    return a >= low && a < high && b >= low && b < high;
}
#else
int qk_is_on_thread_stack(uintptr_t a, uintptr_t b) {
    pthread_attr_t attributes;
    if (pthread_getattr_np(pthread_self(), &attributes) != 0) return 0;
    void *start = NULL;
    size_t size = 0;
    int status = pthread_attr_getstack(&attributes, &start, &size);
    pthread_attr_destroy(&attributes);
    uintptr_t low = (uintptr_t)start, high = low + size;
    return status == 0 && a >= low && a < high && b >= low && b < high;
}
#endif
