#include "avx512.h"

#if defined(__x86_64__)
#pragma clang attribute push(__attribute__((target(QK_AVX512_TARGET ",fma"))), apply_to = function)
#define QK_VARIANT(name) qk_##name##_avx512
#define QK_INTEGERS_HAVE_INTRINSICS
#include "gemv.inc"
#pragma clang attribute pop
#endif
