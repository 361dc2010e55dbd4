// What the variants of qk_utf8_prefix share.
#ifndef QWENSFT_CKERNELS_TEXT_UTF8_H
#define QWENSFT_CKERNELS_TEXT_UTF8_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/// The start of the last character in text[0, end), if its bytes may go on at `end`; else `end`.
static size_t whole_characters(const uint8_t *text, size_t end) {
    for (size_t back = 1; back <= 3 && back <= end; back++) {
        uint8_t byte = text[end - back];
        if (byte >= 0xC0) return end - back;
        if (byte < 0x80) break;
    }
    return end;
}

/// The 32 bytes at `at`, with the three before them to be read too; of the first block and the last ones a copy, between zeros.
static inline __attribute__((always_inline)) const uint8_t *block_at(
    uint8_t copy[3 + 32], const uint8_t *text, size_t size, size_t at) {
    if (at > 0 && size - at >= 32) return text + at;
    const size_t before = at == 0 ? 0 : 3, here = size - at < 32 ? size - at : 32;
    memset(copy, 0, 3 + 32);
    memcpy(copy + 3 - before, text + at - before, before + here);
    return copy + 3;
}

// J. Keiser, D. Lemire, Validating UTF-8 in less than one instruction per byte (2021): three tables, by the halves of a byte and
// the upper half of the next, each say which errors are possible; an error is one that all three allow.
enum {
    TOO_SHORT = 1, TOO_LONG = 2, OVERLONG_3 = 4, TOO_LARGE = 8, SURROGATE = 16, OVERLONG_2 = 32, TOO_LARGE_1000 = 64, OVERLONG_4 = 64,
    TWO_CONTINUATIONS = 128, ANY = TOO_SHORT | TOO_LONG | TWO_CONTINUATIONS,
    LARGE = ANY | TOO_LARGE | TOO_LARGE_1000,
    CONTINUED = TOO_LONG | OVERLONG_2 | TWO_CONTINUATIONS,
};

static const uint8_t upper_half[16] = {
    TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG,
    TWO_CONTINUATIONS, TWO_CONTINUATIONS, TWO_CONTINUATIONS, TWO_CONTINUATIONS,
    TOO_SHORT | OVERLONG_2, TOO_SHORT, TOO_SHORT | OVERLONG_3 | SURROGATE, TOO_SHORT | TOO_LARGE | TOO_LARGE_1000 | OVERLONG_4,
};
static const uint8_t lower_half[16] = {
    ANY | OVERLONG_3 | OVERLONG_2 | OVERLONG_4, ANY | OVERLONG_2, ANY, ANY, ANY | TOO_LARGE, LARGE, LARGE, LARGE,
    LARGE, LARGE, LARGE, LARGE, LARGE, LARGE | SURROGATE, LARGE, LARGE,
};
static const uint8_t next_upper_half[16] = {
    TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT,
    CONTINUED | OVERLONG_3 | TOO_LARGE_1000 | OVERLONG_4, CONTINUED | OVERLONG_3 | TOO_LARGE,
    CONTINUED | SURROGATE | TOO_LARGE, CONTINUED | SURROGATE | TOO_LARGE, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT,
};

#endif
