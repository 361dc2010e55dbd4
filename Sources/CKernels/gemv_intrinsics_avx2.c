// Rows of int8 and int6 weights: their products, and what they mean.
#include "gemv_rows_avx2.h"
#include "kernels.h"
#include "weights_avx2.h"

#if defined(__x86_64__)

QK_AVX2 void qk_gemv_int8_avx2(
    float *y, long ldy, const int8_t *w, const float *scales, const int16_t *x, const float *xscales, long ldx, long m,
    long rows, long k, int accumulate) {
    const qk_rows_form form = {qk_int8_weights, QK_QUANT_BLOCK, 1, 0};
    qk_rows_product(form, y, ldy, (const uint8_t *)w, scales, x, xscales, ldx, m, rows, k, accumulate);
}

QK_AVX2 void qk_gemv_int6_avx2(
    float *y, long ldy, const uint8_t *w, const uint16_t *scales, const int16_t *x, const float *xscales, long ldx,
    long m, long rows, long k, int accumulate) {
    const qk_rows_form form = {qk_int6_weights, QK_INT6_BYTES, 1, 1};
    qk_rows_product(form, y, ldy, w, scales, x, xscales, ldx, m, rows, k, accumulate);
}

// ---- What they mean

QK_INLINE_AVX2 void widen_block(__m256i (*weights)(const uint8_t *block, int quarter), float *out, const uint8_t *block, float scale) {
    const __m256 by = _mm256_set1_ps(scale);
#pragma clang loop unroll(full)
    for (int v = 0; v < 4; v++) {
        const __m256i w = weights(block, v);
        const __m256i low = _mm256_cvtepi16_epi32(_mm256_castsi256_si128(w));
        const __m256i high = _mm256_cvtepi16_epi32(_mm256_extracti128_si256(w, 1));
        _mm256_storeu_ps(out + 16 * v, _mm256_mul_ps(_mm256_cvtepi32_ps(low), by));
        _mm256_storeu_ps(out + 16 * v + 8, _mm256_mul_ps(_mm256_cvtepi32_ps(high), by));
    }
}

#define WIDEN(name, type, scale_type, scale_of, block_bytes)                                                           \
    QK_AVX2 void qk_f32_from_##name##_avx2(float *out, const type *w, const scale_type *scales, long k) {              \
        const uint8_t *block = (const uint8_t *)w;                                                                     \
        for (; k > 0; k -= QK_QUANT_BLOCK, out += QK_QUANT_BLOCK, block += block_bytes) {                              \
            float last[QK_QUANT_BLOCK];                                                                                \
            const int fits = k >= QK_QUANT_BLOCK;                                                                      \
            widen_block(qk_##name##_weights, fits ? out : last, block, scale_of(*scales++));                           \
            if (!fits) memcpy(out, last, (size_t)k * sizeof *out);                                                     \
        }                                                                                                              \
    }

WIDEN(int8, int8_t, float, , QK_QUANT_BLOCK)
WIDEN(int6, uint8_t, uint16_t, qk_f32_from_bf16, QK_INT6_BYTES)

#endif
