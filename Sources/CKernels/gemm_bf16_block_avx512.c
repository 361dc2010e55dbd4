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

/// The kernel for `rows` <= qk_block_rows(width).
static qk_block *block_of(long width, long rows) {
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

void qk_gemm_stream_avx512(
    float *c, long ldc, const uint16_t *a, long lda, long rows, const uint16_t *panel, long width, long pairs,
    int accumulate, int fetch, const uint16_t *next) {
    long most = qk_block_rows(width);
    while (rows > 0) {
        long now = qk_next_block(rows, most);
        const uint16_t *following = now < rows ? a + now * lda : next;
        qk_fetch ahead = {(const char *)a, 0, 0};
        if (fetch && following) ahead = (qk_fetch){(const char *)following, 2 * lda, 4 * now};
        block_of(width, now)(
            pairs, (const char *)a, 2 * lda, (const char *)panel, c, ldc, accumulate, ahead);
        a += now * lda;
        c += now * ldc;
        rows -= now;
    }
}

void qk_gemm_panel_avx512(
    float *c, long ldc, const uint16_t *a, long lda, long rows, const uint16_t *panel, long width, long pairs,
    int accumulate, const uint16_t *next, long ldn) {
    long most = qk_block_rows(width);
    for (long index = 0; rows > 0; index++) {
        long now = qk_next_block(rows, most);
        // Each block of rows fetches one cache line of each second row: the first four blocks get all 64 columns.
        qk_fetch ahead = {(const char *)a, 0, 0};
        if (next && index < (width + 31) / 32 * 2)
            ahead = (qk_fetch){(const char *)(next + index % 2 * ldn + index / 2 * 32), pairs / now * 4 * ldn, 4 * ldn};
        block_of(width, now)(
            pairs, (const char *)a, 2 * lda, (const char *)panel, c, ldc, accumulate, ahead);
        a += now * lda;
        c += now * ldc;
        rows -= now;
    }
}

#endif
