// What the NEON variants share.
#ifndef QWENSFT_CKERNELS_NEON_H
#define QWENSFT_CKERNELS_NEON_H

#if defined(__aarch64__)

#include "bf16.h"

#include <arm_neon.h>

#define QK_INLINE_NEON static inline __attribute__((always_inline))
// Loops over constants must disappear, or what they index would live in memory.
#define QK_UNROLL _Pragma("clang loop unroll(full)")

/// 4 bfloat16 as float32.
QK_INLINE_NEON float32x4_t qk_widen4(uint16x4_t x) { return vreinterpretq_f32_u32(vshll_n_u16(x, 16)); }

/// 8 float32 to bfloat16 with `noise` added below their upper halves. A NaN stays one.
QK_INLINE_NEON uint16x8_t qk_rounded8(const float32x4_t x[2], const uint32x4_t noise[2]) {
    uint32x4_t bits[2];
    QK_UNROLL
    for (int i = 0; i < 2; i++) {
        const uint32x4_t old = vreinterpretq_u32_f32(x[i]), quiet = vorrq_u32(old, vdupq_n_u32(0x00400000));
        bits[i] = vbslq_u32(vceqq_f32(x[i], x[i]), vaddq_u32(old, noise[i]), quiet);
    }
    return vuzp2q_u16(vreinterpretq_u16_u32(bits[0]), vreinterpretq_u16_u32(bits[1]));
}

/// 8 float32 to bfloat16, to the nearest.
QK_INLINE_NEON uint16x8_t qk_nearest8(const float32x4_t x[2]) {
    uint32x4_t noise[2];
    QK_UNROLL
    for (int i = 0; i < 2; i++) {
        const uint32x4_t last = vandq_u32(vshrq_n_u32(vreinterpretq_u32_f32(x[i]), 16), vdupq_n_u32(1));
        noise[i] = vaddq_u32(last, vdupq_n_u32(0x7fff));
    }
    return qk_rounded8(x, noise);
}

/// qk_random_bits of 4 counters from `counter` on.
QK_INLINE_NEON uint32x4_t qk_random4(qk_round_key key, uint32_t counter) {
    const uint32_t steps[4] = {0, 1, 2, 3};
    uint32x4_t x = vaddq_u32(vld1q_u32(steps), vdupq_n_u32(counter + key.a));
    x = vmulq_u32(veorq_u32(x, vshrq_n_u32(x, 16)), vdupq_n_u32(0x7feb352d));
    x = veorq_u32(veorq_u32(x, vshrq_n_u32(x, 15)), vdupq_n_u32(key.b));
    x = vmulq_u32(x, vdupq_n_u32(0x846ca68bu));
    return veorq_u32(x, vshrq_n_u32(x, 16));
}

/// 32 float32 of one counter block to bfloat16, stochastically.
QK_INLINE_NEON void qk_stochastic32(uint16_t *out, const float32x4_t x[8], qk_round_key key, uint32_t counter) {
    QK_UNROLL
    for (int i = 0; i < 2; i++) {
        const uint32x4_t a = qk_random4(key, counter + 8 * (uint32_t)i), b = qk_random4(key, counter + 8 * (uint32_t)i + 4);
        const uint32x4_t lower[2] = {vandq_u32(a, vdupq_n_u32(0xffff)), vandq_u32(b, vdupq_n_u32(0xffff))};
        const uint32x4_t upper[2] = {vshrq_n_u32(a, 16), vshrq_n_u32(b, 16)};
        vst1q_u16(out + 8 * i, qk_rounded8(x + 2 * i, lower));
        vst1q_u16(out + 16 + 8 * i, qk_rounded8(x + 4 + 2 * i, upper));
    }
}

/// The transpose of 4 times 4.
QK_INLINE_NEON void qk_transpose4(float32x4_t x[4]) {
    const float32x4x2_t a = vtrnq_f32(x[0], x[1]), b = vtrnq_f32(x[2], x[3]);
    QK_UNROLL
    for (int i = 0; i < 2; i++) {
        const float64x2_t above = vreinterpretq_f64_f32(a.val[i]), below = vreinterpretq_f64_f32(b.val[i]);
        x[i] = vreinterpretq_f32_f64(vzip1q_f64(above, below));
        x[i + 2] = vreinterpretq_f32_f64(vzip2q_f64(above, below));
    }
}

#endif
#endif
