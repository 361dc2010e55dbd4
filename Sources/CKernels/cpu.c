#include "cpu.h"

unsigned qk_processor_capabilities(void) {
    unsigned has = 0;
#if defined(__x86_64__)
    __builtin_cpu_init(); // also checks that the operating system saves the wide registers
#define QK_ASK(name, bit, compiler) has |= __builtin_cpu_supports(compiler) ? QK_HAS_##name : 0u;
    QK_CAPABILITIES(QK_ASK)
#ifdef QK_EMULATES_AVX512
    if ((has & QK_SET_AVX2) == QK_SET_AVX2) has |= QK_SET_AVX512_BF16;
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
