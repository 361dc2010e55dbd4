// Softmax over a row that comes block by block, into the operand of the bfloat16 product that follows.
#ifndef QWENSFT_CKERNELS_SOFTMAX_BF16_H
#define QWENSFT_CKERNELS_SOFTMAX_BF16_H

#include <stdint.h>

/// What qk_softmax_block does, but its exponentials go to out[row][cols] as bfloat16 and the scores stay as they are. Rows of
/// out are filled up to an even number of columns with zeros.
void qk_softmax_block_bf16(
    uint16_t *out, long ldo, const float *s, long ld, long rows, long cols, long first, float scale, float *max, float *sum,
    float *rescale);

#endif
