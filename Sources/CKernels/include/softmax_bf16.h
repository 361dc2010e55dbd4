// Softmax that comes block by block, into operands of the bfloat16 products that follow.
#ifndef QWENSFT_CKERNELS_SOFTMAX_BF16_H
#define QWENSFT_CKERNELS_SOFTMAX_BF16_H

#include "kernel_list.h"

#include <stdint.h>

/// How many of `most` a row or column sees whose number is `index`, when the first sees `first`.
static inline long qk_seen(long first, long index, long most) {
    const long seen = first + index;
    return seen < 0 ? 0 : seen > most ? most : seen;
}

#define QK_SOFTMAX_BF16_KERNELS(X)                                                                                      \
    /* What qk_softmax_block does, but its exponentials go to out[row][cols] as bfloat16 and the scores stay as         \
       they are. Rows of out are filled up to an even number of columns with zeros. */                                  \
    X(void, softmax_block_bf16,                                                                                         \
      (uint16_t *out, long ldo, const float *s, long ld, long rows, long cols, long first, float scale, float *max,     \
       float *sum, float *rescale),                                                                                     \
      (out, ldo, s, ld, rows, cols, first, scale, max, sum, rescale))                                                   \
    /* Scores that lie transposed: a query is a column, a key is a row. Column c sees its first clamp(first + c, 0,      \
       keys) keys. `width` is a multiple of 16; rows of s and dp are `ld` apart.                                        \
       panel[key pair][column, `width` of them][2] = bf16(exp(scale * s - max)), 0 where unseen; max, sum and           \
       rescale by column, as in qk_softmax_block. Scores that no column sees are not read. */                           \
    X(void, softmax_columns,                                                                                            \
      (uint16_t *panel, const float *s, long ld, long keys, long width, long first, float scale, float *max, float      \
       *sum, float *rescale),                                                                                           \
      (panel, s, ld, keys, width, first, scale, max, sum, rescale))                                                     \
    /* What qk_softmax_block_backward does. p[key][column] and ds[key][column], rows `ldp` apart, are                   \
       bf16(exp(scale * s - lse)) and bf16(exp(scale * s - lse) * (dp - delta) * scale), 0 where unseen; panel[key      \
       pair][column, `width` of them][2] is ds once more. */                                                            \
    X(void, softmax_columns_backward,                                                                                   \
      (uint16_t *p, uint16_t *ds, long ldp, uint16_t *panel, const float *s, const float *dp, long ld, long keys,       \
       long width, long first, float scale, const float *lse, const float *delta),                                      \
      (p, ds, ldp, panel, s, dp, ld, keys, width, first, scale, lse, delta))

QK_SOFTMAX_BF16_KERNELS(QK_DECLARE)

#endif
