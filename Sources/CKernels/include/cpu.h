#ifndef QWENSFT_CKERNELS_CPU_H
#define QWENSFT_CKERNELS_CPU_H

// Instruction sets a kernel can be chosen for, in ascending order; each includes the ones before it.
enum {
    QK_ISA_SCALAR = 0,
    QK_ISA_AVX2 = 1,        // AVX2 + FMA + F16C
    QK_ISA_AVX512 = 2,      // AVX-512 F, BW, DQ, VL
    QK_ISA_AVX512_BF16 = 3, // and AVX512_BF16 (vdpbf16ps), AVX512_VNNI, AVX512_VBMI
};

/// The best instruction set of this processor (and operating system), found once.
int qk_cpu_isa(void);

/// The instruction set in use: the processor's best, unless a test has limited it.
int qk_isa(void);

/// Limits kernels to `isa` or the processor's best, whichever is lower. For tests: every variant runs through the same
/// entry points. Not to be called while kernels run.
void qk_limit_isa(int isa);

/// How many processors this process may run on; 0 where the system does not say.
int qk_processor_count(void);

/// Tells the processor that this is a spinning wait.
static inline void qk_pause(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

#endif
