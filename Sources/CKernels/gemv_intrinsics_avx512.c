// The matrix-vector products for which the instruction set has multiply-add instructions of its own.
#include "gemv_kernel.h"

#include "avx512.h"

#if defined(__x86_64__)

QK_INLINE QK_AVX512 void put(float *y, __m512 sum, int accumulate) {
    float total = _mm512_reduce_add_ps(sum);
    *y = accumulate ? *y + total : total;
}

/// `m` rows of x, a constant.
QK_INLINE QK_AVX512_BF16 void bf16_row(
    const int m, float *y, long ldy, const uint16_t *w, const uint16_t *x, long ldx, long k, __mmask32 tail,
    int accumulate) {
    __m512 sum[4];
#pragma clang loop unroll(full)
    for (int j = 0; j < m; j++) sum[j] = _mm512_setzero_ps();
    long i = 0;
    for (; i + 32 <= k; i += 32) {
        __m512bh weight = (__m512bh)_mm512_loadu_si512(w + i);
#pragma clang loop unroll(full)
        for (int j = 0; j < m; j++)
            sum[j] = _mm512_dpbf16_ps(sum[j], weight, (__m512bh)_mm512_loadu_si512(x + j * ldx + i));
    }
    if (tail) {
        __m512bh weight = (__m512bh)_mm512_maskz_loadu_epi16(tail, w + i);
#pragma clang loop unroll(full)
        for (int j = 0; j < m; j++)
            sum[j] = _mm512_dpbf16_ps(sum[j], weight, (__m512bh)_mm512_loadu_si512(x + j * ldx + i));
    }
#pragma clang loop unroll(full)
    for (int j = 0; j < m; j++) put(y + j * ldy, sum[j], accumulate);
}

// One row of w at a time: a single walk through memory is what the hardware fetches ahead best. The row stays in the
// first-level cache until all rows of x have had their turn.
QK_AVX512_BF16 void qk_gemv_bf16_bf16_avx512(
    float *y, long ldy, const uint16_t *w, const uint16_t *x, long ldx, long m, long rows, long k, int accumulate) {
    const __mmask32 tail = qk_mask32(k % 32);
    for (long row = 0; row < rows; row++, y++, w += k) {
        long j = 0;
        for (; j + 4 <= m; j += 4) bf16_row(4, y + j * ldy, ldy, w, x + j * ldx, ldx, k, tail, accumulate);
        for (; j < m; j++) bf16_row(1, y + j * ldy, ldy, w, x + j * ldx, ldx, k, tail, accumulate);
    }
}

QK_AVX512 void qk_gemv_int8_madd(
    float *y, long ldy, const int8_t *w, const float *scales, const int16_t *x, const float *xscales, long ldx, long m,
    long rows, long k, int accumulate) {
    const long blocks = k / QK_INT8_BLOCK;
    for (long row = 0; row < rows; row++, w += k, scales += blocks)
        for (long j = 0; j < m; j++) {
            const int16_t *factor = x + j * ldx;
            const float *xscale = xscales + j * (ldx / QK_INT8_BLOCK);
            __m512 sum = _mm512_setzero_ps();
            for (long b = 0; b < blocks; b++) {
                const __m256i *weight = (const __m256i *)(w + b * QK_INT8_BLOCK);
                __m512i low = _mm512_cvtepi8_epi16(_mm256_loadu_si256(weight));
                __m512i high = _mm512_cvtepi8_epi16(_mm256_loadu_si256(weight + 1));
                __m512i dot = _mm512_add_epi32(
                    _mm512_madd_epi16(low, _mm512_loadu_si512(factor + b * QK_INT8_BLOCK)),
                    _mm512_madd_epi16(high, _mm512_loadu_si512(factor + b * QK_INT8_BLOCK + 32)));
                sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), _mm512_set1_ps(scales[b] * xscale[b]), sum);
            }
            put(y + j * ldy + row, sum, accumulate);
        }
}

#endif
