#if defined(__aarch64__)
#include <arm_neon.h>
#pragma clang attribute push(__attribute__((target("dotprod,i8mm"))), apply_to = function)
#define QK_VARIANT(name) qk_##name##_i8mm
#define QK_DOT_PRODUCT 2
#include "gemv_rows_neon.inc"
#pragma clang attribute pop
#endif
