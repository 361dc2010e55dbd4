// Float32 products of a linear layer.
//
// For few rows: a general matrix library spends its time packing the weight, here the weight is read straight from its rows.
// Fast with AVX-512.
//
// Of packed panels, for weights that have to be widened anyway: one kernel for all products, rows of broadcast operands
// times panels of QK_F32_PANEL columns. Which piece runs when, and on which thread, is decided in Float32Panels.swift.
#ifndef QWENSFT_CKERNELS_GEMM_F32_H
#define QWENSFT_CKERNELS_GEMM_F32_H

#include "kernel_list.h"

#include <stdint.h>

/// Most rows of x that qk_f32_forward multiplies at once.
enum { QK_F32_ROWS = 64 };

/// Columns of a panel.
enum { QK_F32_PANEL = 16 };

/// Memory that will be needed soon, to be fetched meanwhile: `rows` rows, `stride` bytes apart, of `lines` lines of 64 bytes.
/// Any address is allowed.
typedef struct {
    const char *start;
    long stride, lines, rows;
} qk_f32_fetch;

/// Whether this processor has more for the products below than their plain definitions.
int qk_f32_few_rows_is_fast(void);

#define QK_GEMM_F32_KERNELS(X)                                                                                          \
    /* panel[column][width] = x[row][column] for columns [first, last): x transposed, missing rows as zeros.            \
       `width` is a multiple of 16; for qk_f32_forward at most QK_F32_ROWS. */                                          \
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
      (dx, ldx, dy, ldy, rows, w, ldw, outputs, columns, accumulate))                                                   \
    /* Panels of x: panels[row][QK_F32_PANEL] = x[row][column] for QK_F32_PANEL columns, missing ones as zeros; the     \
       next columns `stride` elements later. */                                                                         \
    X(void, f32_panels,                                                                                                 \
      (float *panels, long stride, const float *x, long ldx, long rows, long columns),                                  \
      (panels, stride, x, ldx, rows, columns))                                                                          \
    /* The same of a bfloat16 matrix. */                                                                                \
    X(void, f32_panels_bf16,                                                                                            \
      (float *panels, long stride, const uint16_t *x, long ldx, long rows, long columns),                               \
      (panels, stride, x, ldx, rows, columns))                                                                          \
    /* c[rows][columns] = or += a[rows][depth] · panels, each of `depth` rows and `stride` elements after the one before.\
       Meanwhile `fetch` is fetched, if any. */                                                                         \
    X(void, f32_multiply,                                                                                               \
      (float *c, long ldc, const float *a, long lda, long rows, const float *panels, long stride, long columns,         \
       long depth, int accumulate, const qk_f32_fetch *fetch),                                                          \
      (c, ldc, a, lda, rows, panels, stride, columns, depth, accumulate, fetch))

QK_GEMM_F32_KERNELS(QK_DECLARE)

#endif
