#if defined(__aarch64__)
#define QK_VARIANT(name) qk_##name##_neon
#define QK_INTEGERS_HAVE_INTRINSICS
#define QK_SUMS(m) (m == 1 ? 2 : 1) // 4 rows of x with two sums each would be all 32 registers
#include "gemv.inc"
#endif
