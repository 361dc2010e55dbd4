// Packed bfloat16 with byte shuffles: 32 places at a time, which are two runs of 16 weights.
#include "avx2.h"
#include "packed_bf16_kernel.h"

#if defined(__x86_64__)

typedef struct {
    __m256i near, far; // 16 weights; the 16 that are 32 behind them
} weights32;

QK_INLINE_AVX2 weights32 unpack32(const uint8_t *lowers, const uint8_t *codes, __m256i uppers) {
    __m256i pairs = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)codes)); // two codes in each 16 bits
    __m256i each = _mm256_and_si256(_mm256_or_si256(pairs, _mm256_slli_epi16(pairs, 4)), _mm256_set1_epi8(15));
    __m256i upper = _mm256_shuffle_epi8(uppers, each), lower = _mm256_loadu_si256((const __m256i *)lowers);
    return (weights32){_mm256_unpacklo_epi8(lower, upper), _mm256_unpackhi_epi8(lower, upper)};
}

QK_INLINE_AVX2 __m256i table16(const uint8_t *uppers) {
    return _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)uppers));
}

QK_AVX2 void qk_unpack_bf16_avx2(uint16_t *out, const uint8_t *packed, const uint8_t *uppers, long k, long filled) {
    const __m256i table = table16(uppers);
    long i = 0;
    for (; i < k; i += 64) {
        const uint8_t *block = packed + i / QK_PACKED_BLOCK * QK_PACKED_BLOCK_BYTES;
        const long half = i % QK_PACKED_BLOCK / 64;
        uint16_t last[64];
        uint16_t *to = filled - i >= 64 ? out + i : last;
#pragma clang loop unroll(full)
        for (int part = 0; part < 2; part++) {
            weights32 w = unpack32(
                block + 64 * half + 32 * part, block + QK_PACKED_BLOCK + 32 * half + 16 * part, table);
            _mm256_storeu_si256((__m256i *)(to + 16 * part), w.near);
            _mm256_storeu_si256((__m256i *)(to + 32 + 16 * part), w.far);
        }
        if (to == last) memcpy(out + i, last, (size_t)(filled - i) * sizeof *out);
    }
    for (i = k; i < filled; i++) out[i] = 0; // a part of a row: its last block goes on
}

/// sum += 16 products; even and odd ones become float32 apart.
QK_INLINE_AVX2 void multiply16(__m256 sum[2], __m256i w, const uint16_t *x) {
    const __m256i factor = _mm256_loadu_si256((const __m256i *)x), odd = _mm256_set1_epi32((int)0xffff0000u);
    sum[0] = _mm256_fmadd_ps(
        _mm256_castsi256_ps(_mm256_slli_epi32(w, 16)), _mm256_castsi256_ps(_mm256_slli_epi32(factor, 16)), sum[0]);
    sum[1] = _mm256_fmadd_ps(
        _mm256_castsi256_ps(_mm256_and_si256(w, odd)), _mm256_castsi256_ps(_mm256_and_si256(factor, odd)), sum[1]);
}

QK_AVX2 void qk_gemv_packed_bf16_avx2(
    float *y, const uint8_t *w, const uint8_t *uppers, const uint32_t *starts, const qk_exception *exceptions,
    const uint16_t *x, long rows, long k, int accumulate) {
    const __m256i table = table16(uppers);
    for (long row = 0; row < rows; row++) {
        __m256 sum[4];
#pragma clang loop unroll(full)
        for (int i = 0; i < 4; i++) sum[i] = _mm256_setzero_ps();
        for (long i = 0; i < k; i += QK_PACKED_BLOCK, w += QK_PACKED_BLOCK_BYTES) {
#pragma clang loop unroll(full)
            for (int j = 0; j < 3; j++) _mm_prefetch((const char *)w + 4096 + 64 * j, _MM_HINT_T0);
#pragma clang loop unroll(full)
            for (int part = 0; part < 4; part++) {
                weights32 v = unpack32(w + 32 * part, w + QK_PACKED_BLOCK + 16 * part, table);
                const uint16_t *factor = x + i + 64 * (part / 2) + 16 * (part % 2);
                multiply16(sum, v.near, factor);
                multiply16(sum + 2, v.far, factor + 32);
            }
        }
        float total = qk_sum8(_mm256_add_ps(_mm256_add_ps(sum[0], sum[1]), _mm256_add_ps(sum[2], sum[3])));
        if (starts[row] != starts[row + 1])
            total += qk_exceptions_product(exceptions + starts[row], exceptions + starts[row + 1], x);
        y[row] = accumulate ? y[row] + total : total;
    }
}

#endif
