// See text.h. 64 bytes in a register; what they are, in masks of 64 bits, one bit a byte.
#if defined(__x86_64__)

#include "text_kernel.h"
#include "unicode_tables.h"

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

/// The start of the last character in text[0, end), if its bytes may go on at `end`; else `end`.
static size_t whole_characters(const uint8_t *text, size_t end) {
    for (size_t back = 1; back <= 3 && back <= end; back++) {
        uint8_t byte = text[end - back];
        if (byte >= 0xC0) return end - back;
        if (byte < 0x80) break;
    }
    return end;
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

/// What the bytes of a block are: each byte of a character has its character's class.
typedef struct block {
    uint64_t letters, numbers, spaces, newlines, others; // spaces: white space but newlines
    uint64_t blanks;                                     // U+0020
    uint64_t apostrophes;
    uint64_t continued; // bytes that are not a character's first
} block;

// Classes of ASCII, one bit each.
enum { LETTER = 1, NUMBER = 2, SPACE = 4, NEWLINE = 8, OTHER = 16 };

static const uint8_t ascii_classes[128] __attribute__((aligned(64))) = {
    16, 16, 16, 16, 16, 16, 16, 16, 16, 4, 8, 4, 4, 8, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, //
    4, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 16, 16, 16, 16, 16, 16, //
    16, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 16, 16, 16, 16, 16, //
    16, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 16, 16, 16, 16, 16, //
};

/// Adds the characters that begin at `mixed`, one by one.
static QK_TEXT void look_up(block *b, const uint8_t *text, uint64_t mixed) {
    for (; mixed; mixed = _blsr_u64(mixed)) {
        unsigned i = (unsigned)_tzcnt_u64(mixed);
        const uint8_t *p = text + i;
        uint32_t c;
        uint64_t bits;
        if (p[0] < 0xE0) {
            c = (p[0] & 0x1Fu) << 6 | (p[1] & 0x3Fu);
            bits = 3;
        } else if (p[0] < 0xF0) {
            c = (p[0] & 0x0Fu) << 12 | (p[1] & 0x3Fu) << 6 | (p[2] & 0x3Fu);
            bits = 7;
        } else {
            c = (p[0] & 0x07u) << 18 | (p[1] & 0x3Fu) << 12 | (p[2] & 0x3Fu) << 6 | (p[3] & 0x3Fu);
            bits = 15;
        }
        bits <<= i;
        unsigned kind = qk_unicode_flags(c) & QK_UNICODE_CLASS;
        b->letters |= kind == QK_UNICODE_LETTER ? bits : 0;
        b->numbers |= kind == QK_UNICODE_NUMBER ? bits : 0;
        b->spaces |= kind == QK_UNICODE_SPACE ? bits : 0;
        b->others |= kind == QK_UNICODE_OTHER ? bits : 0;
    }
}

QK_INLINE QK_TEXT block read_block(const uint8_t *text, size_t size) {
    __mmask64 readable = first(size);
    __m512i bytes = _mm512_maskz_loadu_epi8(readable, text);
    uint64_t above = _mm512_movepi8_mask(bytes);
    __m512i kinds = _mm512_maskz_permutex2var_epi8(
        readable & ~above, _mm512_load_si512(ascii_classes), bytes, _mm512_load_si512(ascii_classes + 64));
    block b;
    b.letters = _mm512_test_epi8_mask(kinds, _mm512_set1_epi8(LETTER));
    b.numbers = _mm512_test_epi8_mask(kinds, _mm512_set1_epi8(NUMBER));
    b.spaces = _mm512_test_epi8_mask(kinds, _mm512_set1_epi8(SPACE));
    b.newlines = _mm512_test_epi8_mask(kinds, _mm512_set1_epi8(NEWLINE));
    b.others = _mm512_test_epi8_mask(kinds, _mm512_set1_epi8(OTHER));
    b.blanks = _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8(' '));
    b.apostrophes = _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8('\''));
    b.continued = 0;
    if (above) {
        b.continued = continuations(bytes);
        __m512i leads = classes(bytes, above);
        uint64_t two = _mm512_test_epi8_mask(leads, _mm512_set1_epi8(QK_TEXT_LETTERS));
        uint64_t three = _mm512_test_epi8_mask(leads, _mm512_set1_epi8(QK_TEXT_LETTERS_3));
        uint64_t mixed = _mm512_movepi8_mask(leads);
        // U+4E00 to U+4FFF, frequent in Chinese, and Latin-1 without × and ÷.
        uint64_t next_b8 = _mm512_cmpge_epu8_mask(bytes, _mm512_set1_epi8((char)0xB8)) >> 1;
        uint64_t han = _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8((char)0xE4)) & next_b8;
        uint64_t signs = (_mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8((char)0x97)) |
                          _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8((char)0xB7))) >> 1;
        uint64_t latin = _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8((char)0xC3)) & ~signs & ~(1ull << 63);
        two |= latin;
        three |= han;
        mixed &= ~(latin | han);
        b.letters |= two | two << 1 | three | three << 1 | three << 2;
        if (mixed) look_up(&b, text, mixed);
    }
    return b;
}

/// `'s`, `'t`, `'re`, `'ve`, `'m`, `'ll`, `'d` at p, an apostrophe, in any case; how long, 0 if there is none. At least four
/// bytes, or all that the text has, may be read.
static unsigned contraction(const uint8_t *p, size_t size) {
    uint8_t one = size > 1 ? p[1] | 0x20 : 0, two = size > 2 ? p[2] | 0x20 : 0;
    if (one == 's' || one == 't' || one == 'm' || one == 'd') return 2;
    if ((one == 'r' && two == 'e') || (one == 'v' && two == 'e') || (one == 'l' && two == 'l')) return 3;
    return size > 2 && p[1] == 0xC5 && p[2] == 0xBF ? 3 : 0; // U+017F, the long s
}

QK_TEXT uint64_t qk_word_starts_avx512(const uint8_t *text, size_t size) {
    block b = read_block(text, size);
    uint64_t first_bytes = ~b.continued;

    // A number is a word.
    uint64_t starts = b.numbers & first_bytes;

    // A run of others begins a word, unless a blank leads it.
    uint64_t others = b.others & ~(b.others << 1);
    uint64_t led_by_blank = b.blanks << 1;
    starts |= others & ~led_by_blank;

    // A run of letters begins a word, unless white space or a single other leads it (one that no blank leads).
    uint64_t leading = others & ~led_by_blank;
    for (int i = 0; i < 3; i++) leading |= leading << 1 & b.continued & b.others; // all bytes of the run's first character
    uint64_t letters = b.letters & ~(b.letters << 1);
    starts |= letters & ~((leading | b.spaces) << 1);

    // Newlines after others belong to them.
    uint64_t newline_runs = b.newlines & ~(b.newlines << 1);
    uint64_t taken = b.newlines & ~(b.newlines + (newline_runs & b.others << 1));
    // White space: through the last newline; the rest but its last character; that one, if more follows.
    uint64_t newlines = b.newlines & ~taken;
    uint64_t white = b.spaces | newlines;
    starts |= white & ~(white << 1);
    uint64_t after_newline = b.spaces & newlines << 1;
    uint64_t more_newlines = (b.spaces + after_newline) & ~b.spaces & b.newlines;
    for (; more_newlines; more_newlines = _blsr_u64(more_newlines)) {
        uint64_t earlier = after_newline & (_blsi_u64(more_newlines) - 1);
        after_newline &= ~(1ull << (63 - _lzcnt_u64(earlier)));
    }
    starts |= after_newline;
    uint64_t last = b.spaces & (b.letters | b.numbers | b.others) >> 1;
    uint64_t inside = last & b.continued;
    if (inside) {
        last &= first_bytes;
        inside >>= 1;
        last |= inside & first_bytes;
        last |= (inside & b.continued) >> 1;
    }
    starts |= last;

    uint64_t known = ~0ull;
    if (size > 64) {
        // What the last run is depends on what follows: no word begins inside of it, as far as can be seen.
        uint64_t all_white = b.spaces | b.newlines, top = 1ull << 63;
        uint64_t run = b.letters & top ? b.letters : b.others & top ? b.others : all_white & top ? all_white : 0;
        unsigned length = run ? (unsigned)_lzcnt_u64(~run) : 0;
        if (length == 64) return 0;
        known = ~0ull >> length;
        if (run) known = known << 1 | 1; // the run's own beginning
    } else {
        known = size == 64 ? ~0ull : (1ull << size) - 1;
    }

    // Contractions end a word among letters.
    uint64_t apostrophes = b.apostrophes & (starts | 1) & b.letters >> 1;
    for (; apostrophes; apostrophes = _blsr_u64(apostrophes)) {
        unsigned i = (unsigned)_tzcnt_u64(apostrophes), length = contraction(text + i, size - i);
        if (length && i + length < 64) starts |= 1ull << (i + length);
    }
    return starts & known & ~1ull;
}

#endif
