// Weights in 4 bits: every 32 neighbors of a row share a bfloat16 scale, weight = scale * integer from -8 to 7.
//
// A row is filled up to a multiple of 64 with zeros. 64 weights are 16 words of 16 bits: weight i is the signed number in the
// bits from 4 * (i / 16) on of word i % 16, so that two shifts of all words bring 16 neighbors out at a time.
#ifndef QWENSFT_CKERNELS_INT4_H
#define QWENSFT_CKERNELS_INT4_H

#include "kernel_list.h"

#include <stdint.h>

/// Weights that share a scale, and bytes of 64 weights.
enum { QK_INT4_BLOCK = 32, QK_INT4_BYTES = 32 };

#define QK_INT4_KERNELS(X)                                                                                              \
    /* One row of k weights: of nine scales around the one that makes a block's largest magnitude -8, the one with      \
       the least sum of squared errors. Of a block that is not finite the scale is NaN. */                              \
    X(void, quantize_int4, (uint8_t *out, uint16_t *scales, const float *x, long k), (out, scales, x, k))               \
    /* What k weights of a row mean, exactly. */                                                                        \
    X(void, f32_from_int4, (float *out, const uint8_t *w, const uint16_t *scales, long k), (out, w, scales, k))         \
    /* The same rounded to bfloat16, filled up to `filled` with zeros. */                                               \
    X(void, bf16_from_int4, (uint16_t *out, const uint8_t *w, const uint16_t *scales, long k, long filled),             \
      (out, w, scales, k, filled))                                                                                      \
    /* As qk_gemv_int6: y[m][row] = or += sum over k of x[m][k] * w[row][k] for int16 x with a scale for every 64       \
       columns; k is a multiple of 64. Sums within a block are exact. */                                                \
    X(void, gemv_int4,                                                                                                  \
      (float *y, long ldy, const uint8_t *w, const uint16_t *scales, const int16_t *x, const float *xscales, long ldx,  \
       long m, long rows, long k, int accumulate),                                                                      \
      (y, ldy, w, scales, x, xscales, ldx, m, rows, k, accumulate))

QK_INT4_KERNELS(QK_DECLARE)

#endif
