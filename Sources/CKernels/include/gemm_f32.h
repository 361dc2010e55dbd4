// Float32 products of a linear layer for few rows, where a general matrix library spends its time packing the weight: here
// the weight is read straight from its rows. Fast with AVX-512; other processors, many rows and weight gradients use OpenBLAS.
#ifndef QWENSFT_CKERNELS_GEMM_F32_H
#define QWENSFT_CKERNELS_GEMM_F32_H

#include "kernel_list.h"

/// Most rows of x that qk_f32_forward multiplies at once.
enum { QK_F32_ROWS = 64 };

/// Whether this processor has more for the products below than their plain definitions.
int qk_f32_few_rows_is_fast(void);

#define QK_GEMM_F32_KERNELS(X)                                                                                          \
    /* panel[column][width] = x[row][column] for columns [first, last): x transposed, missing rows as zeros.            \
       `width` is a multiple of 16, at most QK_F32_ROWS. */                                                             \
    X(void, f32_pack,                                                                                                   \
      (float *panel, long width, const float *x, long ldx, long rows, long first, long last),                           \
      (panel, width, x, ldx, rows, first, last))                                                                        \
    /* y[rows][outputs] = or += x · wᵀ, with x as a panel of `width` and w[outputs][inputs]. */                         \
    X(void, f32_forward,                                                                                                \
      (float *y, long ldy, const float *panel, long width, long rows, const float *w, long ldw, long outputs, long      \
       inputs, int accumulate),                                                                                         \
      (y, ldy, panel, width, rows, w, ldw, outputs, inputs, accumulate))                                                \
    /* dx[rows][columns] = or += dy[rows][outputs] · w[outputs][columns]. */                                            \
    X(void, f32_input_gradient,                                                                                         \
      (float *dx, long ldx, const float *dy, long ldy, long rows, const float *w, long ldw, long outputs, long          \
       columns, int accumulate),                                                                                        \
      (dx, ldx, dy, ldy, rows, w, ldw, outputs, columns, accumulate))

QK_GEMM_F32_KERNELS(QK_DECLARE)

#endif
