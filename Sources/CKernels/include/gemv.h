// Products of few rows with a large weight matrix: decoding. They run at the speed of memory, so each walks through the
// weight once, in its order. y[m][row] = or += sum over k of x[m][k] * w[row][k]; rows of x are ldx, of y ldy elements
// apart. Sums are float32.
#ifndef QWENSFT_CKERNELS_GEMV_H
#define QWENSFT_CKERNELS_GEMV_H

#include "kernel_list.h"

#include "bf16.h"

/// Columns of an int8 or int6 matrix that share a scale; its rows are filled up to a multiple of it with zeros.
/// A block of int6 takes QK_INT6_BYTES: weight i is the signed number in the bits from 6 * i on.
enum { QK_QUANT_BLOCK = 64, QK_INT6_BYTES = 48 };

#define QK_GEMV_KERNELS(X)                                                                                             \
    X(void, gemv_f32,                                                                                                        \
      (float *y, long ldy, const float *w, const float *x, long ldx, long m, long rows, long k, int accumulate),       \
      (y, ldy, w, x, ldx, m, rows, k, accumulate))                                                                     \
    /* bfloat16 weights, widened in registers. */                                                                      \
    X(void, gemv_bf16,                                                                                                       \
      (float *y, long ldy, const uint16_t *w, const float *x, long ldx, long m, long rows, long k, int accumulate),    \
      (y, ldy, w, x, ldx, m, rows, k, accumulate))                                                                     \
    /* Both bfloat16, fast where the processor multiplies that. Rows of x are filled up to a multiple of 32 with zeros. */ \
    X(void, gemv_bf16_bf16,                                                                                            \
      (float *y, long ldy, const uint16_t *w, const uint16_t *x, long ldx, long m, long rows, long k, int accumulate), \
      (y, ldy, w, x, ldx, m, rows, k, accumulate))                                                                     \
    /* int8 weights, w * scale[row][block], and int16 x, x * xscale[m][block] (ldx / QK_QUANT_BLOCK scales from row to   \
       row). k is a multiple of QK_QUANT_BLOCK. Sums within a block are exact. */                                       \
    X(void, gemv_int8,                                                                                                       \
      (float *y, long ldy, const int8_t *w, const float *scales, const int16_t *x, const float *xscales, long ldx,     \
       long m, long rows, long k, int accumulate),                                                                     \
      (y, ldy, w, scales, x, xscales, ldx, m, rows, k, accumulate))                                                   \
    /* The same with int6 weights and bfloat16 scales. */                                                              \
    X(void, gemv_int6,                                                                                                       \
      (float *y, long ldy, const uint8_t *w, const uint16_t *scales, const int16_t *x, const float *xscales, long ldx, \
       long m, long rows, long k, int accumulate),                                                                     \
      (y, ldy, w, scales, x, xscales, ldx, m, rows, k, accumulate))                                                    \
    /* One row of int6 blocks: of five scales around the one that makes the weight of largest magnitude -32, the one    \
       with the least sum of squared errors. Of a block that is not finite the scale is NaN. */                        \
    X(void, quantize_int6, (uint8_t *out, uint16_t *scales, const float *x, long k), (out, scales, x, k))              \
    /* What one row of blocks means, rounded to bfloat16: k values, filled up to `filled` with zeros. */                \
    X(void, bf16_from_int8, (uint16_t *out, const int8_t *w, const float *scales, long k, long filled),                \
      (out, w, scales, k, filled))                                                                                     \
    X(void, bf16_from_int6, (uint16_t *out, const uint8_t *w, const uint16_t *scales, long k, long filled),            \
      (out, w, scales, k, filled))                                                                                     \
    /* The same exactly, without filling up. */                                                                        \
    X(void, f32_from_int8, (float *out, const int8_t *w, const float *scales, long k), (out, w, scales, k))            \
    X(void, f32_from_int6, (float *out, const uint8_t *w, const uint16_t *scales, long k), (out, w, scales, k))

QK_GEMV_KERNELS(QK_DECLARE)

/// One row of blocks: out = round(x / scale) with scale = largest magnitude / 127, filled up with zeros. Of a block that is
/// not finite the scale is NaN.
void qk_quantize_int8(int8_t *out, float *scales, const float *x, long k);

/// The same to int16: scale = largest magnitude / 32767.
void qk_quantize_int16(int16_t *out, float *scales, const float *x, long k);

#endif
