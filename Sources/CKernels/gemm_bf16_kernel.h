// The multiplying kernel and the vector variants of gemm_bf16.c, behind its dispatch.
#ifndef QWENSFT_CKERNELS_GEMM_BF16_KERNEL_H
#define QWENSFT_CKERNELS_GEMM_BF16_KERNEL_H

#include "gemm_bf16.h"

/// Addresses to fetch into the second-level cache while a block is multiplied: the block's pairs are cut into as many
/// segments as it has rows; segment s walks from `start` + s * `segment`, `step` bytes a pair. Any address is allowed.
typedef struct {
    const char *start;
    long segment, step;
} qk_fetch;

/// c[rows][width] = or += a * panel for one register block; the rows of a are `row` bytes apart.
typedef void qk_block(
    long pairs, const char *a, long row, const char *panel, float *c, long ldc, int accumulate, qk_fetch fetch);

/// Most rows of a register block for panels of 16, 32, 48 and 64 columns: always 24 accumulators, so that with the panel's
/// vectors and one broadcast the 32 registers suffice.
static inline long qk_block_rows(long width) { return width == 64 ? 6 : width == 48 ? 8 : width == 32 ? 12 : 24; }

/// The kernel for `rows` <= qk_block_rows(width), of the processor's AVX512_BF16.
qk_block *qk_block_avx512(long width, long rows);

/// Cuts `rows` into blocks as equal as can be: a block of few rows cannot keep the multiplier busy.
static inline long qk_next_block(long rows, long most) {
    long blocks = (rows + most - 1) / most;
    return (rows + blocks - 1) / blocks;
}

void qk_pack_transposed_avx512(uint16_t *panel, long width, const float *x, long ldx, long rows, long columns);
void qk_round_transposed_avx512(uint16_t *out, long ldo, const float *x, long ldx, long rows, long columns);
void qk_pack_interleaved_f32_avx512(uint16_t *panel, long width, const float *x, long ldx, long rows, long columns);
void qk_pack_interleaved_bf16_avx512(uint16_t *panel, long width, const uint16_t *x, long ldx, long rows, long columns);
void qk_store_transposed_avx512(
    float *y, long ldy, const float *tile, long ldt, long rows, long columns, int accumulate);
void qk_store_gradient_avx512(
    const qk_gradient *gradient, long row, long column, const float *tile, long ldt, long rows, long columns);


/// qk_store_gradient of a product that never leaves the registers: QK_PANEL_WIDTH columns, sums over at most
/// QK_FUSED_PAIRS. Each block of rows fetches the target of the following one, the last one that at `next`.
void qk_gemm_gradient_avx512(
    const qk_gradient *gradient, long row, long column, long rows, const uint16_t *a, long lda, const uint16_t *panel,
    long pairs, const char *next);

/// A panel of that many pairs takes 256 KiB of the second-level cache.
enum { QK_FUSED_PAIRS = 1024 };

#endif
