// The words of a block of 64 bytes, from masks of 64 bits that say what the bytes are: bit i for byte i. The variants make the
// masks.
#ifndef QWENSFT_CKERNELS_TEXT_WORDS_H
#define QWENSFT_CKERNELS_TEXT_WORDS_H

#include "text_kernel.h"
#include "unicode_tables.h"

#define QK_ALWAYS static inline __attribute__((always_inline))

/// What the bytes of a block are: each byte of a character has its character's class.
typedef struct block {
    uint64_t letters, numbers, spaces, newlines, others; // spaces: white space but newlines
    uint64_t blanks;                                     // U+0020
    uint64_t apostrophes;
    uint64_t continued; // bytes that are not a character's first
} block;

/// A copy of the last bytes of a text, with zeros behind it.
QK_ALWAYS const uint8_t *padded(uint8_t copy[64], const uint8_t *text, size_t size) {
    if (size >= 64) return text;
    memset(copy, 0, 64);
    memcpy(copy, text, size);
    return copy;
}

/// What a variant says of the bytes above ASCII.
typedef struct {
    uint64_t continued, two, three, mixed; // continuations, and what qk_text_classes says of the others
    uint64_t above_b7, e4, c3, signs;      // bytes from 0xB8 on; 0xE4; 0xC3; 0x97 and 0xB7
} above_ascii;

/// Adds the characters that begin at `mixed`, one by one.
static void look_up(block *b, const uint8_t *text, uint64_t mixed) {
    for (; mixed; mixed = mixed & (mixed - 1)) {
        unsigned i = (unsigned)__builtin_ctzll(mixed);
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

/// Adds the characters above ASCII.
QK_ALWAYS void add_above_ascii(block *b, const uint8_t *text, above_ascii above) {
    // U+4E00 to U+4FFF, frequent in Chinese, and Latin-1 without × and ÷.
    uint64_t han = above.e4 & above.above_b7 >> 1;
    uint64_t latin = above.c3 & ~(above.signs >> 1) & ~(1ull << 63);
    uint64_t two = above.two | latin, three = above.three | han, mixed = above.mixed & ~(latin | han);
    b->continued = above.continued;
    b->letters |= two | two << 1 | three | three << 1 | three << 2;
    if (mixed) look_up(b, text, mixed);
}

/// `'s`, `'t`, `'re`, `'ve`, `'m`, `'ll`, `'d` at p, an apostrophe, in any case; how long, 0 if there is none. At least four
/// bytes, or all that the text has, may be read.
static unsigned contraction(const uint8_t *p, size_t size) {
    uint8_t one = size > 1 ? p[1] | 0x20 : 0, two = size > 2 ? p[2] | 0x20 : 0;
    if (one == 's' || one == 't' || one == 'm' || one == 'd') return 2;
    if ((one == 'r' && two == 'e') || (one == 'v' && two == 'e') || (one == 'l' && two == 'l')) return 3;
    return size > 2 && p[1] == 0xC5 && p[2] == 0xBF ? 3 : 0; // U+017F, the long s
}

/// qk_word_starts of a block.
QK_ALWAYS uint64_t words_of(const uint8_t *text, size_t size, block b) {
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
    for (; more_newlines; more_newlines = more_newlines & (more_newlines - 1)) {
        uint64_t earlier = after_newline & ((more_newlines & -more_newlines) - 1);
        after_newline &= ~(1ull << (63 - __builtin_clzll(earlier)));
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
        unsigned length = run == ~0ull ? 64 : run ? (unsigned)__builtin_clzll(~run) : 0;
        if (length == 64) return 0;
        known = ~0ull >> length;
        if (run) known = known << 1 | 1; // the run's own beginning
    } else {
        known = size == 64 ? ~0ull : (1ull << size) - 1;
    }

    // Contractions end a word among letters.
    uint64_t apostrophes = b.apostrophes & (starts | 1) & b.letters >> 1;
    for (; apostrophes; apostrophes = apostrophes & (apostrophes - 1)) {
        unsigned i = (unsigned)__builtin_ctzll(apostrophes), length = contraction(text + i, size - i);
        if (length && i + length < 64) starts |= 1ull << (i + length);
    }
    return starts & known & ~1ull;
}

#endif
