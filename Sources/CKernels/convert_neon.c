#include "convert.h"
#include "kernels.h"
#include "neon.h"

#if defined(__aarch64__)

void qk_f32_from_f16_run_neon(float *out, const uint16_t *in, long count) {
    long i = 0;
    for (; i + 4 <= count; i += 4) vst1q_f32(out + i, vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(in + i))));
    qk_f32_from_f16_run_plain(out + i, in + i, count - i);
}

void qk_bf16_from_f32_run_neon(uint16_t *out, const float *in, long count) {
    long i = 0;
    for (; i + 8 <= count; i += 8) {
        const float32x4_t x[2] = {vld1q_f32(in + i), vld1q_f32(in + i + 4)};
        vst1q_u16(out + i, qk_nearest8(x));
    }
    qk_bf16_from_f32_run_plain(out + i, in + i, count - i);
}

void qk_bf16_from_f32_stochastic_run_neon(uint16_t *out, const float *in, long count, uint64_t first, qk_round_key key) {
    // Random bits are shared within blocks of 32: up to the first block, blocks, and what is left.
    const long before = (long)(-first % 32);
    long i = before < count ? before : count;
    qk_bf16_from_f32_stochastic_run_plain(out, in, i, first, key);
    for (; i + 32 <= count; i += 32) {
        float32x4_t x[8];
        QK_UNROLL
        for (int v = 0; v < 8; v++) x[v] = vld1q_f32(in + i + 4 * v);
        qk_stochastic32(out + i, x, key, (uint32_t)((first + (uint64_t)i) / 2));
    }
    qk_bf16_from_f32_stochastic_run_plain(out + i, in + i, count - i, first + (uint64_t)i, key);
}

#endif
