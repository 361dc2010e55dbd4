// The table of kernels.h, filled when the library is loaded, and the entry points that go through it.
#include "kernels.h"

static struct {
#define QK_ENTRY(type, name, parameters, arguments) __typeof__(qk_##name) *name;
    QK_KERNELS(QK_ENTRY)
#undef QK_ENTRY
} chosen;

static unsigned in_use;

static void choose(unsigned has) {
    in_use = has;
#define QK_CHOOSE(type, name, parameters, arguments) chosen.name = qk_##name##_plain;
    QK_KERNELS(QK_CHOOSE)
#undef QK_CHOOSE
#define QK_VARIANT_ROW(name, variant, needs)                                                                            \
    if ((has & (needs)) == (needs)) chosen.name = qk_##name##_##variant;
    QK_TABLE
#undef QK_VARIANT_ROW
}

__attribute__((constructor)) static void begin(void) { choose(qk_processor_capabilities()); }

unsigned qk_capabilities(void) { return in_use; }

void qk_limit_capabilities(unsigned most) { choose(qk_processor_capabilities() & most); }

int qk_multiplies_bf16(void) { return (in_use & QK_SET_AVX512_BF16) == QK_SET_AVX512_BF16; }

int qk_multiplies_i16(void) { return (in_use & QK_SET_AVX2) == QK_SET_AVX2; }

int qk_f32_few_rows_is_fast(void) { return (in_use & QK_SET_AVX512) == QK_SET_AVX512; }

#define QK_ENTRY_POINT(type, name, parameters, arguments)                                                               \
    type qk_##name parameters { return chosen.name arguments; }
QK_KERNELS(QK_ENTRY_POINT)
