// The plain definitions of what gemv.inc does not hold, and quantization, for which one variant is enough.
#include "gemv.h"

#include "int6_kernel.h"
#include "kernels.h"
#include "quantize_block.h"

void qk_gemv_bf16_bf16_plain(
    float *y, long ldy, const uint16_t *w, const uint16_t *x, long ldx, long m, long rows, long k, int accumulate) {
    for (long j = 0; j < m; j++)
        for (long row = 0; row < rows; row++) {
            float sum = 0;
            for (long i = 0; i < k; i++) sum += qk_f32_from_bf16(w[row * k + i]) * qk_f32_from_bf16(x[j * ldx + i]);
            y[j * ldy + row] = accumulate ? y[j * ldy + row] + sum : sum;
        }
}

#define QUANTIZE(name, type, block)                                                                                    \
    void name(type *out, float *scales, const float *x, long k) {                                                      \
        for (long i = 0; i < k; i += QK_QUANT_BLOCK)                                                                   \
            *scales++ = block(out + i, x + i, k - i < QK_QUANT_BLOCK ? k - i : QK_QUANT_BLOCK, QK_QUANT_BLOCK);        \
    }

QUANTIZE(qk_quantize_int8, int8_t, qk_quantize_block8)
QUANTIZE(qk_quantize_int16, int16_t, qk_quantize_block16)

void qk_bf16_from_int8_plain(uint16_t *out, const int8_t *w, const float *scales, long k, long filled) {
    for (long i = 0; i < k; i++) out[i] = qk_bf16_from_f32((float)w[i] * scales[i / QK_QUANT_BLOCK]);
    for (long i = k; i < filled; i++) out[i] = 0;
}

static float int6_weight(const uint8_t *w, const uint16_t *scales, long i) {
    return (float)qk_int6_integer(w, i) * qk_f32_from_bf16(scales[i / QK_QUANT_BLOCK]);
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
