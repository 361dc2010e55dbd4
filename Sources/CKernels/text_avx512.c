// See text.h. 64 bytes in a register; what they are, in masks of 64 bits, one bit a byte.
#if defined(__x86_64__)

#include "kernels.h"
#include "text_utf8.h"
#include "text_words.h"

#include "avx512.h"

#define QK_TEXT __attribute__((target(QK_AVX512_BF16_TARGET ",bmi,bmi2,lzcnt")))

/// The first n of 64 bytes.
QK_INLINE QK_TEXT __mmask64 first(size_t n) { return n >= 64 ? ~0ull : _bzhi_u64(~0ull, (unsigned)n); }

/// Bytes that continue a character.
QK_INLINE QK_TEXT uint64_t continuations(__m512i bytes) {
    return _mm512_cmplt_epi8_mask(bytes, _mm512_set1_epi8((char)0xC0));
}

/// What each byte from 0x80 on says (qk_text_classes); 0 for others.
QK_INLINE QK_TEXT __m512i classes(__m512i bytes, uint64_t above) {
    __m512i low = _mm512_load_si512(qk_text_classes), high = _mm512_load_si512(qk_text_classes + 64);
    return _mm512_maskz_permutex2var_epi8(above, low, bytes, high);
}

// --- UTF-8 ---------------------------------------------------------------------------------------------------------------

QK_INLINE QK_TEXT __m512i table(const uint8_t entries[16], __m512i indices) {
    __m512i all = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)entries));
    return _mm512_shuffle_epi8(all, indices);
}

QK_INLINE QK_TEXT __m512i upper(__m512i bytes) { return _mm512_and_si512(_mm512_srli_epi16(bytes, 4), _mm512_set1_epi8(15)); }

/// 64 bytes from text[at - back] on, zeros before the text and after it.
QK_INLINE QK_TEXT __m512i before(const uint8_t *text, size_t size, size_t at, size_t back) {
    __mmask64 readable = first(size - at + back);
    if (at < back) readable &= ~0ull << (back - at);
    return _mm512_maskz_loadu_epi8(readable, text + at - back);
}

QK_TEXT size_t qk_utf8_prefix_avx512(const uint8_t *text, size_t size) {
    // One block more than there is text, so that a character cut off at the end is followed by something.
    for (size_t at = 0; at <= size; at += 64) {
        __m512i bytes = _mm512_maskz_loadu_epi8(first(size - at), text + at);
        __m512i third = before(text, size, at, 3);
        if (_mm512_movepi8_mask(_mm512_or_si512(bytes, third)) == 0) continue;
        __m512i previous = before(text, size, at, 1), second = before(text, size, at, 2);
        __m512i special = _mm512_ternarylogic_epi32(
            table(upper_half, upper(previous)), table(lower_half, _mm512_and_si512(previous, _mm512_set1_epi8(15))),
            table(next_upper_half, upper(bytes)), 0x80); // and
        // The third byte of three and more, and the fourth of four: there, and only there, two continuations are right.
        __mmask64 later = _mm512_cmpge_epu8_mask(second, _mm512_set1_epi8((char)0xE0)) |
                          _mm512_cmpge_epu8_mask(third, _mm512_set1_epi8((char)0xF0));
        __m512i error = _mm512_xor_si512(special, _mm512_maskz_set1_epi8(later, (char)TWO_CONTINUATIONS));
        if (_mm512_test_epi8_mask(error, error)) return whole_characters(text, at < size ? at : size);
    }
    return size;
}

// --- Normalization Form C --------------------------------------------------------------------------------------------------

QK_TEXT size_t qk_settled_prefix_avx512(const uint8_t *text, size_t size) {
    for (size_t at = 0; at < size; at += 64) {
        __m512i bytes = _mm512_maskz_loadu_epi8(first(size - at), text + at);
        uint64_t above = _mm512_movepi8_mask(bytes);
        if (above == 0) continue;
        uint64_t unsettled = _mm512_test_epi8_mask(classes(bytes, above), _mm512_set1_epi8(QK_TEXT_UNSETTLED));
        if (unsettled) return at + _tzcnt_u64(unsettled);
    }
    return size;
}

// --- Words ---------------------------------------------------------------------------------------------------------------

// Classes of ASCII, one bit each.
enum { LETTER = 1, NUMBER = 2, SPACE = 4, NEWLINE = 8, OTHER = 16 };

static const uint8_t ascii_classes[128] __attribute__((aligned(64))) = {
    16, 16, 16, 16, 16, 16, 16, 16, 16, 4, 8, 4, 4, 8, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, //
    4, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 16, 16, 16, 16, 16, 16, //
    16, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 16, 16, 16, 16, 16, //
    16, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 16, 16, 16, 16, 16, //
};

QK_TEXT uint64_t qk_word_starts_avx512(const uint8_t *text, size_t size) {
    __mmask64 readable = first(size);
    __m512i bytes = _mm512_maskz_loadu_epi8(readable, text);
    uint64_t above = _mm512_movepi8_mask(bytes);
    __m512i kinds = _mm512_maskz_permutex2var_epi8(
        readable & ~above, _mm512_load_si512(ascii_classes), bytes, _mm512_load_si512(ascii_classes + 64));
    block b = {
        .letters = _mm512_test_epi8_mask(kinds, _mm512_set1_epi8(LETTER)),
        .numbers = _mm512_test_epi8_mask(kinds, _mm512_set1_epi8(NUMBER)),
        .spaces = _mm512_test_epi8_mask(kinds, _mm512_set1_epi8(SPACE)),
        .newlines = _mm512_test_epi8_mask(kinds, _mm512_set1_epi8(NEWLINE)),
        .others = _mm512_test_epi8_mask(kinds, _mm512_set1_epi8(OTHER)),
        .blanks = _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8(' ')),
        .apostrophes = _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8('\'')),
    };
    if (above) {
        __m512i leads = classes(bytes, above);
        above_ascii all = {
            .continued = continuations(bytes),
            .two = _mm512_test_epi8_mask(leads, _mm512_set1_epi8(QK_TEXT_LETTERS)),
            .three = _mm512_test_epi8_mask(leads, _mm512_set1_epi8(QK_TEXT_LETTERS_3)),
            .mixed = _mm512_movepi8_mask(leads),
            .above_b7 = _mm512_cmpge_epu8_mask(bytes, _mm512_set1_epi8((char)0xB8)),
            .e4 = _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8((char)0xE4)),
            .c3 = _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8((char)0xC3)),
            .signs = _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8((char)0x97)) |
                     _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8((char)0xB7)),
        };
        add_above_ascii(&b, text, all);
    }
    return words_of(text, size, b);
}

#endif
