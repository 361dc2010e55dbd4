// Pieces of the bfloat16 matrix products. Which piece runs when, and on which thread, is decided in BFloat16GEMM.swift.
//
// One kernel does all the arithmetic: it multiplies `rows` x `pairs` broadcast operands by a packed panel of `width`
// columns (a multiple of 16, at most 64). Both operands come as 32-bit pairs of bfloat16 that are neighbors along the
// axis of summation, as vdpbf16ps wants them. Sums are float32.
#ifndef QWENSFT_CKERNELS_GEMM_BF16_H
#define QWENSFT_CKERNELS_GEMM_BF16_H

#include "bf16.h"
#include "kernel_list.h"

/// Most columns of a panel, and most rows of the tile that qk_gemm_gradient works on.
enum { QK_PANEL_WIDTH = 64, QK_GRADIENT_ROWS = 48 };

/// What becomes of a weight gradient G: target = beta * target + alpha * G, in the target's type. beta = 0 does not read it.
typedef struct {
    void *target; // [rows][columns] of float or bfloat16, dense
    long columns;
    float alpha, beta;
    int bf16;     // the target's type
    int rounding; // QK_ROUND_…, of bfloat16 targets
    qk_round_key key;
} qk_gradient;

#define QK_GEMM_BF16_KERNELS(X)                                                                                         \
    /* Packing. Missing rows and columns, and the odd half of a pair, become zeros. */                                  \
    /* panel[column pair][row, `width` of them][2] = bf16(x[row][column]): summation along the columns of x. */         \
    X(void, pack_transposed,                                                                                            \
      (uint16_t *panel, long width, const float *x, long ldx, long rows, long columns),                                 \
      (panel, width, x, ldx, rows, columns))                                                                            \
    /* out[column][row] = bf16(x[row][column]), to the nearest, rows filled up to an even number. */                    \
    X(void, round_transposed,                                                                                           \
      (uint16_t *out, long ldo, const float *x, long ldx, long rows, long columns),                                     \
      (out, ldo, x, ldx, rows, columns))                                                                                \
    /* panel[row pair][column, `width` of them][2] = bf16(x[row][column]): summation along the rows of x. */            \
    X(void, pack_interleaved_f32,                                                                                       \
      (uint16_t *panel, long width, const float *x, long ldx, long rows, long columns),                                 \
      (panel, width, x, ldx, rows, columns))                                                                            \
    /* qk_pack_interleaved_f32 of a bfloat16 matrix. */                                                                 \
    X(void, pack_interleaved_bf16,                                                                                      \
      (uint16_t *panel, long width, const uint16_t *x, long ldx, long rows, long columns),                              \
      (panel, width, x, ldx, rows, columns))                                                                            \
    /* Multiplying. c[rows][width] (float32, row stride ldc) = or += a * panel. */                                      \
    /* `a` is row-major bfloat16 with `lda` elements from row to row, read once from far away: while one block of       \
       rows is multiplied the next one is fetched, after the last one the rows at `next` (or nothing, where `a` is      \
       at hand already). */                                                                                             \
    X(void, gemm_stream,                                                                                                \
      (float *c, long ldc, const uint16_t *a, long lda, long rows, const uint16_t *panel, long width, long pairs,       \
       int accumulate, int fetch, const uint16_t *next),                                                                \
      (c, ldc, a, lda, rows, panel, width, pairs, accumulate, fetch, next))                                             \
    /* `a` is at hand; meanwhile `width` columns of the 2 * pairs rows at `next` (row stride ldn) are fetched, if       \
       any. */                                                                                                          \
    X(void, gemm_panel,                                                                                                 \
      (float *c, long ldc, const uint16_t *a, long lda, long rows, const uint16_t *panel, long width, long pairs,       \
       int accumulate, const uint16_t *next, long ldn),                                                                 \
      (c, ldc, a, lda, rows, panel, width, pairs, accumulate, next, ldn))                                               \
    /* Where results go. */                                                                                             \
    /* y[row][column] = or += tile[column][row]. */                                                                     \
    X(void, store_transposed,                                                                                           \
      (float *y, long ldy, const float *tile, long ldt, long rows, long columns, int accumulate),                       \
      (y, ldy, tile, ldt, rows, columns, accumulate))                                                                   \
    /* Puts tile[rows][columns] (row stride ldt) to the target's rectangle that starts at (row, column); column a       \
       multiple of 32. */                                                                                               \
    X(void, store_gradient,                                                                                             \
      (const qk_gradient *gradient, long row, long column, const float *tile, long ldt, long rows, long columns),       \
      (gradient, row, column, tile, ldt, rows, columns))                                                                \
    /* The target's rectangle (row, column, rows <= QK_GRADIENT_ROWS, columns) from the rows of a (`lda` elements       \
       apart, pairs along them) and consecutive panels over `columns`, each QK_PANEL_WIDTH wide and the last one        \
       cut to a multiple of 16. */                                                                                      \
    X(void, gemm_gradient,                                                                                              \
      (const qk_gradient *gradient, long row, long column, long rows, long columns, const uint16_t *a, long lda,        \
       const uint16_t *panels, long pairs),                                                                             \
      (gradient, row, column, rows, columns, a, lda, panels, pairs))

QK_GEMM_BF16_KERNELS(QK_DECLARE)

/// out[row][column] = bf16(x[row][column]), to the nearest; `columns` filled up to `filled` with zeros.
void qk_round_rows(uint16_t *out, long ldo, const float *x, long ldx, long rows, long columns, long filled);

/// The same without rounding: a bfloat16 matrix whose rows are filled up to `ldo` with zeros.
void qk_pad_rows(uint16_t *out, long ldo, const uint16_t *x, long ldx, long rows, long columns);

/// y[row][column] = or += tile[row][column].
void qk_store_rows(float *y, long ldy, const float *tile, long ldt, long rows, long columns, int accumulate);

#endif
