// What rows of int8, int6 and int4 weights mean.
#include "gemv_rows_neon.h"

#include "kernels.h"

#if defined(__aarch64__)

QK_INLINE_NEON void widen_block(const qk_rows_form form, float *out, const uint8_t *block, const void *scales, long scale) {
    const qk_weights64 w = form.weights(block);
    float32x4_t wide[4][4];
    QK_UNROLL
    for (int p = 0; p < 4; p++) {
        const float by = qk_row_scale(form, scales, scale + (form.block_scales == 2 ? p / 2 : 0));
        const int16x8_t half[2] = {vmovl_s8(vget_low_s8(w.part[p])), vmovl_high_s8(w.part[p])};
        QK_UNROLL
        for (int i = 0; i < 2; i++) {
            wide[p][2 * i] = vmulq_n_f32(qk_unshifted(vmovl_s16(vget_low_s16(half[i])), form.shift), by);
            wide[p][2 * i + 1] = vmulq_n_f32(qk_unshifted(vmovl_high_s16(half[i]), form.shift), by);
        }
    }
    QK_UNROLL
    for (int p = 0; p < 4; p++) {
        if (form.by_fours) {
            vst4q_f32(out + 16 * p, ((float32x4x4_t){{wide[0][p], wide[1][p], wide[2][p], wide[3][p]}}));
            continue;
        }
        QK_UNROLL
        for (int i = 0; i < 4; i++) vst1q_f32(out + 16 * p + 4 * i, wide[p][i]);
    }
}

QK_INLINE_NEON void widen(const qk_rows_form form, float *out, const uint8_t *w, const void *scales, long k) {
    long scale = 0;
    for (; k >= QK_QUANT_BLOCK; k -= QK_QUANT_BLOCK, out += QK_QUANT_BLOCK, w += form.block_bytes, scale += form.block_scales)
        widen_block(form, out, w, scales, scale);
    if (k == 0) return;
    float last[QK_QUANT_BLOCK];
    widen_block(form, last, w, scales, scale);
    memcpy(out, last, (size_t)k * sizeof *out);
}

void qk_f32_from_int8_neon(float *out, const int8_t *w, const float *scales, long k) {
    widen(QK_INT8_FORM, out, (const uint8_t *)w, scales, k);
}

void qk_f32_from_int6_neon(float *out, const uint8_t *w, const uint16_t *scales, long k) {
    widen(QK_INT6_FORM, out, w, scales, k);
}

void qk_f32_from_int4_neon(float *out, const uint8_t *w, const uint16_t *scales, long k) {
    widen(QK_INT4_FORM, out, w, scales, k);
}

#endif
