// The matrix-vector products for which the instruction set has multiply-add instructions of its own.
#include "gemv.h"

#include "avx512.h"
#include "kernels.h"

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

QK_AVX512 void qk_gemv_int8_avx512(
    float *y, long ldy, const int8_t *w, const float *scales, const int16_t *x, const float *xscales, long ldx, long m,
    long rows, long k, int accumulate) {
    const long blocks = k / QK_QUANT_BLOCK;
    for (long row = 0; row < rows; row++, w += k, scales += blocks)
        for (long j = 0; j < m; j++) {
            const int16_t *factor = x + j * ldx;
            const float *xscale = xscales + j * (ldx / QK_QUANT_BLOCK);
            __m512 sum = _mm512_setzero_ps();
            for (long b = 0; b < blocks; b++) {
                const __m256i *weight = (const __m256i *)(w + b * QK_QUANT_BLOCK);
                __m512i low = _mm512_cvtepi8_epi16(_mm256_loadu_si256(weight));
                __m512i high = _mm512_cvtepi8_epi16(_mm256_loadu_si256(weight + 1));
                __m512i dot = _mm512_add_epi32(
                    _mm512_madd_epi16(low, _mm512_loadu_si512(factor + b * QK_QUANT_BLOCK)),
                    _mm512_madd_epi16(high, _mm512_loadu_si512(factor + b * QK_QUANT_BLOCK + 32)));
                sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), _mm512_set1_ps(scales[b] * xscale[b]), sum);
            }
            put(y + j * ldy + row, sum, accumulate);
        }
}

/// Of 48 bytes the first (`upper` 0) or last (24) 32 weights of 6 bits as int16: three bytes into every eight, and of these four
/// fields into the upper bits of words.
QK_INLINE QK_AVX512_BF16 __m512i int6_words(__m512i bytes, char upper) {
    const __m512i three = _mm512_add_epi8(
        _mm512_setr_epi64(0x020100, 0x050403, 0x080706, 0x0b0a09, 0x0e0d0c, 0x11100f, 0x141312, 0x171615),
        _mm512_set1_epi8(upper));
    const __m512i fields = _mm512_set1_epi64(0x10000a0004003e00); // from bits -2, 4, 10 and 16 on into the odd bytes
    return _mm512_srai_epi16(_mm512_multishift_epi64_epi8(fields, _mm512_permutexvar_epi8(three, bytes)), 10);
}

QK_INLINE QK_AVX512_BF16 __m512i int6_load(const uint8_t *w) { return _mm512_maskz_loadu_epi8((1ull << 48) - 1, w); }

QK_AVX512_BF16 void qk_gemv_int6_vbmi(
    float *y, long ldy, const uint8_t *w, const uint16_t *scales, const int16_t *x, const float *xscales, long ldx,
    long m, long rows, long k, int accumulate) {
    const long blocks = k / QK_QUANT_BLOCK;
    for (long row = 0; row < rows; row++, w += blocks * QK_INT6_BYTES, scales += blocks)
        for (long j = 0; j < m; j++) {
            const int16_t *factor = x + j * ldx;
            const float *xscale = xscales + j * (ldx / QK_QUANT_BLOCK);
            __m512 sum = _mm512_setzero_ps();
            for (long b = 0; b < blocks; b++, factor += QK_QUANT_BLOCK) {
                _mm_prefetch(w + b * QK_INT6_BYTES + 4096, _MM_HINT_T1); // a page on, where the hardware does not look
                __m512i bytes = int6_load(w + b * QK_INT6_BYTES);
                __m512i dot = _mm512_dpwssd_epi32(
                    _mm512_setzero_si512(), int6_words(bytes, 0), _mm512_loadu_si512(factor));
                dot = _mm512_dpwssd_epi32(dot, int6_words(bytes, 24), _mm512_loadu_si512(factor + 32));
                sum = _mm512_fmadd_ps(
                    _mm512_cvtepi32_ps(dot), _mm512_set1_ps(qk_f32_from_bf16(scales[b]) * xscale[b]), sum);
            }
            put(y + j * ldy + row, sum, accumulate);
        }
}

/// 32 integers times their scale.
QK_INLINE QK_AVX512_BF16 __m512i scaled(__m512i words, __m512 scale) {
    __m512 low = _mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(_mm512_castsi512_si256(words)));
    __m512 high = _mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(_mm512_extracti64x4_epi64(words, 1)));
    return (__m512i)_mm512_cvtne2ps_pbh(_mm512_mul_ps(high, scale), _mm512_mul_ps(low, scale));
}

/// Puts 64 weights of a row to `out`, of which `there` are, and as many zeros behind them as there is `room`.
QK_INLINE QK_AVX512_BF16 void put64(
    uint16_t *out, __m512i low, __m512i high, __m512 scale, long there, long room) {
    low = scaled(low, scale), high = scaled(high, scale);
    if (there >= QK_QUANT_BLOCK) {
        _mm512_storeu_si512(out, low);
        _mm512_storeu_si512(out + 32, high);
        return;
    }
    // Behind the last column even a scale that is no number leaves zeros.
    _mm512_mask_storeu_epi16(out, qk_mask32(room), _mm512_maskz_mov_epi16(qk_mask32(there), low));
    _mm512_mask_storeu_epi16(out + 32, qk_mask32(room - 32), _mm512_maskz_mov_epi16(qk_mask32(there - 32), high));
}

QK_INLINE QK_AVX512_BF16 void fill(uint16_t *out, long from, long to) {
    for (; from < to; from++) out[from] = 0;
}

QK_AVX512_BF16 void qk_bf16_from_int8_avx512(uint16_t *out, const int8_t *w, const float *scales, long k, long filled) {
    long i = 0;
    for (; i < k; i += QK_QUANT_BLOCK) {
        _mm_prefetch(w + i + 4096, _MM_HINT_T0); // from far away
        const __m256i *weight = (const __m256i *)(w + i);
        put64(
            out + i, _mm512_cvtepi8_epi16(_mm256_loadu_si256(weight)),
            _mm512_cvtepi8_epi16(_mm256_loadu_si256(weight + 1)), _mm512_set1_ps(scales[i / QK_QUANT_BLOCK]), k - i,
            filled - i);
    }
    fill(out, i, filled);
}

QK_AVX512_BF16 void qk_bf16_from_int6_avx512(
    uint16_t *out, const uint8_t *w, const uint16_t *scales, long k, long filled) {
    long i = 0;
    for (; i < k; i += QK_QUANT_BLOCK, w += QK_INT6_BYTES) {
        _mm_prefetch(w + 4096, _MM_HINT_T0); // from far away
        __m512i bytes = int6_load(w);
        put64(
            out + i, int6_words(bytes, 0), int6_words(bytes, 24),
            _mm512_set1_ps(qk_f32_from_bf16(scales[i / QK_QUANT_BLOCK])), k - i, filled - i);
    }
    fill(out, i, filled);
}

#endif
