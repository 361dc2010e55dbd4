// See text.h: the variant for the instruction set in use.
#include "text.h"

#include "cpu.h"
#include "text_kernel.h"

size_t qk_utf8_prefix(const uint8_t *text, size_t size) {
#if defined(__x86_64__)
    if (qk_isa() >= QK_ISA_AVX512_BF16) return qk_utf8_prefix_avx512(text, size);
#endif
    (void)text, (void)size;
    return 0;
}

size_t qk_settled_prefix(const uint8_t *text, size_t size) {
#if defined(__x86_64__)
    if (qk_isa() >= QK_ISA_AVX512_BF16) return qk_settled_prefix_avx512(text, size);
#endif
    size_t i = 0;
    while (i < size && (text[i] < 0x80 || !(qk_text_classes[text[i] & 0x7F] & QK_TEXT_UNSETTLED))) i++;
    return i;
}

qk_word_starts qk_word_starts_function(void) {
#if defined(__x86_64__)
    if (qk_isa() >= QK_ISA_AVX512_BF16) return qk_word_starts_avx512;
#endif
    return NULL;
}

// By a byte from 0x80 on, less 0x80. Bytes that continue a character have no class.
const uint8_t qk_text_classes[128] __attribute__((aligned(64))) = {
#define A QK_TEXT_LETTERS
#define B QK_TEXT_LETTERS_3
#define M QK_TEXT_MIXED
#define U (QK_TEXT_MIXED | QK_TEXT_UNSETTLED)
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // 0x80
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // 0xA0
    M, M, M, M, A, A, A, A, A, A, A, M, U, U, U, M,                                                 // 0xC0
    A, A, U, A, M, M, U, U, U, U, A, U, U, U, M, U,                                                 // 0xD0
    U, U, U, U, M, B, B, B, B, B, U, B, B, M, M, U,                                                 // 0xE0
    U, M, M, M, M, M, M, M, M, M, M, M, M, M, M, M,                                                 // 0xF0
#undef A
#undef B
#undef M
#undef U
};
