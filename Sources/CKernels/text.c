// The plain definitions, and the classes of characters.
#include "text.h"

#include "kernels.h"
#include "text_words.h"

size_t qk_utf8_prefix_plain(const uint8_t *text, size_t size) {
    size_t i = 0;
    while (i < size && text[i] < 0x80) i++;
    return i;
}

size_t qk_settled_prefix_plain(const uint8_t *text, size_t size) {
    size_t i = 0;
    while (i < size && (text[i] < 0x80 || !(qk_text_classes[text[i] & 0x7F] & QK_TEXT_UNSETTLED))) i++;
    return i;
}

uint64_t qk_word_starts_plain(const uint8_t *text, size_t size) {
    block b = {0};
    above_ascii above = {0};
    const int count = size < 64 ? (int)size : 64;
    for (int i = 0; i < count; i++) {
        const uint8_t c = text[i];
        const uint64_t bit = 1ull << i;
        if (c >= 0x80) {
            const uint8_t class = qk_text_classes[c & 0x7F];
            if (c < 0xC0) above.continued |= bit;
            if (class & QK_TEXT_LETTERS) above.two |= bit;
            if (class & QK_TEXT_LETTERS_3) above.three |= bit;
            if (class & QK_TEXT_MIXED) above.mixed |= bit;
            if (c >= 0xB8) above.above_b7 |= bit;
            if (c == 0xE4) above.e4 |= bit;
            if (c == 0xC3) above.c3 |= bit;
            if (c == 0x97 || c == 0xB7) above.signs |= bit;
        } else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') b.letters |= bit;
        else if (c >= '0' && c <= '9') b.numbers |= bit;
        else if (c == '\n' || c == '\r') b.newlines |= bit;
        else if (c == ' ' || (c >= '\t' && c <= '\r')) b.spaces |= bit;
        else b.others |= bit;
        if (c == ' ') b.blanks |= bit;
        if (c == '\'') b.apostrophes |= bit;
    }
    add_above_ascii(&b, text, above);
    return words_of(text, size, b);
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
