// The loop of the products of int8, int6 and int4 rows with int16 rows of x: sixteen products at a time, added in pairs.
#ifndef QWENSFT_CKERNELS_GEMV_ROWS_AVX2_H
#define QWENSFT_CKERNELS_GEMV_ROWS_AVX2_H

#include "avx2.h"
#include "gemv.h"

#if defined(__x86_64__)

/// What distinguishes the forms; constants, so that each gets loops of its own.
typedef struct {
    /// 16 of the 64 weights of a block, as int16.
    __m256i (*weights)(const uint8_t *block, int quarter);
    long block_bytes;
    /// Scales of a block, one or two, and their type.
    int block_scales, is_bf16;
} qk_rows_form;

/// Blocks whose scales are multiplied with those of x ahead of their turn, many at a time.
enum { QK_BLOCKS_AHEAD = 16 };

/// out[scale] = scale of w * scale of x, for `blocks` blocks from `first` on.
QK_INLINE_AVX2 void qk_both_scales(
    const qk_rows_form form, float *out, const void *scales, const float *xscales, long first, long blocks) {
    const long step = 8 / form.block_scales;
    if (blocks < step) {
        for (long i = 0; i < blocks * form.block_scales; i++) {
            const long at = first * form.block_scales + i;
            const float w = form.is_bf16 ? qk_f32_from_bf16(((const uint16_t *)scales)[at]) : ((const float *)scales)[at];
            out[i] = w * xscales[first + i / form.block_scales];
        }
        return;
    }
    const __m256i twice = _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3);
    for (long next = 0; next < blocks; next += step) {
        const long b = next + step <= blocks ? next : blocks - step, at = (first + b) * form.block_scales;
        const __m256 w = form.is_bf16 ? qk_widen8((const uint16_t *)scales + at) : _mm256_loadu_ps((const float *)scales + at);
        const __m256 by = form.block_scales == 1
            ? _mm256_loadu_ps(xscales + first + b)
            : _mm256_permutevar8x32_ps(_mm256_castps128_ps256(_mm_loadu_ps(xscales + first + b)), twice);
        _mm256_storeu_ps(out + b * form.block_scales, _mm256_mul_ps(w, by));
    }
}

/// One row of w with `m` rows of x, a constant.
QK_INLINE_AVX2 void qk_row_product(
    const qk_rows_form form, const int m, float *y, long ldy, const uint8_t *w, const void *scales, const int16_t *x,
    const float *xscales, long ldx, long k, int accumulate) {
    __m256 sum[4][2];
#pragma clang loop unroll(full)
    for (int j = 0; j < m; j++) sum[j][0] = sum[j][1] = _mm256_setzero_ps();
    for (long first = 0; first < k / QK_QUANT_BLOCK; first += QK_BLOCKS_AHEAD) {
        float both[4][2 * QK_BLOCKS_AHEAD];
        const long left = k / QK_QUANT_BLOCK - first, blocks = left < QK_BLOCKS_AHEAD ? left : QK_BLOCKS_AHEAD;
#pragma clang loop unroll(full)
        for (int j = 0; j < m; j++)
            qk_both_scales(form, both[j], scales, xscales + j * (ldx / QK_QUANT_BLOCK), first, blocks);
        for (long b = 0; b < blocks; b++, w += form.block_bytes) {
            // The hardware does not look beyond a page, so what is a page on is asked for.
            _mm_prefetch((const char *)w + 4096, _MM_HINT_T0);
            __m256i v[4];
#pragma clang loop unroll(full)
            for (int q = 0; q < 4; q++) v[q] = form.weights(w, q);
#pragma clang loop unroll(full)
            for (int j = 0; j < m; j++) {
                const __m256i *factor = (const __m256i *)(x + j * ldx + (first + b) * QK_QUANT_BLOCK);
                __m256i dot[2];
#pragma clang loop unroll(full)
                for (int half = 0; half < 2; half++)
                    dot[half] = _mm256_add_epi32(
                        _mm256_madd_epi16(v[2 * half], _mm256_loadu_si256(factor + 2 * half)),
                        _mm256_madd_epi16(v[2 * half + 1], _mm256_loadu_si256(factor + 2 * half + 1)));
                if (form.block_scales == 1) {
                    const __m256 products = _mm256_cvtepi32_ps(_mm256_add_epi32(dot[0], dot[1]));
                    sum[j][0] = _mm256_fmadd_ps(products, _mm256_broadcast_ss(both[j] + b), sum[j][0]);
                } else {
#pragma clang loop unroll(full)
                    for (int half = 0; half < 2; half++)
                        sum[j][half] = _mm256_fmadd_ps(
                            _mm256_cvtepi32_ps(dot[half]), _mm256_broadcast_ss(both[j] + 2 * b + half), sum[j][half]);
                }
            }
        }
    }
#pragma clang loop unroll(full)
    for (int j = 0; j < m; j++) {
        const float total = qk_sum8(_mm256_add_ps(sum[j][0], sum[j][1]));
        y[j * ldy] = accumulate ? y[j * ldy] + total : total;
    }
}

/// Row by row, which is a single walk through memory.
QK_INLINE_AVX2 void qk_rows_product(
    const qk_rows_form form, float *y, long ldy, const uint8_t *w, const void *scales, const int16_t *x,
    const float *xscales, long ldx, long m, long rows, long k, int accumulate) {
    const long blocks = k / QK_QUANT_BLOCK, xblocks = ldx / QK_QUANT_BLOCK;
    for (long row = 0; row < rows; row++, w += blocks * form.block_bytes, y++) {
        const void *of_row = (const char *)scales + row * blocks * form.block_scales * (form.is_bf16 ? 2 : 4);
        long j = 0;
        for (; j + 4 <= m; j += 4)
            qk_row_product(form, 4, y + j * ldy, ldy, w, of_row, x + j * ldx, xscales + j * xblocks, ldx, k, accumulate);
        for (; j < m; j++)
            qk_row_product(form, 1, y + j * ldy, ldy, w, of_row, x + j * ldx, xscales + j * xblocks, ldx, k, accumulate);
    }
}

#endif
#endif
