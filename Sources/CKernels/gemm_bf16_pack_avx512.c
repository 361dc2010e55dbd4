// Packing of operands and storing of results for the bfloat16 products.
#include "avx512.h"
#include "gemm_bf16_kernel.h"

#if defined(__x86_64__)

/// Transposes 16 vectors of 16 32-bit elements.
QK_INLINE QK_AVX512 void transpose16(__m512i r[16]) {
    __m512i t[16];
#pragma clang loop unroll(full)
    for (int i = 0; i < 8; i++) { // pairs of rows: 32-bit elements
        t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
    }
#pragma clang loop unroll(full)
    for (int i = 0; i < 4; i++) { // fours of rows: each 128-bit part now holds one column of four rows
        r[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
        r[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
        r[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
        r[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
    }
#pragma clang loop unroll(full)
    for (int j = 0; j < 4; j++) { // 4x4 transpose of the 128-bit parts
        __m512i a = _mm512_shuffle_i32x4(r[j], r[4 + j], 0x88), b = _mm512_shuffle_i32x4(r[j], r[4 + j], 0xdd);
        __m512i c = _mm512_shuffle_i32x4(r[8 + j], r[12 + j], 0x88), d = _mm512_shuffle_i32x4(r[8 + j], r[12 + j], 0xdd);
        t[j] = _mm512_shuffle_i32x4(a, c, 0x88);
        t[8 + j] = _mm512_shuffle_i32x4(a, c, 0xdd);
        t[4 + j] = _mm512_shuffle_i32x4(b, d, 0x88);
        t[12 + j] = _mm512_shuffle_i32x4(b, d, 0xdd);
    }
#pragma clang loop unroll(full)
    for (int i = 0; i < 16; i++) r[i] = t[i];
}

QK_AVX512_BF16 void qk_pack_transposed_avx512(
    uint16_t *panel, long width, const float *x, long ldx, long rows, long columns) {
    long pairs = (columns + 1) / 2;
    for (long c = 0; c < columns; c += 32) {
        __mmask16 low = qk_mask16(columns - c), high = qk_mask16(columns - c - 16);
        long stored = pairs - c / 2 < 16 ? pairs - c / 2 : 16;
        for (long r = 0; r < width; r += 16) {
            __m512i v[16];
#pragma clang loop unroll(full)
            for (long i = 0; i < 16; i++) {
                const float *from = x + (r + i) * ldx + c;
                int there = r + i < rows;
                __m512 a = there ? _mm512_maskz_loadu_ps(low, from) : _mm512_setzero_ps();
                __m512 b = there && high ? _mm512_maskz_loadu_ps(high, from + 16) : _mm512_setzero_ps();
                v[i] = (__m512i)_mm512_cvtne2ps_pbh(b, a);
            }
            transpose16(v);
            uint16_t *to = panel + c * width + 2 * r;
            if (stored == 16) {
#pragma clang loop unroll(full)
                for (long i = 0; i < 16; i++) _mm512_storeu_si512(to + 2 * i * width, v[i]);
            } else {
#pragma clang loop unroll(full)
                for (long i = 0; i < 16; i++)
                    if (i < stored) _mm512_storeu_si512(to + 2 * i * width, v[i]);
            }
        }
    }
}

QK_AVX512_BF16 void qk_round_transposed_avx512(
    uint16_t *out, long ldo, const float *x, long ldx, long rows, long columns) {
    for (long c = 0; c < columns; c += 16, out += 16 * ldo) {
        __mmask16 mask = qk_mask16(columns - c);
        for (long r = 0; r < rows; r += 32) {
            const float *from = x + r * ldx + c;
            __m512i v[16]; // of each pair of rows 16 columns, then of each column 16 pairs
#pragma clang loop unroll(full)
            for (long i = 0; i < 32; i += 2) {
                __m512 a = r + i < rows ? _mm512_maskz_loadu_ps(mask, from + i * ldx) : _mm512_setzero_ps();
                __m512 b = r + i + 1 < rows ? _mm512_maskz_loadu_ps(mask, from + (i + 1) * ldx) : _mm512_setzero_ps();
                v[i / 2] = qk_interleave_halves((__m512i)_mm512_cvtne2ps_pbh(b, a));
            }
            transpose16(v);
            __mmask16 pairs = qk_mask16((rows - r + 1) / 2);
#pragma clang loop unroll(full)
            for (long i = 0; i < 16; i++)
                if (c + i < columns) _mm512_mask_storeu_epi32(out + i * ldo + r, pairs, v[i]);
        }
    }
}

QK_AVX512_BF16 void qk_pack_interleaved_f32_avx512(
    uint16_t *panel, long width, const float *x, long ldx, long rows, long columns) {
    for (long r = 0; r < rows; r += 2, panel += 2 * width) {
        const float *one = x + r * ldx, *two = one + ldx;
        for (long c = 0; c < width; c += 16) {
            __mmask16 mask = qk_mask16(columns - c);
            __m512 a = mask ? _mm512_maskz_loadu_ps(mask, one + c) : _mm512_setzero_ps();
            __m512 b = mask && r + 1 < rows ? _mm512_maskz_loadu_ps(mask, two + c) : _mm512_setzero_ps();
            _mm512_storeu_si512(panel + 2 * c, qk_interleave_halves((__m512i)_mm512_cvtne2ps_pbh(b, a)));
        }
    }
}

QK_AVX512 void qk_pack_interleaved_bf16_avx512(
    uint16_t *panel, long width, const uint16_t *x, long ldx, long rows, long columns) {
    if (columns == width && width == 64 && rows % 2 == 0) { // the common case, without masks
        for (long r = 0; r < rows; r += 2, x += 2 * ldx, panel += 128) {
#pragma clang loop unroll(full)
            for (long c = 0; c < 64; c += 16) {
                __m256i a = _mm256_loadu_si256((const __m256i *)(x + c));
                __m256i b = _mm256_loadu_si256((const __m256i *)(x + ldx + c));
                _mm512_storeu_si512(
                    panel + 2 * c, qk_interleave_halves(_mm512_inserti64x4(_mm512_castsi256_si512(a), b, 1)));
            }
        }
        return;
    }
    for (long r = 0; r < rows; r += 2, panel += 2 * width) {
        const uint16_t *one = x + r * ldx, *two = one + ldx;
        for (long c = 0; c < width; c += 16) {
            __mmask16 mask = qk_mask16(columns - c);
            __m256i a = mask ? _mm256_maskz_loadu_epi16(mask, one + c) : _mm256_setzero_si256();
            __m256i b = mask && r + 1 < rows ? _mm256_maskz_loadu_epi16(mask, two + c) : _mm256_setzero_si256();
            _mm512_storeu_si512(panel + 2 * c, qk_interleave_halves(_mm512_inserti64x4(_mm512_castsi256_si512(a), b, 1)));
        }
    }
}

QK_AVX512 void qk_store_transposed_avx512(
    float *y, long ldy, const float *tile, long ldt, long rows, long columns, int accumulate) {
    for (long r = 0; r < rows; r += 16) {
        long height = rows - r < 16 ? rows - r : 16;
        for (long c = 0; c < columns; c += 16) {
            __m512i v[16];
            __mmask16 mask = qk_mask16(columns - c);
#pragma clang loop unroll(full)
            for (long i = 0; i < 16; i++)
                v[i] = c + i < columns ? _mm512_loadu_si512(tile + (c + i) * ldt + r) : _mm512_setzero_si512();
            transpose16(v);
#pragma clang loop unroll(full)
            for (long i = 0; i < 16; i++) {
                if (i >= height) continue;
                float *to = y + (r + i) * ldy + c;
                __m512 value = _mm512_castsi512_ps(v[i]);
                if (accumulate) value = _mm512_add_ps(value, _mm512_maskz_loadu_ps(mask, to));
                if (mask == 0xffff) _mm512_storeu_ps(to, value);
                else _mm512_mask_storeu_ps(to, mask, value);
            }
        }
    }
}

QK_INLINE QK_AVX512 void store_gradient_f32(
    float *to, __m512 sum, __m512 alpha, __m512 beta, int read, __mmask16 mask) {
    __m512 old = read ? _mm512_maskz_loadu_ps(mask, to) : _mm512_setzero_ps();
    __m512 value = _mm512_mul_ps(alpha, sum);
    if (read) value = _mm512_fmadd_ps(beta, old, value);
    if (mask == 0xffff) _mm512_storeu_ps(to, value);
    else _mm512_mask_storeu_ps(to, mask, value);
}

QK_AVX512 void qk_store_gradient_avx512(
    const qk_gradient *gradient, long row, long column, const float *tile, long ldt, long rows, long columns) {
    const __m512 alpha = _mm512_set1_ps(gradient->alpha), beta = _mm512_set1_ps(gradient->beta);
    const int read = gradient->beta != 0, stochastic = gradient->rounding == QK_ROUND_STOCHASTIC;
    const long stride = gradient->columns, counters = (long)qk_counters_per_row((uint64_t)stride);
    if (!gradient->bf16) {
        float *target = (float *)gradient->target + row * stride + column;
        for (long r = 0; r < rows; r++, target += stride, tile += ldt)
            for (long c = 0; c < columns; c += 16)
                store_gradient_f32(target + c, _mm512_loadu_ps(tile + c), alpha, beta, read, qk_mask16(columns - c));
        return;
    }
    uint16_t *target = (uint16_t *)gradient->target + row * stride + column;
    for (long r = 0; r < rows; r++, target += stride, tile += ldt) {
        uint32_t counter = (uint32_t)((uint64_t)(row + r) * (uint64_t)counters + (uint64_t)column / 2);
        for (long c = 0; c < columns; c += 32) {
            __mmask32 mask = qk_mask32(columns - c);
            __m512 low = _mm512_mul_ps(alpha, _mm512_loadu_ps(tile + c));
            __m512 high = mask >> 16 ? _mm512_mul_ps(alpha, _mm512_loadu_ps(tile + c + 16)) : _mm512_setzero_ps();
            if (read) {
                if (mask == 0xffffffffu) {
                    low = _mm512_fmadd_ps(beta, qk_widen(_mm256_loadu_si256((const __m256i *)(target + c))), low);
                    high = _mm512_fmadd_ps(beta, qk_widen(_mm256_loadu_si256((const __m256i *)(target + c + 16))), high);
                } else {
                    __m512i old = _mm512_maskz_loadu_epi16(mask, target + c);
                    low = _mm512_fmadd_ps(beta, qk_low_f32(old), low);
                    high = _mm512_fmadd_ps(beta, qk_high_f32(old), high);
                }
            }
            __m512i rounded = stochastic ? qk_stochastic(low, high, gradient->key, counter + (uint32_t)(c / 2))
                                         : qk_nearest(low, high);
            if (mask == 0xffffffffu) _mm512_storeu_si512(target + c, rounded);
            else _mm512_mask_storeu_epi16(target + c, mask, rounded);
        }
    }
}

#endif
