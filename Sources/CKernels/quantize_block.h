// Neighbors as integers that share a scale.
#ifndef QWENSFT_CKERNELS_QUANTIZE_BLOCK_H
#define QWENSFT_CKERNELS_QUANTIZE_BLOCK_H

#include "bf16.h"

#define QK_INLINE static inline __attribute__((always_inline))

/// A block's scale; `inverse` is what to multiply with before rounding. With an infinity or a NaN in it, a block becomes NaN.
QK_INLINE float qk_block_scale(const float *x, long count, float most, float *inverse) {
    uint32_t largest = 0; // magnitudes are ordered as their bits are
    for (long i = 0; i < count; i++) {
        uint32_t magnitude = qk_f32_bits(x[i]) & 0x7fffffffu;
        largest = magnitude > largest ? magnitude : largest;
    }
    *inverse = 0;
    if (largest >= 0x7f800000u) return qk_f32_from_bits(0x7fc00000u);
    if (largest < 0x02000000u) return 0; // below 2^-123: the inverse would overflow
    *inverse = most / qk_f32_from_bits(largest);
    return qk_f32_from_bits(largest) / most;
}

/// x times `inverse` to the nearest integer, for magnitudes below 2^22: float32 has no room for a fraction beside 1.5 * 2^23.
QK_INLINE int32_t qk_nearest_integer(float x, float inverse) {
#pragma clang fp contract(off) // the same with and without fused multiply-add
    return (int32_t)((x * inverse + 0x1.8p23f) - 0x1.8p23f);
}

// out[0, filled) = round(x / scale), zeros from `count` on and where the scale is 0 or NaN; returns the scale.
#define QK_QUANTIZE_BLOCK(name, type, most)                                                                             \
    QK_INLINE float name(type *out, const float *x, long count, long filled) {                                          \
        float inverse;                                                                                                  \
        const float scale = qk_block_scale(x, count, most, &inverse);                                                   \
        if (inverse == 0) count = 0;                                                                                    \
        for (long i = 0; i < count; i++) out[i] = (type)qk_nearest_integer(x[i], inverse);                              \
        for (long i = count; i < filled; i++) out[i] = 0;                                                               \
        return scale;                                                                                                   \
    }
QK_QUANTIZE_BLOCK(qk_quantize_block8, int8_t, 127)
QK_QUANTIZE_BLOCK(qk_quantize_block16, int16_t, 32767)

#endif
