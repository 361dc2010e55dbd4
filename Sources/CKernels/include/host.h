// What belongs to the host's threads: floating-point environment and stack.
#ifndef QWENSFT_CKERNELS_HOST_H
#define QWENSFT_CKERNELS_HOST_H

#include <fenv.h>
#include <stdint.h>

/// A thread's floating-point environment: rounding, denormals, which exceptions trap, and which have occurred.
typedef struct {
#if defined(__x86_64__)
    uint32_t mxcsr;
    uint16_t x87_control;
#else
    fenv_t environment;
#endif
} qk_floating_point;

/// Gives this thread the default environment, in which nothing traps, and returns the one it had.
qk_floating_point qk_take_floating_point(void);

/// Puts an environment back.
void qk_restore_floating_point(qk_floating_point environment);

/// Where this thread's stack stands now. Calls further down have lower addresses.
uintptr_t qk_stack_position(void);

/// Calls `function` some 4 KiB further down the stack.
void qk_call_further_down(void (*function)(void *context), void *context);

/// Whether both addresses lie in the stack that the system gave this thread: 0 also where the thread runs on another one.
int qk_is_on_thread_stack(uintptr_t a, uintptr_t b);

#endif
