// The plain definitions. What quantizes is one text for all variants, in int4_kernel.h.
#include "int4.h"

#include "bf16.h"
#include "int4_kernel.h"
#include "kernels.h"

void qk_f32_from_int4_plain(float *out, const uint8_t *w, const uint16_t *scales, long k) {
    for (long i = 0; i < k; i++) out[i] = qk_int4_weight(w, scales, i);
}

void qk_bf16_from_int4_plain(uint16_t *out, const uint8_t *w, const uint16_t *scales, long k, long filled) {
    for (long i = 0; i < k; i++) out[i] = qk_bf16_from_f32(qk_int4_weight(w, scales, i));
    for (long i = k; i < filled; i++) out[i] = 0;
}

void qk_gemv_int4_plain(
    float *y, long ldy, const uint8_t *w, const uint16_t *scales, const int16_t *x, const float *xscales, long ldx,
    long m, long rows, long k, int accumulate) {
    for (long row = 0; row < rows; row++, w += k / 64 * QK_INT4_BYTES, scales += k / QK_INT4_BLOCK)
        for (long j = 0; j < m; j++) {
            float sum = 0;
            for (long i = 0; i < k; i += QK_INT4_BLOCK) {
                int32_t dot = 0;
                for (long c = i; c < i + QK_INT4_BLOCK; c++) dot += qk_int4_integer(w, c) * x[j * ldx + c];
                sum += (float)dot * (qk_f32_from_bf16(scales[i / QK_INT4_BLOCK]) * xscales[(j * ldx + i) / 64]);
            }
            float *out = y + j * ldy + row;
            *out = accumulate ? *out + sum : sum;
        }
}

void qk_quantize_int4_plain(uint8_t *out, uint16_t *scales, const float *x, long k) { qk_int4_quantize(out, scales, x, k); }
