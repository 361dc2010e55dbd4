// Packed bfloat16 with byte permutations: 64 weights at a time.
#include "avx512.h"
#include "packed_bf16_kernel.h"

#if defined(__x86_64__)

typedef struct {
    __m512i low, high; // weights 0 to 31, 32 to 63
} weights64;

QK_INLINE QK_AVX512_BF16 weights64 unpack64(const uint8_t *lowers, const uint8_t *codes, __m512i uppers) {
    __m512i pairs = _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *)codes)); // two codes in each 16 bits
    __m512i each = _mm512_and_si512(
        _mm512_or_si512(pairs, _mm512_slli_epi16(pairs, 4)), _mm512_set1_epi8(0x0f));
    __m512i upper = _mm512_shuffle_epi8(uppers, each), lower = _mm512_loadu_si512(lowers);
    return (weights64){_mm512_unpacklo_epi8(lower, upper), _mm512_unpackhi_epi8(lower, upper)};
}

QK_INLINE QK_AVX512_BF16 __m512i table16(const uint8_t *uppers) {
    return _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)uppers));
}

QK_AVX512_BF16 long qk_pack_bf16_avx512(
    uint8_t *out, qk_exception *exceptions, const uint16_t *w, long k, const uint8_t *codes) {
    __m512i table[4];
    for (int i = 0; i < 4; i++) table[i] = _mm512_loadu_si512(codes + 64 * i);
    const __m512i byte = _mm512_set1_epi16(0xff), joined = _mm512_set1_epi16(0x1001); // code + 16 * next code
    long count = 0;
    for (long i = 0; i < (k + QK_PACKED_BLOCK - 1) / QK_PACKED_BLOCK * QK_PACKED_BLOCK; i += 64) {
        __m512i a = _mm512_maskz_loadu_epi16(qk_mask32(k - i), w + i);
        __m512i b = _mm512_maskz_loadu_epi16(qk_mask32(k - i - 32), w + i + 32);
        __m512i lower = _mm512_packus_epi16(_mm512_and_si512(a, byte), _mm512_and_si512(b, byte));
        __m512i upper = _mm512_packus_epi16(_mm512_srli_epi16(a, 8), _mm512_srli_epi16(b, 8));
        __m512i code = _mm512_mask_blend_epi8(
            _mm512_movepi8_mask(upper), _mm512_permutex2var_epi8(table[0], upper, table[1]),
            _mm512_permutex2var_epi8(table[2], upper, table[3]));
        __mmask64 missing = _mm512_testn_epi8_mask(code, code) & _mm512_test_epi8_mask(upper, upper);
        uint8_t *block = out + i / QK_PACKED_BLOCK * QK_PACKED_BLOCK_BYTES;
        const long half = i % QK_PACKED_BLOCK / 64;
        _mm512_storeu_si512(block + 64 * half, _mm512_maskz_mov_epi8(~missing, lower));
        __m256i two = _mm512_cvtepi16_epi8(_mm512_maddubs_epi16(code, joined));
        _mm256_storeu_si256((__m256i *)(block + QK_PACKED_BLOCK + 32 * half), two);
        for (long j = 0; missing && j < 64; j++)
            if (missing >> qk_packed_place(j) & 1) exceptions[count++] = (qk_exception){(uint32_t)(i + j), w[i + j]};
    }
    return count;
}

QK_AVX512_BF16 void qk_unpack_bf16_avx512(uint16_t *out, const uint8_t *packed, const uint8_t *uppers, long k, long filled) {
    const __m512i table = table16(uppers);
    long i = 0;
    for (; i < k; i += 64) {
        const uint8_t *block = packed + i / QK_PACKED_BLOCK * QK_PACKED_BLOCK_BYTES;
        const long half = i % QK_PACKED_BLOCK / 64;
        _mm_prefetch(block + 2048, _MM_HINT_T0);
        _mm_prefetch(block + 2048 + 64 + 64 * half, _MM_HINT_T0);
        weights64 w = unpack64(block + 64 * half, block + QK_PACKED_BLOCK + 32 * half, table);
        if (filled - i >= 64) {
            _mm512_storeu_si512(out + i, w.low);
            _mm512_storeu_si512(out + i + 32, w.high);
        } else {
            _mm512_mask_storeu_epi16(out + i, qk_mask32(filled - i), w.low);
            _mm512_mask_storeu_epi16(out + i + 32, qk_mask32(filled - i - 32), w.high);
        }
    }
    for (i = k; i < filled; i++) out[i] = 0; // a part of a row: its last block goes on
}

// Two rows at a time would read two places in memory; one walk is fetched ahead best, a page on.
QK_AVX512_BF16 void qk_gemv_packed_bf16_avx512(
    float *y, const uint8_t *w, const uint8_t *uppers, const uint32_t *starts, const qk_exception *exceptions,
    const uint16_t *x, long rows, long k, int accumulate) {
    const __m512i table = table16(uppers);
    for (long row = 0; row < rows; row++) {
        __m512 sum[4];
#pragma clang loop unroll(full)
        for (int i = 0; i < 4; i++) sum[i] = _mm512_setzero_ps();
        for (long i = 0; i < k; i += QK_PACKED_BLOCK, w += QK_PACKED_BLOCK_BYTES) {
#pragma clang loop unroll(full)
            for (int j = 0; j < 3; j++) _mm_prefetch(w + 4096 + 64 * j, _MM_HINT_T1);
#pragma clang loop unroll(full)
            for (int half = 0; half < 2; half++) {
                weights64 v = unpack64(w + 64 * half, w + QK_PACKED_BLOCK + 32 * half, table);
                const uint16_t *factor = x + i + 64 * half;
                sum[2 * half] = _mm512_dpbf16_ps(
                    sum[2 * half], (__m512bh)v.low, (__m512bh)_mm512_loadu_si512(factor));
                sum[2 * half + 1] = _mm512_dpbf16_ps(
                    sum[2 * half + 1], (__m512bh)v.high, (__m512bh)_mm512_loadu_si512(factor + 32));
            }
        }
        float total = _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(sum[0], sum[1]), _mm512_add_ps(sum[2], sum[3])));
        if (starts[row] != starts[row + 1])
            total += qk_exceptions_product(exceptions + starts[row], exceptions + starts[row + 1], x);
        y[row] = accumulate ? y[row] + total : total;
    }
}

#endif
