#if defined(__x86_64__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#define QK_VARIANT(name) qk_##name##_avx2
#define QK_INTEGERS_HAVE_INTRINSICS
#include "gemv.inc"
#pragma clang attribute pop
#endif
