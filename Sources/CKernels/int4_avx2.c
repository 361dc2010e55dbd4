#include "gemv_rows_avx2.h"
#include "int4_kernel.h"
#include "kernels.h"
#include "weights_avx2.h"

#if defined(__x86_64__)

QK_INLINE_AVX2 void widen64(float *out, const uint8_t *w, const uint16_t *scales) {
#pragma clang loop unroll(full)
    for (int p = 0; p < 4; p++) {
        const __m256i words = qk_int4_weights(w, p);
        __m256 scale = _mm256_set1_ps(qk_f32_from_bf16(scales[p / 2]));
        __m256i low = _mm256_cvtepi16_epi32(_mm256_castsi256_si128(words));
        __m256i high = _mm256_cvtepi16_epi32(_mm256_extracti128_si256(words, 1));
        _mm256_storeu_ps(out + 16 * p, _mm256_mul_ps(_mm256_cvtepi32_ps(low), scale));
        _mm256_storeu_ps(out + 16 * p + 8, _mm256_mul_ps(_mm256_cvtepi32_ps(high), scale));
    }
}

QK_AVX2 void qk_f32_from_int4_avx2(float *out, const uint8_t *w, const uint16_t *scales, long k) {
    for (; k >= 64; k -= 64, out += 64, w += QK_INT4_BYTES, scales += 2) widen64(out, w, scales);
    for (long i = 0; i < k; i++) out[i] = qk_int4_weight(w, scales, i);
}

QK_AVX2 void qk_bf16_from_int4_avx2(uint16_t *out, const uint8_t *w, const uint16_t *scales, long k, long filled) {
    float wide[64];
    long i = 0;
    for (; i < k; i += 64, w += QK_INT4_BYTES, scales += 2) {
        uint16_t last[64];
        uint16_t *to = filled - i >= 64 ? out + i : last;
        widen64(wide, w, scales);
#pragma clang loop unroll(full)
        for (int j = 0; j < 64; j += 16)
            _mm256_storeu_si256(
                (__m256i *)(to + j), qk_nearest16(_mm256_loadu_ps(wide + j), _mm256_loadu_ps(wide + j + 8)));
        if (to == last) memcpy(out + i, last, (size_t)(filled - i) * sizeof *out);
    }
    for (i = k; i < filled; i++) out[i] = 0;
}

QK_AVX2 void qk_gemv_int4_avx2(
    float *y, long ldy, const uint8_t *w, const uint16_t *scales, const int16_t *x, const float *xscales, long ldx,
    long m, long rows, long k, int accumulate) {
    const qk_rows_form form = {qk_int4_weights, QK_INT4_BYTES, 2, 1};
    qk_rows_product(form, y, ldy, w, scales, x, xscales, ldx, m, rows, k, accumulate);
}

QK_AVX2 void qk_quantize_int4_avx2(uint8_t *out, uint16_t *scales, const float *x, long k) {
    qk_int4_quantize(out, scales, x, k);
}

#endif
