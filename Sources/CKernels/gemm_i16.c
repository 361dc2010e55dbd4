// The plain definitions.
#include "gemm_i16.h"

#include "bf16.h"
#include "gemm_i16_blocks.h"
#include "int4_kernel.h"
#include "int6_kernel.h"
#include "kernels.h"

static uint32_t pair(int first, int second) { return (uint16_t)first | (uint32_t)(uint16_t)second << 16; }

void qk_i16_from_int8_plain(uint32_t *out, const int8_t *w, const float *scales, long columns) {
    for (long i = 0; i < columns; i += 2) {
        *out++ = pair(w[i], w[i + 1]);
        if (i % 64 == 62) *out++ = qk_f32_bits(*scales++);
    }
}

void qk_i16_from_int6_plain(uint32_t *out, const uint8_t *w, const uint16_t *scales, long columns) {
    for (long i = 0; i < columns; i += 2) {
        *out++ = pair(qk_int6_integer(w, i), qk_int6_integer(w, i + 1));
        if (i % 64 == 62) *out++ = (uint32_t)*scales++ << 16;
    }
}

void qk_i16_from_int4_plain(uint32_t *out, const uint8_t *w, const uint16_t *scales, long columns) {
    for (long i = 0; i < columns; i += 2) {
        *out++ = pair(qk_int4_integer(w, i), qk_int4_integer(w, i + 1));
        if (i % 32 == 30) *out++ = (uint32_t)*scales++ << 16;
    }
}

void qk_i16_pack_plain(
    uint32_t *panel, const float *x, long ldx, long rows, long columns, long group, long first, long last) {
    qk_i16_pack_by(qk_f32_pack_plain, panel, x, ldx, rows, columns, group, first, last);
}

void qk_i16_multiply_plain(
    float *c, long ldc, const uint32_t *a, long lda, long rows, const uint32_t *panels, long stride, long columns, long group,
    long groups, int accumulate, const qk_f32_fetch *fetch) {
    (void)fetch;
    const long words = group / 2 + 1;
    for (long row = 0; row < rows; row++)
        for (long column = 0; column < columns; column++) {
            const uint32_t *x = panels + column / QK_F32_PANEL * stride + column % QK_F32_PANEL;
            float sum = 0;
            for (long g = 0; g < groups; g++) {
                const uint32_t *left = a + row * lda + g * words, *right = x + g * words * QK_F32_PANEL;
                int32_t dot = 0;
                for (long k = 0; k < group / 2; k++) {
                    const uint32_t l = left[k], r = right[k * QK_F32_PANEL];
                    dot += (int16_t)l * (int16_t)r + (int16_t)(l >> 16) * (int16_t)(r >> 16);
                }
                sum += (float)dot * (qk_f32_from_bits(left[group / 2]) * qk_f32_from_bits(right[group / 2 * QK_F32_PANEL]));
            }
            float *to = c + row * ldc + column;
            *to = accumulate ? *to + sum : sum;
        }
}
