// The innermost step of all bfloat16 products.
#ifndef QWENSFT_CKERNELS_GEMM_BF16_STEP_AVX512_H
#define QWENSFT_CKERNELS_GEMM_BF16_STEP_AVX512_H

#include "avx512.h"

#if defined(__x86_64__)

/// With 24 accumulators, four vectors of the panel and one broadcast, 32 registers suffice; 16 keep the multiplier busy.
enum { QK_ACCUMULATORS = 24 };

/// sum[rows][vectors] += one pair of each row, `row` bytes apart, times one pair of each of the panel's columns.
/// To be unrolled: `rows` and `vectors` are constants of the caller.
QK_INLINE QK_AVX512_BF16 void qk_step(
    const int rows, const int vectors, __m512 *sum, const char *a, long row, const char *panel) {
    __m512bh b[4];
#pragma clang loop unroll(full)
    for (int v = 0; v < vectors; v++) b[v] = (__m512bh)_mm512_loadu_si512(panel + 64 * v);
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r++) {
        int pair;
        __builtin_memcpy(&pair, a + r * row, 4);
        __m512bh broadcast = (__m512bh)_mm512_set1_epi32(pair);
#pragma clang loop unroll(full)
        for (int v = 0; v < vectors; v++)
            sum[r * vectors + v] = _mm512_dpbf16_ps(sum[r * vectors + v], broadcast, b[v]);
    }
}

#endif
#endif
