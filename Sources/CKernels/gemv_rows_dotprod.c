#if defined(__aarch64__)
#include <arm_neon.h>
#pragma clang attribute push(__attribute__((target("dotprod"))), apply_to = function)
#define QK_VARIANT(name) qk_##name##_dotprod
#define QK_DOT_PRODUCT 1
#include "gemv_rows_neon.inc"
#pragma clang attribute pop
#endif
