// Storing of results, for products that float32 kernels make.
#include "gemm_bf16_kernel.h"
#include "neon.h"

#if defined(__aarch64__)

/// 32 elements, which share their random bits: beta * target + alpha * sums, without beta where it is not to be read.
QK_INLINE_NEON void new32(float32x4_t x[8], const void *target, int bf16, int read, float alpha, float beta, const float *sums) {
    QK_UNROLL
    for (int v = 0; v < 8; v++) {
        x[v] = vmulq_n_f32(vld1q_f32(sums + 4 * v), alpha);
        if (!read) continue;
        const float32x4_t old =
            bf16 ? qk_widen4(vld1_u16((const uint16_t *)target + 4 * v)) : vld1q_f32((const float *)target + 4 * v);
        x[v] = vfmaq_n_f32(x[v], old, beta);
    }
}

/// Rows of the target, of whole blocks of 32 columns. What is asked for is constant, so that nothing of it is in the loops.
QK_INLINE_NEON void store(
    qk_gradient g, const int bf16, const int read, const int stochastic, long row, long column, const float *tile, long ldt,
    long rows, long columns) {
    const uint64_t counters = qk_counters_per_row((uint64_t)g.columns);
    for (long r = 0; r < rows; r++, tile += ldt) {
        const long index = (row + r) * g.columns + column;
        const uint32_t counter = (uint32_t)((uint64_t)(row + r) * counters + (uint64_t)column / 2);
        for (long c = 0; c + 32 <= columns; c += 32) {
            float32x4_t x[8];
            if (!bf16) {
                float *to = (float *)g.target + index + c;
                new32(x, to, 0, read, g.alpha, g.beta, tile + c);
                QK_UNROLL
                for (int v = 0; v < 8; v++) vst1q_f32(to + 4 * v, x[v]);
                continue;
            }
            uint16_t *to = (uint16_t *)g.target + index + c;
            new32(x, to, 1, read, g.alpha, g.beta, tile + c);
            if (stochastic) {
                qk_stochastic32(to, x, g.key, counter + (uint32_t)c / 2);
                continue;
            }
            QK_UNROLL
            for (int v = 0; v < 8; v += 2) vst1q_u16(to + 4 * v, qk_nearest8(x + v));
        }
    }
}

#define QK_STORE_GRADIENT void qk_store_gradient_neon
#include "gemm_bf16_store.inc"

#endif
