// Each public kernel: the variant for the instruction set in use.
#include "elementwise.h"
#include "cpu.h"

#define QK_DECLARE_SCALAR(type, name, parameters, arguments) type qk_##name##_scalar parameters;
QK_ELEMENTWISE_KERNELS(QK_DECLARE_SCALAR)

#if defined(__x86_64__)
#define QK_DECLARE_VECTOR(type, name, parameters, arguments) \
    type qk_##name##_avx2 parameters;                        \
    type qk_##name##_avx512 parameters;
QK_ELEMENTWISE_KERNELS(QK_DECLARE_VECTOR)

#define QK_DISPATCH(type, name, parameters, arguments)                  \
    type qk_##name parameters {                                         \
        int isa = qk_isa();                                             \
        if (isa >= QK_ISA_AVX512) return qk_##name##_avx512 arguments;  \
        if (isa >= QK_ISA_AVX2) return qk_##name##_avx2 arguments;      \
        return qk_##name##_scalar arguments;                            \
    }
#else
#define QK_DISPATCH(type, name, parameters, arguments) \
    type qk_##name parameters { return qk_##name##_scalar arguments; }
#endif

QK_ELEMENTWISE_KERNELS(QK_DISPATCH)
