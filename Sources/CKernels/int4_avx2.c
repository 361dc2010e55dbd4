#include "avx2.h"
#include "int4_kernel.h"
#include "kernels.h"

#if defined(__x86_64__)

typedef struct {
    __m256i of[4]; // 16 weights each, as int16
} words64;

QK_INLINE_AVX2 words64 unpack64(const uint8_t *w) {
    __m256i v = _mm256_loadu_si256((const __m256i *)w);
    return (words64){{_mm256_srai_epi16(_mm256_slli_epi16(v, 12), 12), _mm256_srai_epi16(_mm256_slli_epi16(v, 8), 12),
                      _mm256_srai_epi16(_mm256_slli_epi16(v, 4), 12), _mm256_srai_epi16(v, 12)}};
}

QK_INLINE_AVX2 void widen64(float *out, const uint8_t *w, const uint16_t *scales) {
    words64 words = unpack64(w);
    for (int p = 0; p < 4; p++) {
        __m256 scale = _mm256_set1_ps(qk_f32_from_bf16(scales[p / 2]));
        __m256i low = _mm256_cvtepi16_epi32(_mm256_castsi256_si128(words.of[p]));
        __m256i high = _mm256_cvtepi16_epi32(_mm256_extracti128_si256(words.of[p], 1));
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

// One row of w is one walk through memory; it stays in the first-level cache until all rows of x have had their turn.
QK_AVX2 void qk_gemv_int4_avx2(
    float *y, long ldy, const uint8_t *w, const uint16_t *scales, const int16_t *x, const float *xscales, long ldx,
    long m, long rows, long k, int accumulate) {
    const long units = k / 64;
    for (long row = 0; row < rows; row++, w += units * QK_INT4_BYTES, scales += 2 * units)
        for (long j = 0; j < m; j++) {
            const float *xscale = xscales + j * (ldx / 64);
            const __m256i *factor = (const __m256i *)(x + j * ldx);
            __m256 sum[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
            for (long u = 0; u < units; u++, factor += 4) {
                _mm_prefetch((const char *)(w + u * QK_INT4_BYTES + 2048), _MM_HINT_T0);
                words64 v = unpack64(w + u * QK_INT4_BYTES);
                for (int block = 0; block < 2; block++) {
                    __m256i dot = _mm256_add_epi32(
                        _mm256_madd_epi16(v.of[2 * block], _mm256_loadu_si256(factor + 2 * block)),
                        _mm256_madd_epi16(v.of[2 * block + 1], _mm256_loadu_si256(factor + 2 * block + 1)));
                    __m256 scale = _mm256_set1_ps(qk_f32_from_bf16(scales[2 * u + block]) * xscale[u]);
                    sum[block] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), scale, sum[block]);
                }
            }
            const float all = qk_sum8(_mm256_add_ps(sum[0], sum[1]));
            float *out = y + j * ldy + row;
            *out = accumulate ? *out + all : all;
        }
}

QK_AVX2 void qk_quantize_int4_avx2(uint8_t *out, uint16_t *scales, const float *x, long k) {
    qk_int4_quantize(out, scales, x, k);
}

#endif
