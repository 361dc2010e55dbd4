// See text.h. 64 bytes in two registers; what they are, in masks of 64 bits, one bit a byte.
#if defined(__x86_64__)

#include "kernels.h"
#include "text_utf8.h"
#include "text_words.h"

#include <immintrin.h>

#define QK_TEXT __attribute__((target("avx2,bmi,bmi2,lzcnt")))
#define QK_INLINE static inline __attribute__((always_inline)) QK_TEXT

QK_INLINE uint64_t mask(__m256i low, __m256i high) {
    return (uint32_t)_mm256_movemask_epi8(low) | (uint64_t)(uint32_t)_mm256_movemask_epi8(high) << 32;
}

QK_INLINE __m256i each(int byte) { return _mm256_set1_epi8((char)byte); }

QK_INLINE __m256i table(const uint8_t entries[16], __m256i indices) {
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)entries)), indices);
}

/// What each byte from 0xC0 on says (qk_text_classes); 0 for others.
QK_INLINE __m256i classes(__m256i bytes) {
    const __m256i upper = _mm256_and_si256(bytes, each(0xF0)), lower = _mm256_and_si256(bytes, each(15));
    __m256i all = _mm256_setzero_si256();
#pragma clang loop unroll(full)
    for (int i = 0; i < 4; i++) {
        __m256i here = _mm256_cmpeq_epi8(upper, each(0xC0 + 16 * i));
        all = _mm256_or_si256(all, _mm256_and_si256(here, table(qk_text_classes + 0x40 + 16 * i, lower)));
    }
    return all;
}

// --- UTF-8 ---------------------------------------------------------------------------------------------------------------

/// Whether 32 bytes are in order, given the three before them.
QK_INLINE int is_well_formed(const uint8_t *text) {
    __m256i bytes = _mm256_loadu_si256((const __m256i *)text), third = _mm256_loadu_si256((const __m256i *)(text - 3));
    if (_mm256_movemask_epi8(_mm256_or_si256(bytes, third)) == 0) return 1;
    __m256i previous = _mm256_loadu_si256((const __m256i *)(text - 1));
    __m256i second = _mm256_loadu_si256((const __m256i *)(text - 2));
    const __m256i half = each(15);
    __m256i special = _mm256_and_si256(
        _mm256_and_si256(
            table(upper_half, _mm256_and_si256(_mm256_srli_epi16(previous, 4), half)),
            table(lower_half, _mm256_and_si256(previous, half))),
        table(next_upper_half, _mm256_and_si256(_mm256_srli_epi16(bytes, 4), half)));
    // The third byte of three and more, and the fourth of four: there, and only there, two continuations are right.
    __m256i later = _mm256_or_si256(
        _mm256_subs_epu8(second, each(0xE0 - 0x80)), _mm256_subs_epu8(third, each(0xF0 - 0x80)));
    __m256i error = _mm256_xor_si256(special, _mm256_and_si256(later, each(TWO_CONTINUATIONS)));
    return _mm256_testz_si256(error, error);
}

QK_TEXT size_t qk_utf8_prefix_avx2(const uint8_t *text, size_t size) {
    // One block more than there is text, so that a character cut off at the end is followed by something.
    for (size_t at = 0; at <= size; at += 32) {
        uint8_t copy[3 + 32];
        if (!is_well_formed(block_at(copy, text, size, at))) return whole_characters(text, at);
    }
    return size;
}

// --- Normalization Form C --------------------------------------------------------------------------------------------------

QK_TEXT size_t qk_settled_prefix_avx2(const uint8_t *text, size_t size) {
    for (size_t at = 0; at < size; at += 64) {
        uint8_t copy[64];
        const __m256i *block = (const __m256i *)padded(copy, text + at, size - at);
        __m256i low = _mm256_loadu_si256(block), high = _mm256_loadu_si256(block + 1);
        if (mask(low, high) == 0) continue;
        // The flag moves to where the mask is taken from.
        _Static_assert(QK_TEXT_UNSETTLED << 3 == 0x80, "");
        uint64_t unsettled = mask(_mm256_slli_epi16(classes(low), 3), _mm256_slli_epi16(classes(high), 3));
        if (unsettled) return at + (size_t)__builtin_ctzll(unsettled);
    }
    return size;
}

// --- Words ---------------------------------------------------------------------------------------------------------------

/// Bytes from `least` to `most`, both ASCII.
QK_INLINE __m256i between(__m256i bytes, char least, char most) {
    return _mm256_and_si256(_mm256_cmpgt_epi8(bytes, each(least - 1)), _mm256_cmpgt_epi8(each(most + 1), bytes));
}

QK_TEXT uint64_t qk_word_starts_avx2(const uint8_t *text, size_t size) {
    uint8_t copy[64];
    const __m256i *from = (const __m256i *)padded(copy, text, size);
    const __m256i low = _mm256_loadu_si256(from), high = _mm256_loadu_si256(from + 1);
#define EQUAL(byte) mask(_mm256_cmpeq_epi8(low, each(byte)), _mm256_cmpeq_epi8(high, each(byte)))
    const uint64_t readable = size >= 64 ? ~0ull : (1ull << size) - 1, above = mask(low, high);
    const __m256i lower_case = each(0x20);
    block b = {
        .letters = mask(
            between(_mm256_or_si256(low, lower_case), 'a', 'z'), between(_mm256_or_si256(high, lower_case), 'a', 'z')),
        .numbers = mask(between(low, '0', '9'), between(high, '0', '9')),
        .newlines = EQUAL('\n') | EQUAL('\r'),
        .blanks = EQUAL(' '),
        .apostrophes = EQUAL('\''),
    };
    b.spaces = (mask(between(low, '\t', '\r'), between(high, '\t', '\r')) & ~b.newlines) | b.blanks;
    b.others = readable & ~above & ~(b.letters | b.numbers | b.spaces | b.newlines);
    if (above) {
        const __m256i low_leads = classes(low), high_leads = classes(high), b8 = each(0xB8), c0 = each(0xC0);
        _Static_assert(QK_TEXT_LETTERS << 2 == 0x80 && QK_TEXT_LETTERS_3 << 1 == 0x80 && QK_TEXT_MIXED == 0x80, "");
        above_ascii all = {
            .continued = mask(_mm256_cmpgt_epi8(c0, low), _mm256_cmpgt_epi8(c0, high)),
            .two = mask(_mm256_slli_epi16(low_leads, 2), _mm256_slli_epi16(high_leads, 2)),
            .three = mask(_mm256_slli_epi16(low_leads, 1), _mm256_slli_epi16(high_leads, 1)),
            .mixed = mask(low_leads, high_leads),
            .above_b7 = mask(
                _mm256_cmpeq_epi8(_mm256_max_epu8(low, b8), low), _mm256_cmpeq_epi8(_mm256_max_epu8(high, b8), high)),
            .e4 = EQUAL(0xE4),
            .c3 = EQUAL(0xC3),
            .signs = EQUAL(0x97) | EQUAL(0xB7),
        };
        add_above_ascii(&b, text, all);
    }
#undef EQUAL
    return words_of(text, size, b);
}

#endif
