// What the variants of the int16 products share.
#ifndef QWENSFT_CKERNELS_GEMM_I16_BLOCKS_H
#define QWENSFT_CKERNELS_GEMM_I16_BLOCKS_H

#include "gemm_f32_blocks.h"
#include "gemm_i16.h"
#include "gemv.h"
#include "quantize_block.h"

/// c[rows][…] = or += a · panels for one register block: so many rows as the function is for, and one step of columns.
typedef void qk_i16_block(
    float *c, long ldc, const uint32_t *a, long lda, const uint32_t *panels, long stride, long group, long groups,
    int accumulate);

/// qk_i16_multiply by `blocks`, which holds a function for every number of rows from 1 to `most`, each for `width` columns.
static inline __attribute__((always_inline)) void qk_i16_multiply_by(
    qk_i16_block *const *blocks, long most, long width, float *c, long ldc, const uint32_t *a, long lda, long rows,
    const uint32_t *panels, long stride, long columns, long group, long groups, int accumulate, const qk_f32_fetch *fetch) {
    const long count = (rows + most - 1) / most, steps = columns / width;
    qk_f32_fetching state = qk_f32_begin_fetching(fetch, count * steps);
    for (long column = 0; column < columns; column += width, panels += width / QK_F32_PANEL * stride)
        for (long i = 0, row = 0, next; i < count; i++, row = next) {
            next = rows * (i + 1) / count;
            qk_f32_fetch_some(&state);
            blocks[next - row - 1](
                c + row * ldc + column, ldc, a + row * lda, lda, panels, stride, group, groups, accumulate);
        }
}

/// qk_i16_pack, inlined into every variant so that the compiler makes its loops with what there is; `turn` is the variant's
/// qk_f32_pack.
static inline __attribute__((always_inline)) void qk_i16_pack_by(
    __typeof__(qk_f32_pack) *turn, uint32_t *panel, const float *x, long ldx, long rows, long columns, long group, long first,
    long last) {
    enum { WIDTH = QK_F32_PANEL };
    for (long g = first; g < last; g++) {
        union {
            int16_t integers[WIDTH * QK_QUANT_BLOCK];
            float words[WIDTH * QK_QUANT_BLOCK / 2];
        } pairs;
        float *const words = (float *)panel + g * (group / 2 + 1) * WIDTH, *const scales = words + group / 2 * WIDTH;
        const long left = columns - g * group, there = left < 0 ? 0 : left < group ? left : group;
        for (long row = 0; row < rows; row++) {
            const float *from = x + row * ldx + (there > 0 ? g * group : 0);
            int16_t *to = pairs.integers + row * group;
            // With constants the compiler makes vectors without ends of them.
            scales[row] = there == 64 ? qk_quantize_block16(to, from, 64, 64)
                : there == 32 && group == 32 ? qk_quantize_block16(to, from, 32, 32)
                                             : qk_quantize_block16(to, from, there, group);
        }
        for (long row = rows; row < WIDTH; row++) scales[row] = 0;
        // Bits are only moved.
        turn(words, WIDTH, pairs.words, group / 2, rows, 0, group / 2);
    }
}

#endif
