// Rows of int8, int6 and int4 weights in NEON: how 64 weights, a block, become four vectors of bytes.
#ifndef QWENSFT_CKERNELS_GEMV_ROWS_NEON_H
#define QWENSFT_CKERNELS_GEMV_ROWS_NEON_H

#if defined(__aarch64__)

#include "gemv.h"
#include "int4.h"
#include "neon.h"

/// Weights times 1 << `shift` of their form: what has fewer bits than a byte stands at its upper end, sign and all.
typedef struct {
    int8x16_t part[4];
} qk_weights64;

/// What distinguishes the forms; constants, so that each gets loops of its own.
typedef struct {
    qk_weights64 (*weights)(const uint8_t *block);
    int shift;
    /// Whether part p holds the columns p, p + 4, …; else it holds 16 neighbors.
    int by_fours;
    long block_bytes;
    /// Scales of a block, one or two, and their type.
    int block_scales, is_bf16;
} qk_rows_form;

QK_INLINE_NEON qk_weights64 qk_int8_weights(const uint8_t *block) {
    qk_weights64 w;
    QK_UNROLL
    for (int p = 0; p < 4; p++) w.part[p] = vld1q_s8((const int8_t *)block + 16 * p);
    return w;
}

/// Of every three bytes, which are four weights, the first ones are a vector, and so on.
QK_INLINE_NEON qk_weights64 qk_int6_weights(const uint8_t *block) {
    const uint8x16x3_t bytes = vld3q_u8(block);
    const uint8x16_t a = bytes.val[0], b = bytes.val[1], c = bytes.val[2], upper = vdupq_n_u8(0xfc);
    return (qk_weights64){{
        vreinterpretq_s8_u8(vshlq_n_u8(a, 2)),
        vreinterpretq_s8_u8(vandq_u8(vsriq_n_u8(vshlq_n_u8(b, 4), a, 4), upper)),
        vreinterpretq_s8_u8(vandq_u8(vsriq_n_u8(vshlq_n_u8(c, 6), b, 2), upper)),
        vreinterpretq_s8_u8(vandq_u8(c, upper)),
    }};
}

QK_INLINE_NEON qk_weights64 qk_int4_weights(const uint8_t *block) {
    const uint8x16x2_t bytes = vld2q_u8(block);
    const uint8x16_t upper = vdupq_n_u8(0xf0);
    return (qk_weights64){{
        vreinterpretq_s8_u8(vshlq_n_u8(bytes.val[0], 4)),
        vreinterpretq_s8_u8(vandq_u8(bytes.val[0], upper)),
        vreinterpretq_s8_u8(vshlq_n_u8(bytes.val[1], 4)),
        vreinterpretq_s8_u8(vandq_u8(bytes.val[1], upper)),
    }};
}

#define QK_INT8_FORM ((qk_rows_form){qk_int8_weights, 0, 0, QK_QUANT_BLOCK, 1, 0})
#define QK_INT6_FORM ((qk_rows_form){qk_int6_weights, 2, 1, QK_INT6_BYTES, 1, 1})
#define QK_INT4_FORM ((qk_rows_form){qk_int4_weights, 4, 0, QK_INT4_BYTES, 2, 1})

/// Sums of products with a form's weights, as float32 and without its shift.
QK_INLINE_NEON float32x4_t qk_unshifted(int32x4_t sum, const int shift) {
    switch (shift) {
    case 2: return vcvtq_n_f32_s32(sum, 2);
    case 4: return vcvtq_n_f32_s32(sum, 4);
    default: return vcvtq_f32_s32(sum);
    }
}

QK_INLINE_NEON float qk_row_scale(const qk_rows_form form, const void *scales, long i) {
    return form.is_bf16 ? qk_f32_from_bf16(((const uint16_t *)scales)[i]) : ((const float *)scales)[i];
}

#endif
#endif
