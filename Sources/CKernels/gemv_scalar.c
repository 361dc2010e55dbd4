#define QK_VARIANT(name) qk_##name##_scalar
#include "gemv.inc"
