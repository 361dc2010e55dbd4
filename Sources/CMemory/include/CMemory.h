#ifndef QWENSFT_CMEMORY_H
#define QWENSFT_CMEMORY_H

#include <stddef.h>

/// A stretch of address space that is held back for the moment when memory runs out.
///
/// Swift ends the process when an allocation of its runtime fails. In the shared library every such allocation goes through
/// `__wrap_malloc` and its relatives (the linker's --wrap), which give the reserve back to the system when memory is refused
/// and try once more. What is computed goes on in the reserve until it comes to a place that asks `qm_reserve_is_spent` and
/// fails in an orderly way. Large amounts are asked for in ways that can fail, and never come out of the reserve.

enum { QM_RESERVE_SIZE = 16 << 20 };

/// 0: nothing was refused since the reserve was last held; 1: it was given up. Read through `qm_reserve_is_spent`.
extern int qm_reserve_spent;

/// Holds the reserve, which must happen before work that may need it; 0 where memory for it cannot be had.
int qm_reserve_hold(void);

/// Whether the reserve was given up since it was last held.
static inline int qm_reserve_is_spent(void) {
    return __atomic_load_n(&qm_reserve_spent, __ATOMIC_RELAXED);
}

/// Whether the system would grant this many bytes now, all at once.
int qm_is_available(size_t byte_count);

#endif
