// What the AVX2 variants share.
#ifndef QWENSFT_CKERNELS_AVX2_H
#define QWENSFT_CKERNELS_AVX2_H

#if defined(__x86_64__)

#include "bf16.h"

#include <immintrin.h>

/// Before loops over constants, which have to disappear, or what they fill would live in memory.
#define QK_UNROLL _Pragma("clang loop unroll(full)")

#define QK_AVX2 __attribute__((target("avx2,fma,f16c")))
#define QK_INLINE_AVX2 static inline __attribute__((always_inline)) QK_AVX2

QK_INLINE_AVX2 float qk_sum8(__m256 x) {
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

/// The upper halves of 8 float32 after `noise` was added below: bfloat16 in 32 bits. A NaN stays one.
QK_INLINE_AVX2 __m256i qk_rounded8(__m256 x, __m256i noise) {
    const __m256i bits = _mm256_castps_si256(x), nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
    const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x00400000));
    return _mm256_srli_epi32(_mm256_blendv_epi8(_mm256_add_epi32(bits, noise), quiet, nan), 16);
}

QK_INLINE_AVX2 __m256i qk_nearest_noise8(__m256 x) {
    const __m256i last = _mm256_and_si256(_mm256_srli_epi32(_mm256_castps_si256(x), 16), _mm256_set1_epi32(1));
    return _mm256_add_epi32(last, _mm256_set1_epi32(0x7fff));
}

/// Two eights of 16 bits each, kept in 32, to sixteen in their order.
QK_INLINE_AVX2 __m256i qk_join16(__m256i first, __m256i second) {
    return _mm256_permute4x64_epi64(_mm256_packus_epi32(first, second), 0xd8);
}

/// 16 float32 to bfloat16, to the nearest.
QK_INLINE_AVX2 __m256i qk_nearest16(__m256 first, __m256 second) {
    return qk_join16(qk_rounded8(first, qk_nearest_noise8(first)), qk_rounded8(second, qk_nearest_noise8(second)));
}

/// qk_random_bits of 8 counters from `counter` on.
QK_INLINE_AVX2 __m256i qk_random8(qk_round_key key, uint32_t counter) {
    __m256i x = _mm256_add_epi32(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), _mm256_set1_epi32((int)(counter + key.a)));
    x = _mm256_mullo_epi32(_mm256_xor_si256(x, _mm256_srli_epi32(x, 16)), _mm256_set1_epi32(0x7feb352d));
    x = _mm256_xor_si256(_mm256_xor_si256(x, _mm256_srli_epi32(x, 15)), _mm256_set1_epi32((int)key.b));
    x = _mm256_mullo_epi32(x, _mm256_set1_epi32((int)0x846ca68bu));
    return _mm256_xor_si256(x, _mm256_srli_epi32(x, 16));
}

/// Whether there is a NaN among 32 float32.
QK_INLINE_AVX2 int qk_any_nan32(const __m256 x[4]) {
    const __m256 first = _mm256_cmp_ps(x[0], x[1], _CMP_UNORD_Q), second = _mm256_cmp_ps(x[2], x[3], _CMP_UNORD_Q);
    return _mm256_movemask_ps(_mm256_or_ps(first, second)) != 0;
}

/// 32 float32 to bfloat16 with noise below the upper halves: out[0] the first 16.
QK_INLINE_AVX2 void qk_rounded32(__m256i out[2], const __m256 x[4], const __m256i noise[4]) {
    __m256i narrow[4];
    if (__builtin_expect(qk_any_nan32(x), 0)) {
#pragma clang loop unroll(full)
        for (int i = 0; i < 4; i++) narrow[i] = qk_rounded8(x[i], noise[i]);
    } else {
#pragma clang loop unroll(full)
        for (int i = 0; i < 4; i++) narrow[i] = _mm256_srli_epi32(_mm256_add_epi32(_mm256_castps_si256(x[i]), noise[i]), 16);
    }
    out[0] = qk_join16(narrow[0], narrow[1]);
    out[1] = qk_join16(narrow[2], narrow[3]);
}

/// 32 float32 to bfloat16, to the nearest: out[0] the first 16.
QK_INLINE_AVX2 void qk_nearest32(__m256i out[2], const __m256 x[4]) {
    const __m256i noise[4] = {
        qk_nearest_noise8(x[0]), qk_nearest_noise8(x[1]), qk_nearest_noise8(x[2]), qk_nearest_noise8(x[3])};
    qk_rounded32(out, x, noise);
}

/// 32 float32 of one counter block to bfloat16, stochastically: out[0] the first 16.
QK_INLINE_AVX2 void qk_stochastic32(__m256i out[2], const __m256 x[4], qk_round_key key, uint32_t counter) {
    const __m256i a = qk_random8(key, counter), b = qk_random8(key, counter + 8), lower = _mm256_set1_epi32(0xffff);
    const __m256i noise[4] = {
        _mm256_and_si256(a, lower), _mm256_and_si256(b, lower), _mm256_srli_epi32(a, 16), _mm256_srli_epi32(b, 16)};
    qk_rounded32(out, x, noise);
}

QK_INLINE_AVX2 __m256 qk_widen8(const uint16_t *x) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)x)), 16));
}

#endif
#endif
