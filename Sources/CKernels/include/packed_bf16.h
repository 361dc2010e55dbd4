// bfloat16 weights in 12 bits, without loss.
//
// Of a weight's two bytes the lower one (the last bit of the exponent, the mantissa) is noise, but the upper one (sign, exponent)
// takes few values: 15 of them make up all but some ten-thousandths of a matrix. So a row is kept as lower bytes and 4-bit
// codes of upper bytes, and decoding reads three quarters of the memory. Code 0 is the upper byte 0. A weight whose upper byte
// has no code is kept as 0, and beside the matrix as an exception.
//
// A row is a sequence of blocks of 128 weights (the last one filled up with zeros): 128 lower bytes, 64 bytes of codes. Of each
// 64 weights, weight i stands at qk_packed_place(i); code c is half of byte c / 2, the lower half if c is even. In this order
// one interleaving of bytes puts lower and upper ones together again.
#ifndef QWENSFT_CKERNELS_PACKED_BF16_H
#define QWENSFT_CKERNELS_PACKED_BF16_H

#include "kernel_list.h"

#include <stdint.h>

enum { QK_PACKED_BLOCK = 128, QK_PACKED_BLOCK_BYTES = 192 };

static inline long qk_packed_place(long i) { return i % 32 / 8 * 16 + i / 32 * 8 + i % 8; }

/// A weight that has no code.
typedef struct {
    uint32_t column;
    uint16_t value;
} qk_exception;

#define QK_PACKED_BF16_KERNELS(X)                                                                                       \
    /* Packs a row of k weights. codes[upper byte] is 0 for those without a code. \returns how many exceptions were     \
       written, at most k. */                                                                                           \
    X(long, pack_bf16,                                                                                                  \
      (uint8_t *out, qk_exception *exceptions, const uint16_t *w, long k, const uint8_t *codes),                        \
      (out, exceptions, w, k, codes))                                                                                   \
    /* The row again; k weights, filled up to `filled` with zeros, without its exceptions. uppers[code] is the          \
       upper byte. */                                                                                                   \
    X(void, unpack_bf16,                                                                                                \
      (uint16_t *out, const uint8_t *packed, const uint8_t *uppers, long k, long filled),                               \
      (out, packed, uppers, k, filled))                                                                                 \
    /* y[row] = or += sum over k of x[k] * w[row][k], k a multiple of QK_PACKED_BLOCK; starts[row] to starts[row +      \
       1] are the row's exceptions. Sums are float32. */                                                                \
    X(void, gemv_packed_bf16,                                                                                           \
      (float *y, const uint8_t *w, const uint8_t *uppers, const uint32_t *starts, const qk_exception *exceptions,       \
       const uint16_t *x, long rows, long k, int accumulate),                                                           \
      (y, w, uppers, starts, exceptions, x, rows, k, accumulate))

QK_PACKED_BF16_KERNELS(QK_DECLARE)

#endif
