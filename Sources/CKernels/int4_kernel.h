// What the variants of int4's kernels share.
#ifndef QWENSFT_CKERNELS_INT4_KERNEL_H
#define QWENSFT_CKERNELS_INT4_KERNEL_H

#include "int4.h"

#include "bf16.h"

#include <string.h>

#define QK_INLINE static inline __attribute__((always_inline))

QK_INLINE int qk_int4_integer(const uint8_t *w, long i) {
    const uint8_t *word = w + i / 64 * QK_INT4_BYTES + i % 16 * 2;
    int16_t bits = (int16_t)(word[0] | word[1] << 8);
    return (int16_t)(uint16_t)(bits << (12 - i % 64 / 16 * 4)) >> 12;
}

QK_INLINE float qk_int4_weight(const uint8_t *w, const uint16_t *scales, long i) {
    return (float)qk_int4_integer(w, i) * qk_f32_from_bf16(scales[i / QK_INT4_BLOCK]);
}

// Quantizing: one text for all variants, in vectors that the compiler cuts to what there is.

typedef float qk_f32x8 __attribute__((vector_size(32), aligned(4)));
#pragma clang diagnostic ignored "-Wpsabi" // vectors are passed between inlined functions only

QK_INLINE float qk_int4_total(qk_f32x8 x) {
    float sum = 0;
    _Pragma("clang loop unroll(full)") for (int i = 0; i < 4; i++) sum += x[i] + x[i + 4];
    return sum;
}

/// x times `inverse` to the nearest of -8 to 7.
QK_INLINE qk_f32x8 qk_int4_nearest(qk_f32x8 x, float inverse) {
    qk_f32x8 q = (x * inverse + 0x1.8p23f) - 0x1.8p23f; // float32 has no room for a fraction beside 1.5 * 2^23
    return __builtin_elementwise_max(__builtin_elementwise_min(q, (qk_f32x8){0} + 7), (qk_f32x8){0} - 8);
}

QK_INLINE void qk_int4_quantize_block(float *integers, uint16_t *scale, const qk_f32x8 *x, float extreme) {
    float best = 0, inverse = 0;
    *scale = 0;
    for (int step = -4; step <= 4; step++) {
        const float tried = (step * 0.25f - 8) / extreme;
        qk_f32x8 products = {0}, squares = {0};
        _Pragma("clang loop unroll(full)") for (int v = 0; v < 4; v++) {
            qk_f32x8 q = qk_int4_nearest(x[v], tried);
            products += x[v] * q;
            squares += q * q;
        }
        // Of scales for these integers the best is products / squares; the error falls by `gain` from that of all zeros.
        const float product = qk_int4_total(products), square = qk_int4_total(squares);
        const uint16_t rounded = qk_bf16_from_f32(product / square);
        const float s = qk_f32_from_bf16(rounded), gain = s * (2 * product - s * square);
        if (gain > best) best = gain, inverse = tried, *scale = rounded;
    }
    _Pragma("clang loop unroll(full)") for (int v = 0; v < 4; v++) {
        qk_f32x8 q = qk_int4_nearest(x[v], inverse);
        memcpy(integers + 8 * v, &q, sizeof q);
    }
}

QK_INLINE void qk_int4_quantize64(uint8_t *out, uint16_t *scales, const float *x, long count) {
    float padded[64] = {0}, integers[64] = {0};
    memcpy(padded, x, (size_t)count * sizeof *x);
    for (int block = 0; block < 2; block++) {
        float extreme = 0, magnitude = 0;
        int isFinite = 1;
        for (int i = 32 * block; i < 32 * block + 32; i++) {
            float a = padded[i] < 0 ? -padded[i] : padded[i];
            isFinite &= a <= 3.4028235e38f;
            if (a > magnitude) magnitude = a, extreme = padded[i];
        }
        qk_f32x8 vectors[4];
        memcpy(vectors, padded + 32 * block, sizeof vectors);
        scales[block] = isFinite ? 0 : 0x7fc0;
        // Below 2^-123 the inverse would overflow.
        if (isFinite && magnitude >= 0x1p-123f) qk_int4_quantize_block(integers + 32 * block, scales + block, vectors, extreme);
    }
    for (int i = 0; i < 16; i++) {
        unsigned word = 0;
        for (int p = 0; p < 4; p++) word |= ((unsigned)(int)integers[16 * p + i] & 15) << 4 * p;
        out[2 * i] = (uint8_t)word;
        out[2 * i + 1] = (uint8_t)(word >> 8);
    }
}

QK_INLINE void qk_int4_quantize(uint8_t *out, uint16_t *scales, const float *x, long k) {
    for (long i = 0; i < k; i += 64, out += QK_INT4_BYTES, scales += 2)
        qk_int4_quantize64(out, scales, x + i, k - i < 64 ? k - i : 64);
}

#endif
