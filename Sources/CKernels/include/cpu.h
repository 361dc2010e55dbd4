#ifndef QWENSFT_CKERNELS_CPU_H
#define QWENSFT_CKERNELS_CPU_H

// What a processor can do that kernels make use of, by name: a bit each. The second name is the compiler's.
#define QK_X86_CAPABILITIES(X)                                                                                          \
    X(AVX2, 0, "avx2")                                                                                                  \
    X(FMA, 1, "fma")                                                                                                    \
    X(F16C, 2, "f16c")                                                                                                  \
    X(BMI, 3, "bmi")                                                                                                    \
    X(BMI2, 4, "bmi2")                                                                                                  \
    X(LZCNT, 5, "lzcnt")                                                                                                \
    X(AVX512F, 6, "avx512f")                                                                                            \
    X(AVX512BW, 7, "avx512bw")                                                                                          \
    X(AVX512DQ, 8, "avx512dq")                                                                                          \
    X(AVX512VL, 9, "avx512vl")                                                                                          \
    X(AVX512_BF16, 10, "avx512bf16")                                                                                    \
    X(AVX512_VNNI, 11, "avx512vnni")                                                                                    \
    X(AVX512_VBMI, 12, "avx512vbmi")                                                                                    \
    X(AVX_VNNI, 16, "avxvnni")

// NEON is the base of aarch64.
#define QK_ARM_CAPABILITIES(X)                                                                                          \
    X(NEON, 13, "neon")                                                                                                 \
    X(DOTPROD, 14, "dotprod")                                                                                           \
    X(I8MM, 15, "i8mm")

#define QK_CAPABILITIES(X)                                                                                              \
    QK_X86_CAPABILITIES(X)                                                                                              \
    QK_ARM_CAPABILITIES(X)

enum {
#define QK_CAPABILITY(name, bit, compiler) QK_HAS_##name = 1 << bit,
    QK_CAPABILITIES(QK_CAPABILITY)
#undef QK_CAPABILITY
    QK_CAPABILITY_COUNT = 17,

    // Those that come together, which is what kernels are made for.
    QK_NO_CAPABILITIES = 0,
    QK_SET_AVX2 = QK_HAS_AVX2 | QK_HAS_FMA | QK_HAS_F16C | QK_HAS_BMI | QK_HAS_BMI2 | QK_HAS_LZCNT,
    QK_SET_AVX512 = QK_SET_AVX2 | QK_HAS_AVX512F | QK_HAS_AVX512BW | QK_HAS_AVX512DQ | QK_HAS_AVX512VL,
    QK_SET_AVX512_BF16 = QK_SET_AVX512 | QK_HAS_AVX512_BF16 | QK_HAS_AVX512_VNNI | QK_HAS_AVX512_VBMI,
    QK_SET_NEON = QK_HAS_NEON,
    QK_SET_NEON_DOTPROD = QK_SET_NEON | QK_HAS_DOTPROD,
    QK_SET_NEON_I8MM = QK_SET_NEON_DOTPROD | QK_HAS_I8MM,
};

/// The capabilities of this processor and its operating system.
unsigned qk_processor_capabilities(void);

/// The name of the capability of a bit, below QK_CAPABILITY_COUNT.
const char *qk_capability_name(int bit);

/// Those in use: the processor's, unless they were limited.
unsigned qk_capabilities(void);

/// Chooses kernels as for a processor that has no capabilities but these. Not to be called while kernels run.
void qk_limit_capabilities(unsigned most);

/// Whether products of bfloat16 numbers are the processor's own, so that it pays to round to them.
int qk_multiplies_bf16(void);

#endif
