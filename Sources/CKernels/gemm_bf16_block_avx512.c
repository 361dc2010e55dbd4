// The register blocks of the bfloat16 products: up to 24 accumulators of 16 float32, one broadcast pair per row and step.
#include "gemm_bf16_step_avx512.h"

#include "gemm_bf16_kernel.h"

#if defined(__x86_64__)

QK_INLINE QK_AVX512_BF16 void multiply(
    const int rows, const int vectors, long pairs, const char *a, long row, const char *panel, float *c, long ldc,
    int accumulate, qk_fetch fetch) {
    __m512 sum[QK_ACCUMULATORS];
    if (accumulate) {
#pragma clang loop unroll(full)
        for (int r = 0; r < rows; r++)
#pragma clang loop unroll(full)
            for (int v = 0; v < vectors; v++) sum[r * vectors + v] = _mm512_loadu_ps(c + r * ldc + 16 * v);
    } else {
#pragma clang loop unroll(full)
        for (int i = 0; i < rows * vectors; i++) sum[i] = _mm512_setzero_ps();
    }
    // A walk through memory `rows` times as fast as the one along a row; one fetch a step lasts for the whole block.
    long each = pairs / rows, left = pairs - each * rows;
    for (int s = 0; s < rows; s++) {
        const char *address = fetch.start + s * fetch.segment;
        for (long p = each + (s < left); p > 0; p--) {
            _mm_prefetch(address, _MM_HINT_T1);
            if (rows > 16) _mm_prefetch(address + 2 * rows, _MM_HINT_T1); // steps longer than a cache line
            address += fetch.step;
            qk_step(rows, vectors, sum, a, row, panel);
            a += 4;
            panel += 64 * vectors;
        }
    }
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r++)
#pragma clang loop unroll(full)
        for (int v = 0; v < vectors; v++) _mm512_storeu_ps(c + r * ldc + 16 * v, sum[r * vectors + v]);
}

#define BLOCK(R, V)                                                                                                    \
    static QK_AVX512_BF16 void block_##R##x##V(                                                                        \
        long pairs, const char *a, long row, const char *panel, float *c, long ldc, int accumulate, qk_fetch fetch) {  \
        multiply(R, V, pairs, a, row, panel, c, ldc, accumulate, fetch);                                               \
    }

#define ROWS_1_TO_6(V) BLOCK(1, V) BLOCK(2, V) BLOCK(3, V) BLOCK(4, V) BLOCK(5, V) BLOCK(6, V)
#define ROWS_7_TO_8(V) BLOCK(7, V) BLOCK(8, V)
#define ROWS_9_TO_12(V) BLOCK(9, V) BLOCK(10, V) BLOCK(11, V) BLOCK(12, V)
#define ROWS_13_TO_24(V)                                                                                               \
    BLOCK(13, V) BLOCK(14, V) BLOCK(15, V) BLOCK(16, V) BLOCK(17, V) BLOCK(18, V) BLOCK(19, V) BLOCK(20, V)            \
    BLOCK(21, V) BLOCK(22, V) BLOCK(23, V) BLOCK(24, V)

ROWS_1_TO_6(4)
ROWS_1_TO_6(3) ROWS_7_TO_8(3)
ROWS_1_TO_6(2) ROWS_7_TO_8(2) ROWS_9_TO_12(2)
ROWS_1_TO_6(1) ROWS_7_TO_8(1) ROWS_9_TO_12(1) ROWS_13_TO_24(1)

qk_block *qk_block_avx512(long width, long rows) {
    static qk_block *const one[] = {
        block_1x1, block_2x1, block_3x1, block_4x1, block_5x1, block_6x1, block_7x1, block_8x1,
        block_9x1, block_10x1, block_11x1, block_12x1, block_13x1, block_14x1, block_15x1, block_16x1,
        block_17x1, block_18x1, block_19x1, block_20x1, block_21x1, block_22x1, block_23x1, block_24x1};
    static qk_block *const two[] = {
        block_1x2, block_2x2, block_3x2, block_4x2, block_5x2, block_6x2,
        block_7x2, block_8x2, block_9x2, block_10x2, block_11x2, block_12x2};
    static qk_block *const three[] = {
        block_1x3, block_2x3, block_3x3, block_4x3, block_5x3, block_6x3, block_7x3, block_8x3};
    static qk_block *const four[] = {block_1x4, block_2x4, block_3x4, block_4x4, block_5x4, block_6x4};
    switch (width) {
    case 64: return four[rows - 1];
    case 48: return three[rows - 1];
    case 32: return two[rows - 1];
    default: return one[rows - 1];
    }
}

#endif
