// The matrix-vector products for which the instruction set has multiply-add instructions of its own.
#include "gemv_kernel.h"

#include "avx512.h"

#if defined(__x86_64__)

QK_INLINE QK_AVX512 void put(float *y, __m512 sum, int accumulate) {
    float total = _mm512_reduce_add_ps(sum);
    *y = accumulate ? *y + total : total;
}

/// The next 32 columns, of w only those in the mask; `m` rows of x by `n` rows of w, both constants.
QK_INLINE QK_AVX512_BF16 void bf16_step(
    const int m, const int n, __m512 *sum, const uint16_t *w, const uint16_t *x, long ldx, long k, __mmask32 mask) {
    __m512bh factor[4];
#pragma clang loop unroll(full)
    for (int j = 0; j < m; j++) factor[j] = (__m512bh)_mm512_loadu_si512(x + j * ldx);
#pragma clang loop unroll(full)
    for (int r = 0; r < n; r++) {
        __m512bh weight =
            (__m512bh)(mask == ~0u ? _mm512_loadu_si512(w + r * k) : _mm512_maskz_loadu_epi16(mask, w + r * k));
#pragma clang loop unroll(full)
        for (int j = 0; j < m; j++) sum[r * m + j] = _mm512_dpbf16_ps(sum[r * m + j], weight, factor[j]);
    }
}

QK_INLINE QK_AVX512_BF16 void bf16_rows(
    const int m, const int n, float *y, long ldy, const uint16_t *w, const uint16_t *x, long ldx, long k, int accumulate) {
    __m512 sum[16];
#pragma clang loop unroll(full)
    for (int i = 0; i < m * n; i++) sum[i] = _mm512_setzero_ps();
    long i = 0;
    for (; i + 32 <= k; i += 32) {
        if (n == 1) _mm_prefetch(w + i + 2048, _MM_HINT_T1); // a page on, where the hardware does not look
        bf16_step(m, n, sum, w + i, x + i, ldx, k, ~0u);
    }
    if (i < k) bf16_step(m, n, sum, w + i, x + i, ldx, k, qk_mask32(k - i));
#pragma clang loop unroll(full)
    for (int r = 0; r < n; r++)
#pragma clang loop unroll(full)
        for (int j = 0; j < m; j++) put(y + j * ldy + r, sum[r * m + j], accumulate);
}

// One row of w at a time is a single walk through memory, which the hardware fetches ahead best; the row stays in the
// first-level cache until all rows of x have had their turn. Only where x itself is too long for that cache, four rows of w
// share each load of it: these rows are long enough to be walks of their own.
QK_AVX512_BF16 void qk_gemv_bf16_bf16_avx512(
    float *y, long ldy, const uint16_t *w, const uint16_t *x, long ldx, long m, long rows, long k, int accumulate) {
    long row = 0;
    if (m > 1 && m * k > 8 << 10)
        for (; row + 4 <= rows; row += 4) {
            long j = 0;
            for (; j + 4 <= m; j += 4)
                bf16_rows(4, 4, y + j * ldy + row, ldy, w + row * k, x + j * ldx, ldx, k, accumulate);
            for (; j < m; j++) bf16_rows(1, 4, y + j * ldy + row, ldy, w + row * k, x + j * ldx, ldx, k, accumulate);
        }
    for (; row < rows; row++) {
        long j = 0;
        for (; j + 4 <= m; j += 4)
            bf16_rows(4, 1, y + j * ldy + row, ldy, w + row * k, x + j * ldx, ldx, k, accumulate);
        for (; j < m; j++) bf16_rows(1, 1, y + j * ldy + row, ldy, w + row * k, x + j * ldx, ldx, k, accumulate);
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

QK_AVX512 void qk_bf16_from_int8_avx512(uint16_t *out, const int8_t *w, const float *scales, long k, long filled) {
    for (long i = 0; i < filled; i += 32) {
        const __mmask32 there = qk_mask32(k - i);
        const __m512 scale = _mm512_set1_ps(there ? scales[i / QK_INT8_BLOCK] : 0);
        __m256i values = _mm256_maskz_loadu_epi8(there, w + i);
        __m512 low = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm256_castsi256_si128(values)));
        __m512 high = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm256_extracti128_si256(values, 1)));
        // Behind the last column even a scale that is no number leaves zeros.
        __m512i rounded = qk_nearest(_mm512_mul_ps(low, scale), _mm512_mul_ps(high, scale));
        _mm512_mask_storeu_epi16(out + i, qk_mask32(filled - i), _mm512_maskz_mov_epi16(there, rounded));
    }
}

#endif
