// The plain definitions of what gemv.inc does not hold, and quantization, for which one variant is enough.
#include "gemv.h"

#include "kernels.h"

void qk_gemv_bf16_bf16_plain(
    float *y, long ldy, const uint16_t *w, const uint16_t *x, long ldx, long m, long rows, long k, int accumulate) {
    for (long j = 0; j < m; j++)
        for (long row = 0; row < rows; row++) {
            float sum = 0;
            for (long i = 0; i < k; i++) sum += qk_f32_from_bf16(w[row * k + i]) * qk_f32_from_bf16(x[j * ldx + i]);
            y[j * ldy + row] = accumulate ? y[j * ldy + row] + sum : sum;
        }
}

/// A block's scale; `inverse` is what to multiply with before rounding. With an infinity or a NaN in it, a block becomes NaN.
static float block_scale(const float *x, long count, float most, float *inverse) {
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

/// To the nearest integer, for magnitudes below 2^22: float32 has no room for a fraction beside 1.5 * 2^23.
static int32_t nearest(float x) { return (int32_t)((x + 0x1.8p23f) - 0x1.8p23f); }

#define QUANTIZE(name, type, most)                                                                                     \
    void name(type *out, float *scales, const float *x, long k) {                                                      \
        for (long i = 0; i < k; i += QK_QUANT_BLOCK) {                                                                  \
            long count = k - i < QK_QUANT_BLOCK ? k - i : QK_QUANT_BLOCK;                                                \
            float inverse;                                                                                             \
            *scales++ = block_scale(x + i, count, most, &inverse);                                                     \
            if (inverse == 0) memset(out + i, 0, QK_QUANT_BLOCK * sizeof *out);                                         \
            else                                                                                                       \
                for (long j = 0; j < count; j++) out[i + j] = (type)nearest(x[i + j] * inverse);                       \
            for (long j = count; j < QK_QUANT_BLOCK; j++) out[i + j] = 0;                                               \
        }                                                                                                              \
    }

QUANTIZE(qk_quantize_int8, int8_t, 127)
QUANTIZE(qk_quantize_int16, int16_t, 32767)

void qk_bf16_from_int8_plain(uint16_t *out, const int8_t *w, const float *scales, long k, long filled) {
    for (long i = 0; i < k; i++) out[i] = qk_bf16_from_f32((float)w[i] * scales[i / QK_QUANT_BLOCK]);
    for (long i = k; i < filled; i++) out[i] = 0;
}

static float int6_weight(const uint8_t *w, const uint16_t *scales, long i) {
    const uint8_t *four = w + i / 4 * 3;
    uint32_t bits = four[0] | (uint32_t)four[1] << 8 | (uint32_t)four[2] << 16;
    int8_t upper = (int8_t)(bits >> i % 4 * 6 << 2); // its sign in the byte's
    return (float)(upper >> 2) * qk_f32_from_bf16(scales[i / QK_QUANT_BLOCK]);
}

void qk_f32_from_int8_plain(float *out, const int8_t *w, const float *scales, long k) {
    for (long i = 0; i < k; i++) out[i] = (float)w[i] * scales[i / QK_QUANT_BLOCK];
}

void qk_f32_from_int6_plain(float *out, const uint8_t *w, const uint16_t *scales, long k) {
    for (long i = 0; i < k; i++) out[i] = int6_weight(w, scales, i);
}

void qk_bf16_from_int6_plain(uint16_t *out, const uint8_t *w, const uint16_t *scales, long k, long filled) {
    for (long i = 0; i < k; i++) out[i] = qk_bf16_from_f32(int6_weight(w, scales, i));
    for (long i = k; i < filled; i++) out[i] = 0;
}
