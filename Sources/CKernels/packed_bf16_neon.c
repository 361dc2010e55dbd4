// Packed bfloat16 with table look-ups: 32 places at a time, which are two runs of 16 weights.
#include "neon.h"
#include "packed_bf16_kernel.h"

#if defined(__aarch64__)

typedef struct {
    uint16x8_t near[2], far[2]; // 16 weights; the 16 that are 32 behind them
} weights32;

QK_INLINE_NEON weights32 unpack32(const uint8_t *lowers, const uint8_t *codes, uint8x16_t uppers) {
    const uint8x16_t pairs = vld1q_u8(codes);
    const uint8x16_t even = vqtbl1q_u8(uppers, vandq_u8(pairs, vdupq_n_u8(15))), odd = vqtbl1q_u8(uppers, vshrq_n_u8(pairs, 4));
    const uint8x16_t upper[2] = {vzip1q_u8(even, odd), vzip2q_u8(even, odd)};
    weights32 w;
    QK_UNROLL
    for (int i = 0; i < 2; i++) {
        const uint8x16_t lower = vld1q_u8(lowers + 16 * i);
        w.near[i] = vreinterpretq_u16_u8(vzip1q_u8(lower, upper[i]));
        w.far[i] = vreinterpretq_u16_u8(vzip2q_u8(lower, upper[i]));
    }
    return w;
}

void qk_unpack_bf16_neon(uint16_t *out, const uint8_t *packed, const uint8_t *uppers, long k, long filled) {
    const uint8x16_t table = vld1q_u8(uppers);
    long i = 0;
    for (; i < k; i += 64) {
        const uint8_t *block = packed + i / QK_PACKED_BLOCK * QK_PACKED_BLOCK_BYTES;
        const long half = i % QK_PACKED_BLOCK / 64;
        uint16_t last[64];
        uint16_t *to = filled - i >= 64 ? out + i : last;
        QK_UNROLL
        for (int part = 0; part < 2; part++) {
            const weights32 w = unpack32(block + 64 * half + 32 * part, block + QK_PACKED_BLOCK + 32 * half + 16 * part, table);
            QK_UNROLL
            for (int v = 0; v < 2; v++) {
                vst1q_u16(to + 16 * part + 8 * v, w.near[v]);
                vst1q_u16(to + 32 + 16 * part + 8 * v, w.far[v]);
            }
        }
        if (to == last) memcpy(out + i, last, (size_t)(filled - i) * sizeof *out);
    }
    for (i = k; i < filled; i++) out[i] = 0; // a part of a row: its last block goes on
}

/// sum += 8 products; the lower and the upper four apart.
QK_INLINE_NEON void multiply8(float32x4_t sum[2], uint16x8_t w, const float *x) {
    sum[0] = vfmaq_f32(sum[0], qk_widen4(vget_low_u16(w)), vld1q_f32(x));
    sum[1] = vfmaq_f32(sum[1], vreinterpretq_f32_u32(vshll_high_n_u16(w, 16)), vld1q_f32(x + 4));
}

/// Columns of x that are widened at once.
enum { COLUMNS = 8192 };

void qk_gemv_packed_bf16_neon(
    float *y, const uint8_t *w, const uint8_t *uppers, const uint32_t *starts, const qk_exception *exceptions,
    const uint16_t *x, long rows, long k, int accumulate) {
    const uint8x16_t table = vld1q_u8(uppers);
    float wide[COLUMNS];
    for (long first = 0; first == 0 || first < k; first += COLUMNS) {
        const long columns = k - first < COLUMNS ? k - first : COLUMNS;
        qk_f32_from_bf16_run_plain(wide, x + first, columns);
        for (long row = 0; row < rows; row++) {
            const uint8_t *block = w + (row * k + first) / QK_PACKED_BLOCK * QK_PACKED_BLOCK_BYTES;
            float32x4_t sum[8];
            QK_UNROLL
            for (int i = 0; i < 8; i++) sum[i] = vdupq_n_f32(0);
            for (const float *factor = wide; factor < wide + columns; factor += QK_PACKED_BLOCK, block += QK_PACKED_BLOCK_BYTES)
                QK_UNROLL for (int part = 0; part < 4; part++) {
                    const weights32 v = unpack32(block + 32 * part, block + QK_PACKED_BLOCK + 16 * part, table);
                    const float *near = factor + 64 * (part / 2) + 16 * (part % 2);
                    QK_UNROLL
                    for (int i = 0; i < 2; i++) {
                        multiply8(sum + 2 * i, v.near[i], near + 8 * i);
                        multiply8(sum + 4 + 2 * i, v.far[i], near + 32 + 8 * i);
                    }
                }
            QK_UNROLL
            for (int n = 4; n > 0; n /= 2)
                QK_UNROLL for (int i = 0; i < n; i++) sum[i] = vaddq_f32(sum[i], sum[i + n]);
            float total = vaddvq_f32(sum[0]);
            if (first == 0) total += qk_exceptions_product(exceptions + starts[row], exceptions + starts[row + 1], x);
            y[row] = accumulate || first > 0 ? y[row] + total : total;
        }
    }
}

#endif
