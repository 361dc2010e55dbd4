// Rows of int8 and int6 weights: their products, and what they mean.
#include "gemv_rows_avx2.h"
#include "kernels.h"

#if defined(__x86_64__)

QK_INLINE_AVX2 __m256i int8_weights(const uint8_t *block, const int quarter) {
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(block + 16 * quarter)));
}

/// 16 bytes in both halves, as part of loading them: of the intrinsic for that the compiler makes a load and a slow shuffle.
QK_INLINE_AVX2 __m256i twice(const __m128i *from) {
    __m256i both;
    __asm__("vbroadcasti128 %1, %0" : "=x"(both) : "m"(*(const __m128i_u *)from));
    return both;
}

/// Of 12 bytes the two that hold each weight go into a word, there the weight to its upper end, and down again with its sign.
QK_INLINE_AVX2 __m256i int6_weights(const uint8_t *block, const int quarter) {
    const __m256i places = _mm256_setr_epi8(
        0, 1, 0, 1, 1, 2, 1, 2, 3, 4, 3, 4, 4, 5, 4, 5, 6, 7, 6, 7, 7, 8, 7, 8, 9, 10, 9, 10, 10, 11, 10, 11);
    const __m256i up = _mm256_setr_epi16(
        1 << 10, 1 << 4, 1 << 6, 1, 1 << 10, 1 << 4, 1 << 6, 1, 1 << 10, 1 << 4, 1 << 6, 1, 1 << 10, 1 << 4, 1 << 6, 1);
    // The last 16 bytes of a block begin four bytes before its last quarter.
    const int back = quarter == 3 ? 4 : 0;
    const __m128i *from = (const __m128i *)(block + 12 * quarter - back);
    const __m256i words = _mm256_shuffle_epi8(twice(from), _mm256_add_epi8(places, _mm256_set1_epi8((char)back)));
    return _mm256_srai_epi16(_mm256_mullo_epi16(words, up), 10);
}

QK_AVX2 void qk_gemv_int8_avx2(
    float *y, long ldy, const int8_t *w, const float *scales, const int16_t *x, const float *xscales, long ldx, long m,
    long rows, long k, int accumulate) {
    const qk_rows_form form = {int8_weights, QK_QUANT_BLOCK, 1, 0};
    qk_rows_product(form, y, ldy, (const uint8_t *)w, scales, x, xscales, ldx, m, rows, k, accumulate);
}

QK_AVX2 void qk_gemv_int6_avx2(
    float *y, long ldy, const uint8_t *w, const uint16_t *scales, const int16_t *x, const float *xscales, long ldx,
    long m, long rows, long k, int accumulate) {
    const qk_rows_form form = {int6_weights, QK_INT6_BYTES, 1, 1};
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
            widen_block(name##_weights, fits ? out : last, block, scale_of(*scales++));                                \
            if (!fits) memcpy(out, last, (size_t)k * sizeof *out);                                                     \
        }                                                                                                              \
    }

WIDEN(int8, int8_t, float, , QK_QUANT_BLOCK)
WIDEN(int6, uint8_t, uint16_t, qk_f32_from_bf16, QK_INT6_BYTES)

#endif
