#include "cpu.h"

#if defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#elif defined(__aarch64__) && defined(__APPLE__)
#include <stddef.h>
#include <sys/sysctl.h>

static int has_feature(const char *name) {
    int value = 0;
    size_t size = sizeof value;
    return sysctlbyname(name, &value, &size, NULL, 0) == 0 && value != 0;
}
#endif

unsigned qk_processor_capabilities(void) {
    unsigned has = 0;
#if defined(__x86_64__)
    __builtin_cpu_init(); // also checks that the operating system saves the wide registers
#define QK_ASK(name, bit, compiler) has |= __builtin_cpu_supports(compiler) ? QK_HAS_##name : 0u;
    QK_X86_CAPABILITIES(QK_ASK)
#undef QK_ASK
#ifdef QK_EMULATES_AVX512
    if ((has & QK_SET_AVX2) == QK_SET_AVX2) has |= QK_SET_AVX512_BF16;
#endif
#elif defined(__aarch64__)
    has = QK_HAS_NEON;
#if defined(__linux__)
    if (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) has |= QK_HAS_DOTPROD;
    if (getauxval(AT_HWCAP2) & HWCAP2_I8MM) has |= QK_HAS_I8MM;
#elif defined(__APPLE__)
    if (has_feature("hw.optional.arm.FEAT_DotProd")) has |= QK_HAS_DOTPROD;
    if (has_feature("hw.optional.arm.FEAT_I8MM")) has |= QK_HAS_I8MM;
#endif
#endif
    return has;
}

const char *qk_capability_name(int bit) {
    switch (bit) {
#define QK_NAME(name, number, compiler) case number: return compiler;
        QK_CAPABILITIES(QK_NAME)
#undef QK_NAME
    default: return "";
    }
}
