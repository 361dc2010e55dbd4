// The matrix-vector products with integers: sixteen products at a time, added in pairs.
#include "avx2.h"
#include "gemv.h"
#include "kernels.h"

#if defined(__x86_64__)

/// 16 of the 64 weights of a block, as int16.
typedef __m256i weights_of(const uint8_t *block, const int quarter);

QK_INLINE_AVX2 __m256i int8_weights(const uint8_t *block, const int quarter) {
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(block + 16 * quarter)));
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
    __m256i words = _mm256_shuffle_epi8(
        _mm256_broadcastsi128_si256(_mm_loadu_si128(from)), _mm256_add_epi8(places, _mm256_set1_epi8((char)back)));
    return _mm256_srai_epi16(_mm256_mullo_epi16(words, up), 10);
}

/// sum[m] += the products of a block with those of `m` rows of x.
QK_INLINE_AVX2 void multiply_block(
    weights_of *weights, const int m, __m256 *sum, const uint8_t *block, float scale, const int16_t *x,
    const float *xscales, long ldx) {
    __m256i w[4];
#pragma clang loop unroll(full)
    for (int v = 0; v < 4; v++) w[v] = weights(block, v);
#pragma clang loop unroll(full)
    for (int j = 0; j < m; j++) {
        const __m256i *factor = (const __m256i *)(x + j * ldx);
        __m256i dot = _mm256_madd_epi16(w[0], _mm256_loadu_si256(factor));
#pragma clang loop unroll(full)
        for (int v = 1; v < 4; v++)
            dot = _mm256_add_epi32(dot, _mm256_madd_epi16(w[v], _mm256_loadu_si256(factor + v)));
        const __m256 both = _mm256_set1_ps(scale * xscales[j * (ldx / QK_QUANT_BLOCK)]);
        sum[j] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), both, sum[j]);
    }
}

// `m` is a constant. One row of w at a time is a single walk through memory; the hardware does not look beyond a page, so what
// is a page on is asked for.
#define ROW(name, scale_type, scale_of, block_bytes)                                                                   \
    QK_INLINE_AVX2 void name##_row(                                                                                    \
        const int m, float *y, long ldy, const uint8_t *w, const scale_type *scales, const int16_t *x,                 \
        const float *xscales, long ldx, long k, int accumulate) {                                                      \
        __m256 sum[4];                                                                                                 \
        _Pragma("clang loop unroll(full)") for (int j = 0; j < m; j++) sum[j] = _mm256_setzero_ps();                   \
        for (long b = 0; b < k / QK_QUANT_BLOCK; b++, w += block_bytes) {                                              \
            _mm_prefetch((const char *)w + 4096, _MM_HINT_T0);                                                         \
            multiply_block(                                                                                            \
                name##_weights, m, sum, w, scale_of(scales[b]), x + b * QK_QUANT_BLOCK, xscales + b, ldx);             \
        }                                                                                                              \
        _Pragma("clang loop unroll(full)") for (int j = 0; j < m; j++) {                                               \
            const float total = qk_sum8(sum[j]);                                                                       \
            y[j * ldy] = accumulate ? y[j * ldy] + total : total;                                                      \
        }                                                                                                              \
    }                                                                                                                  \
    QK_INLINE_AVX2 void name##_rows(                                                                                   \
        float *y, long ldy, const uint8_t *w, const scale_type *scales, const int16_t *x, const float *xscales,        \
        long ldx, long m, long rows, long k, int accumulate) {                                                         \
        const long blocks = k / QK_QUANT_BLOCK, xblocks = ldx / QK_QUANT_BLOCK;                                        \
        for (long row = 0; row < rows; row++, w += blocks * (block_bytes), scales += blocks, y++) {                    \
            long j = 0;                                                                                                \
            for (; j + 4 <= m; j += 4)                                                                                 \
                name##_row(4, y + j * ldy, ldy, w, scales, x + j * ldx, xscales + j * xblocks, ldx, k, accumulate);    \
            for (; j < m; j++)                                                                                         \
                name##_row(1, y + j * ldy, ldy, w, scales, x + j * ldx, xscales + j * xblocks, ldx, k, accumulate);    \
        }                                                                                                              \
    }

ROW(int8, float, , QK_QUANT_BLOCK)
ROW(int6, uint16_t, qk_f32_from_bf16, QK_INT6_BYTES)

QK_AVX2 void qk_gemv_int8_avx2(
    float *y, long ldy, const int8_t *w, const float *scales, const int16_t *x, const float *xscales, long ldx, long m,
    long rows, long k, int accumulate) {
    int8_rows(y, ldy, (const uint8_t *)w, scales, x, xscales, ldx, m, rows, k, accumulate);
}

QK_AVX2 void qk_gemv_int6_avx2(
    float *y, long ldy, const uint8_t *w, const uint16_t *scales, const int16_t *x, const float *xscales, long ldx,
    long m, long rows, long k, int accumulate) {
    int6_rows(y, ldy, w, scales, x, xscales, ldx, m, rows, k, accumulate);
}

// ---- What they mean

QK_INLINE_AVX2 void widen_block(weights_of *weights, float *out, const uint8_t *block, float scale) {
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
