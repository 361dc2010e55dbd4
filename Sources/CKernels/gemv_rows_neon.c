#if defined(__aarch64__)
#define QK_VARIANT(name) qk_##name##_neon
#define QK_DOT_PRODUCT 0
#include "gemv_rows_neon.inc"
#endif
