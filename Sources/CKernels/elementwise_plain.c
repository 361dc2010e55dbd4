#define QK_VARIANT(name) qk_##name##_plain
#include "elementwise.inc"
