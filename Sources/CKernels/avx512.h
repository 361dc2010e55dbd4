// What the AVX-512 variants share.
#ifndef QWENSFT_CKERNELS_AVX512_H
#define QWENSFT_CKERNELS_AVX512_H

#if defined(__x86_64__)

#include "bf16.h"

#include <immintrin.h>

// What functions are compiled for, as strings.
#ifdef QK_EMULATES_AVX512
#include "avx512_emulated.h"
#define QK_AVX512_TARGET "avx2,fma,f16c"
#define QK_AVX512_BF16_TARGET QK_AVX512_TARGET
#else
#define QK_AVX512_TARGET "avx512f,avx512bw,avx512dq,avx512vl"
#define QK_AVX512_BF16_TARGET QK_AVX512_TARGET ",avx512bf16,avx512vnni,avx512vbmi"
#endif
/// Before loops over constants, which have to disappear, or what they fill would live in memory.
#define QK_UNROLL _Pragma("clang loop unroll(full)")

#define QK_AVX512 __attribute__((target(QK_AVX512_TARGET)))
#define QK_AVX512_BF16 __attribute__((target(QK_AVX512_BF16_TARGET)))
#define QK_INLINE static inline __attribute__((always_inline))

/// The first n of 16 (32) lanes; n below 0 is none, above the width is all.
QK_INLINE __mmask16 qk_mask16(long n) { return n >= 16 ? 0xffff : n <= 0 ? 0 : (__mmask16)((1u << n) - 1); }
QK_INLINE __mmask32 qk_mask32(long n) { return n >= 32 ? 0xffffffffu : n <= 0 ? 0 : (__mmask32)((1u << n) - 1); }

/// 32 bfloat16 to two vectors of float32.
QK_INLINE QK_AVX512 __m512 qk_low_f32(__m512i x) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_castsi512_si256(x)), 16));
}
QK_INLINE QK_AVX512 __m512 qk_high_f32(__m512i x) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(x, 1)), 16));
}

QK_INLINE QK_AVX512 __m512 qk_widen(__m256i x) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16));
}

/// Bits to cut the lower half off: x + noise, but a NaN as a quiet one.
QK_INLINE QK_AVX512 __m512i qk_rounded_bits(__m512 x, __m512i noise) {
    __m512i bits = _mm512_castps_si512(x);
    __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    __m512i sum = _mm512_add_epi32(bits, noise);
    return _mm512_mask_or_epi32(sum, nan, bits, _mm512_set1_epi32(0x00400000));
}

/// The upper halves of two vectors in their order.
QK_INLINE QK_AVX512 __m512i qk_upper_halves(__m512i low, __m512i high) {
    const __m512i odd = _mm512_set_epi16(
        63, 61, 59, 57, 55, 53, 51, 49, 47, 45, 43, 41, 39, 37, 35, 33, 31, 29, 27, 25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1);
    return _mm512_permutex2var_epi16(low, odd, high);
}

/// [a0 … a15, b0 … b15] to [a0, b0, …, a15, b15].
QK_INLINE QK_AVX512 __m512i qk_interleave_halves(__m512i x) {
    const __m512i order = _mm512_set_epi16(
        31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return _mm512_permutexvar_epi16(order, x);
}

QK_INLINE QK_AVX512 __m512i qk_nearest_noise(__m512 x) {
    __m512i lsb = _mm512_and_si512(_mm512_srli_epi32(_mm512_castps_si512(x), 16), _mm512_set1_epi32(1));
    return _mm512_add_epi32(lsb, _mm512_set1_epi32(0x7fff));
}

/// 32 float32 to bfloat16, to the nearest.
QK_INLINE QK_AVX512 __m512i qk_nearest(__m512 low, __m512 high) {
    return qk_upper_halves(qk_rounded_bits(low, qk_nearest_noise(low)), qk_rounded_bits(high, qk_nearest_noise(high)));
}

/// qk_random_bits of 16 counters from `counter` on.
QK_INLINE QK_AVX512 __m512i qk_random_vector(qk_round_key key, uint32_t counter) {
    const __m512i lanes = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    __m512i x = _mm512_add_epi32(lanes, _mm512_set1_epi32((int)(counter + key.a)));
    x = _mm512_mullo_epi32(_mm512_xor_si512(x, _mm512_srli_epi32(x, 16)), _mm512_set1_epi32(0x7feb352d));
    x = _mm512_ternarylogic_epi32(x, _mm512_srli_epi32(x, 15), _mm512_set1_epi32((int)key.b), 0x96); // xor of all three
    x = _mm512_mullo_epi32(x, _mm512_set1_epi32((int)0x846ca68bu));
    return _mm512_xor_si512(x, _mm512_srli_epi32(x, 16));
}

/// 32 float32 of one counter block to bfloat16, stochastically.
QK_INLINE QK_AVX512 __m512i qk_stochastic(__m512 low, __m512 high, qk_round_key key, uint32_t counter) {
    __m512i random = qk_random_vector(key, counter);
    __m512i noise = _mm512_and_si512(random, _mm512_set1_epi32(0xffff));
    return qk_upper_halves(qk_rounded_bits(low, noise), qk_rounded_bits(high, _mm512_srli_epi32(random, 16)));
}

#endif
#endif
