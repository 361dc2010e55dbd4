// Conversion of long runs between float32, bfloat16 and float16. Pointers need no alignment; runs must not overlap
// unless said otherwise.
#ifndef QWENSFT_CKERNELS_CONVERT_H
#define QWENSFT_CKERNELS_CONVERT_H

#include "bf16.h"
#include "kernel_list.h"

#define QK_CONVERT_KERNELS(X)                                                                                           \
    /* Exact. */                                                                                                        \
    X(void, f32_from_bf16_run, (float *out, const uint16_t *in, long count), (out, in, count))                          \
    /* Exact. */                                                                                                        \
    X(void, f32_from_f16_run, (float *out, const uint16_t *in, long count), (out, in, count))                           \
    /* To the nearest, ties to even. */                                                                                 \
    X(void, bf16_from_f32_run, (uint16_t *out, const float *in, long count), (out, in, count))                          \
    /* Stochastic; in[i] is element `first + i` of the tensor the key belongs to, seen as one row. */                   \
    X(void, bf16_from_f32_stochastic_run,                                                                               \
      (uint16_t *out, const float *in, long count, uint64_t first, qk_round_key key), (out, in, count, first, key))

QK_CONVERT_KERNELS(QK_DECLARE)

/// The largest magnitude of a run, as the bits of a float32 without its sign: 0x7f800000 is infinite, and more is not a number.
uint32_t qk_largest_f32(const float *x, long count);

/// The same of 16-bit floats: 0x7f80 is a bfloat16's infinity, 0x7c00 a float16's.
uint16_t qk_largest_16(const uint16_t *x, long count);

/// How many numbers are not 0 and have a magnitude of at most `bits`.
long qk_count_vanishing_f32(const float *x, long count, uint32_t bits);

#endif
