// Products of many rows with weights in integers of few bits: both as integers of 16 bits, multiplied in pairs and summed up
// exactly. AVX2 has as many instructions for that as for float32, but half of them for the multipliers; VNNI has half as many. Which piece runs when, and on which thread, is decided in
// PanelProduct.swift.
//
// Operands are 32-bit words. A *group* of neighbors, 32 or 64 columns that share a scale, is its integers in pairs, the first
// one in the lower half of a word, and then the scale, a float32. A panel is QK_F32_PANEL rows of x turned: words of all rows
// for each pair of columns, and behind a group's pairs all rows' scales.
#ifndef QWENSFT_CKERNELS_GEMM_I16_H
#define QWENSFT_CKERNELS_GEMM_I16_H

#include "gemm_f32.h"
#include "kernel_list.h"

#include <stdint.h>

/// Whether this processor has more for these products than their plain definitions.
int qk_multiplies_i16(void);

#define QK_GEMM_I16_KERNELS(X)                                                                                          \
    /* One row of `columns` weights, a multiple of 64, in groups of 64. */                                              \
    X(void, i16_from_int8, (uint32_t *out, const int8_t *w, const float *scales, long columns),                         \
      (out, w, scales, columns))                                                                                        \
    X(void, i16_from_int6, (uint32_t *out, const uint8_t *w, const uint16_t *scales, long columns),                     \
      (out, w, scales, columns))                                                                                        \
    /* The same in groups of 32. */                                                                                     \
    X(void, i16_from_int4, (uint32_t *out, const uint8_t *w, const uint16_t *scales, long columns),                     \
      (out, w, scales, columns))                                                                                        \
    /* Groups [first, last) of a panel of `rows` rows of x, rounded to 1/32767 of the largest magnitude of a group; zeros \
       for missing rows and for columns that x does not have. Of a group that is not finite the scale is NaN. */ \
    X(void, i16_pack,                                                                                                   \
      (uint32_t *panel, const float *x, long ldx, long rows, long columns, long group, long first, long last),          \
      (panel, x, ldx, rows, columns, group, first, last))                                                               \
    /* c[rows][columns] = or += a · panels, of `groups` groups, with `lda` and `stride` words from one row or panel to the \
       next. `columns` is a multiple of QK_F32_PANEL. Meanwhile `fetch` is fetched, if any. */                           \
    X(void, i16_multiply,                                                                                               \
      (float *c, long ldc, const uint32_t *a, long lda, long rows, const uint32_t *panels, long stride, long columns,   \
       long group, long groups, int accumulate, const qk_f32_fetch *fetch),                                             \
      (c, ldc, a, lda, rows, panels, stride, columns, group, groups, accumulate, fetch))

QK_GEMM_I16_KERNELS(QK_DECLARE)

#endif
