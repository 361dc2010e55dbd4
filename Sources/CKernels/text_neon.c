// See text.h. 64 bytes in four registers; what they are, in masks of 64 bits, one bit a byte.
#if defined(__aarch64__)

#include "kernels.h"
#include "neon.h"
#include "text_utf8.h"
#include "text_words.h"

typedef struct {
    uint8x16_t part[4];
} bytes64;

/// A bit for each byte, of which all bits are set or none.
QK_INLINE_NEON uint64_t mask(bytes64 x) {
    static const uint8_t places[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    const uint8x16_t bits = vld1q_u8(places);
    QK_UNROLL
    for (int i = 0; i < 4; i++) x.part[i] = vandq_u8(x.part[i], bits);
    uint8x16_t sum = vpaddq_u8(vpaddq_u8(x.part[0], x.part[1]), vpaddq_u8(x.part[2], x.part[3]));
    sum = vpaddq_u8(sum, sum);
    return vgetq_lane_u64(vreinterpretq_u64_u8(sum), 0);
}

QK_INLINE_NEON bytes64 load64(const uint8_t *from) {
    return (bytes64){{vld1q_u8(from), vld1q_u8(from + 16), vld1q_u8(from + 32), vld1q_u8(from + 48)}};
}

/// Bytes with any of the bits.
QK_INLINE_NEON uint64_t with(bytes64 x, uint8_t bits) {
    QK_UNROLL
    for (int i = 0; i < 4; i++) x.part[i] = vtstq_u8(x.part[i], vdupq_n_u8(bits));
    return mask(x);
}

QK_INLINE_NEON uint64_t equal(bytes64 x, uint8_t byte) {
    QK_UNROLL
    for (int i = 0; i < 4; i++) x.part[i] = vceqq_u8(x.part[i], vdupq_n_u8(byte));
    return mask(x);
}

/// Bytes from `least` on, of which there are `count`, once `bits` are set in all.
QK_INLINE_NEON uint64_t from(bytes64 x, uint8_t bits, uint8_t least, uint8_t count) {
    QK_UNROLL
    for (int i = 0; i < 4; i++)
        x.part[i] = vcltq_u8(vsubq_u8(vorrq_u8(x.part[i], vdupq_n_u8(bits)), vdupq_n_u8(least)), vdupq_n_u8(count));
    return mask(x);
}

/// What each byte from 0xC0 on says (qk_text_classes); 0 for others.
QK_INLINE_NEON bytes64 classes(bytes64 x) {
    const uint8x16x4_t table = vld1q_u8_x4(qk_text_classes + 0x40);
    QK_UNROLL
    for (int i = 0; i < 4; i++) x.part[i] = vqtbl4q_u8(table, vsubq_u8(x.part[i], vdupq_n_u8(0xC0)));
    return x;
}

// --- UTF-8 ---------------------------------------------------------------------------------------------------------------

/// Of 16 bytes, given the three before them, those that are out of order: 0 elsewhere.
QK_INLINE_NEON uint8x16_t errors(const uint8_t *text) {
    const uint8x16_t bytes = vld1q_u8(text), previous = vld1q_u8(text - 1), second = vld1q_u8(text - 2), third = vld1q_u8(text - 3);
    const uint8x16_t special = vandq_u8(
        vandq_u8(
            vqtbl1q_u8(vld1q_u8(upper_half), vshrq_n_u8(previous, 4)),
            vqtbl1q_u8(vld1q_u8(lower_half), vandq_u8(previous, vdupq_n_u8(15)))),
        vqtbl1q_u8(vld1q_u8(next_upper_half), vshrq_n_u8(bytes, 4)));
    // The third byte of three and more, and the fourth of four: there, and only there, two continuations are right.
    const uint8x16_t later = vorrq_u8(vqsubq_u8(second, vdupq_n_u8(0xE0 - 0x80)), vqsubq_u8(third, vdupq_n_u8(0xF0 - 0x80)));
    return veorq_u8(special, vandq_u8(later, vdupq_n_u8(TWO_CONTINUATIONS)));
}

/// Whether 32 bytes are in order, given the three before them.
QK_INLINE_NEON int is_well_formed(const uint8_t *text) {
    const uint8x16_t any = vorrq_u8(vorrq_u8(vld1q_u8(text), vld1q_u8(text + 16)), vld1q_u8(text - 3));
    if (vmaxvq_u8(any) < 0x80) return 1;
    return vmaxvq_u8(vorrq_u8(errors(text), errors(text + 16))) == 0;
}

size_t qk_utf8_prefix_neon(const uint8_t *text, size_t size) {
    // One block more than there is text, so that a character cut off at the end is followed by something.
    for (size_t at = 0; at <= size; at += 32) {
        uint8_t copy[3 + 32];
        if (!is_well_formed(block_at(copy, text, size, at))) return whole_characters(text, at);
    }
    return size;
}

// --- Normalization Form C --------------------------------------------------------------------------------------------------

size_t qk_settled_prefix_neon(const uint8_t *text, size_t size) {
    for (size_t at = 0; at < size; at += 64) {
        uint8_t copy[64];
        const bytes64 x = load64(padded(copy, text + at, size - at));
        const uint8x16_t any = vorrq_u8(vorrq_u8(x.part[0], x.part[1]), vorrq_u8(x.part[2], x.part[3]));
        if (vmaxvq_u8(any) < 0x80) continue;
        const uint64_t unsettled = with(classes(x), QK_TEXT_UNSETTLED);
        if (unsettled) return at + (size_t)__builtin_ctzll(unsettled);
    }
    return size;
}

// --- Words ---------------------------------------------------------------------------------------------------------------

uint64_t qk_word_starts_neon(const uint8_t *text, size_t size) {
    uint8_t copy[64];
    const bytes64 x = load64(padded(copy, text, size));
    const uint64_t readable = size >= 64 ? ~0ull : (1ull << size) - 1, above = with(x, 0x80);
    block b = {
        .letters = from(x, 0x20, 'a', 26),
        .numbers = from(x, 0, '0', 10),
        .newlines = equal(x, '\n') | equal(x, '\r'),
        .blanks = equal(x, ' '),
        .apostrophes = equal(x, '\''),
    };
    b.spaces = (from(x, 0, '\t', 5) & ~b.newlines) | b.blanks;
    b.others = readable & ~above & ~(b.letters | b.numbers | b.spaces | b.newlines);
    if (above) {
        const bytes64 leads = classes(x);
        above_ascii all = {
            .continued = from(x, 0, 0x80, 0x40),
            .two = with(leads, QK_TEXT_LETTERS),
            .three = with(leads, QK_TEXT_LETTERS_3),
            .mixed = with(leads, QK_TEXT_MIXED),
            .above_b7 = from(x, 0, 0xB8, 0x48),
            .e4 = equal(x, 0xE4),
            .c3 = equal(x, 0xC3),
            .signs = equal(x, 0x97) | equal(x, 0xB7),
        };
        add_above_ascii(&b, text, all);
    }
    return words_of(text, size, b);
}

#endif
