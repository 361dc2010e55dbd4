// The order in which float32 products go through their register blocks, for all variants.
#ifndef QWENSFT_CKERNELS_GEMM_F32_BLOCKS_H
#define QWENSFT_CKERNELS_GEMM_F32_BLOCKS_H

#include "gemm_f32.h"

/// c[rows][…] = or += a · panels for one register block: so many rows as the function is for, and one step of columns.
typedef void qk_f32_block(
    float *c, long ldc, const float *a, long lda, const float *panels, long stride, long depth, int accumulate);

/// What is still to be fetched, and how much of it before every block.
typedef struct {
    qk_f32_fetch rest;
    long line, each;
} qk_f32_fetching;

/// `fetch`, if any, spread over so many blocks.
static inline qk_f32_fetching qk_f32_begin_fetching(const qk_f32_fetch *fetch, long blocks) {
    qk_f32_fetching state = {{0, 0, 0, 0}, 0, 0};
    if (!fetch || blocks == 0) return state;
    state.rest = *fetch;
    state.each = (fetch->rows * fetch->lines + blocks - 1) / blocks;
    return state;
}

static inline void qk_f32_fetch_some(qk_f32_fetching *state) {
    for (long i = 0; i < state->each && state->rest.rows > 0; i++) {
        __builtin_prefetch(state->rest.start + 64 * state->line, 0, 2);
        if (++state->line < state->rest.lines) continue;
        state->line = 0;
        state->rest.start += state->rest.stride;
        state->rest.rows--;
    }
}

/// qk_f32_multiply by `blocks`, which holds a function for every number of rows from 1 to `most`, each for `width` columns.
static inline __attribute__((always_inline)) void qk_f32_multiply_by(
    qk_f32_block *const *blocks, long most, long width, float *c, long ldc, const float *a, long lda, long rows,
    const float *panels, long stride, long columns, long depth, int accumulate, const qk_f32_fetch *fetch) {
    float tile[24 * 2 * QK_F32_PANEL];
    const long count = (rows + most - 1) / most, steps = (columns + width - 1) / width;
    qk_f32_fetching state = qk_f32_begin_fetching(fetch, count * steps);
    for (long column = 0; column < columns; column += width, panels += width / QK_F32_PANEL * stride) {
        const long used = columns - column < width ? columns - column : width;
        for (long i = 0, row = 0, next; i < count; i++, row = next) {
            next = rows * (i + 1) / count; // blocks as equal as can be: one of few rows cannot keep the multipliers busy
            qk_f32_fetch_some(&state);
            float *to = c + row * ldc + column;
            if (used == width) {
                blocks[next - row - 1](to, ldc, a + row * lda, lda, panels, stride, depth, accumulate);
                continue;
            }
            blocks[next - row - 1](tile, width, a + row * lda, lda, panels, stride, depth, 0);
            for (long r = 0; r < next - row; r++)
                for (long j = 0; j < used; j++) to[r * ldc + j] = (accumulate ? to[r * ldc + j] : 0) + tile[r * width + j];
        }
    }
}

#endif
