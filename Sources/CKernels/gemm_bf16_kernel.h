// What the variants share.
#ifndef QWENSFT_CKERNELS_GEMM_BF16_KERNEL_H
#define QWENSFT_CKERNELS_GEMM_BF16_KERNEL_H

#include "gemm_bf16.h"
#include "kernels.h"

#include <math.h>

/// Addresses to fetch into the second-level cache while a block is multiplied: the block's pairs are cut into as many
/// segments as it has rows; segment s walks from `start` + s * `segment`, `step` bytes a pair. Any address is allowed.
typedef struct {
    const char *start;
    long segment, step;
} qk_fetch;

/// The multiplying kernel: c[rows][width] = or += a * panel for one register block; the rows of a are `row` bytes apart.
typedef void qk_block(
    long pairs, const char *a, long row, const char *panel, float *c, long ldc, int accumulate, qk_fetch fetch);

/// Most rows of a register block for panels of 16, 32, 48 and 64 columns: always 24 accumulators, so that with the panel's
/// vectors and one broadcast the 32 registers suffice.
static inline long qk_block_rows(long width) { return width == 64 ? 6 : width == 48 ? 8 : width == 32 ? 12 : 24; }

/// Cuts `rows` into blocks as equal as can be: a block of few rows cannot keep the multiplier busy.
static inline long qk_next_block(long rows, long most) {
    long blocks = (rows + most - 1) / most;
    return (rows + blocks - 1) / blocks;
}

/// What becomes of one element of a gradient.
static inline void qk_store_element(const qk_gradient *gradient, long row, long column, float sum) {
    const long index = row * gradient->columns + column;
    float value = gradient->alpha * sum;
    if (!gradient->bf16) {
        float *target = gradient->target;
        target[index] = gradient->beta != 0 ? fmaf(gradient->beta, target[index], value) : value;
        return;
    }
    uint16_t *target = gradient->target;
    if (gradient->beta != 0) value = fmaf(gradient->beta, qk_f32_from_bf16(target[index]), value);
    const uint32_t counter = (uint32_t)((uint64_t)row * qk_counters_per_row((uint64_t)gradient->columns));
    target[index] = gradient->rounding == QK_ROUND_STOCHASTIC
        ? qk_bf16_from_bits(qk_f32_bits(value), qk_round_noise(gradient->key, counter, (uint64_t)column))
        : qk_bf16_from_f32(value);
}

/// A panel of that many pairs takes 256 KiB of the second-level cache.
enum { QK_FUSED_PAIRS = 1024 };

/// qk_gemm_gradient over the first QK_PANEL_WIDTH of `columns`, by way of a tile in memory.
static inline void qk_gradient_panel(
    const qk_gradient *gradient, long row, long column, long rows, long columns, const uint16_t *a, long lda,
    const uint16_t *panel, long pairs) {
    _Alignas(64) float tile[QK_GRADIENT_ROWS * QK_PANEL_WIDTH];
    const long used = columns < QK_PANEL_WIDTH ? columns : QK_PANEL_WIDTH, width = (used + 15) / 16 * 16;
    for (long p = 0; p == 0 || p < pairs; p += QK_FUSED_PAIRS) { // even without rows: their gradient is 0
        const long now = pairs - p < QK_FUSED_PAIRS ? pairs - p : QK_FUSED_PAIRS;
        qk_gemm_stream(tile, QK_PANEL_WIDTH, a + 2 * p, lda, rows, panel + p * width * 2, width, now, p > 0, 0, 0);
    }
    qk_store_gradient(gradient, row, column, tile, QK_PANEL_WIDTH, rows, used);
}

#endif
