// The AVX-512 intrinsics that the kernels use, on AVX2: for tests, so that every variant runs on any machine
// (QK_EMULATES_AVX512, see `make test-emulated`). A register is two halves; where AVX2 has the instruction, each half goes
// through it.
//
// The same bits as the processor's but for three things. vdpbf16ps is two fused multiply-adds, odd elements first, with
// subnormal operands and sums flushed to zero: that is Intel's pseudocode, which leaves open whether a product is rounded on
// its own (it is exact in float32, unless it overflows). vscalefps is right for whole exponents of magnitude below 250.
// _mm512_reduce_add_ps adds halves to halves; the compiler is free to choose another order.
#ifndef QWENSFT_CKERNELS_AVX512_EMULATED_H
#define QWENSFT_CKERNELS_AVX512_EMULATED_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#pragma clang diagnostic ignored "-Wpsabi" // vectors are passed between inlined functions only

#define QK_EMULATED static inline __attribute__((always_inline, target("avx2,fma,f16c")))

typedef float qk_e_f32 __attribute__((vector_size(64)));
typedef int32_t qk_e_i32 __attribute__((vector_size(64)));
typedef uint32_t qk_e_u32 __attribute__((vector_size(64)));
typedef int16_t qk_e_i16 __attribute__((vector_size(64)));
typedef uint16_t qk_e_u16 __attribute__((vector_size(64)));
typedef int8_t qk_e_i8 __attribute__((vector_size(64)));
typedef int8_t qk_e_i8x32 __attribute__((vector_size(32)));

// ---- Halves

QK_EMULATED __m256i qk_e_low(__m512i x) { return (__m256i)__builtin_shufflevector(x, x, 0, 1, 2, 3); }
QK_EMULATED __m256i qk_e_high(__m512i x) { return (__m256i)__builtin_shufflevector(x, x, 4, 5, 6, 7); }
QK_EMULATED __m512i qk_e_join(__m256i low, __m256i high) {
    return (__m512i)__builtin_shufflevector((__v4di)low, (__v4di)high, 0, 1, 2, 3, 4, 5, 6, 7);
}
QK_EMULATED __m256 qk_e_low_ps(__m512 x) { return (__m256)qk_e_low((__m512i)x); }
QK_EMULATED __m256 qk_e_high_ps(__m512 x) { return (__m256)qk_e_high((__m512i)x); }
QK_EMULATED __m512 qk_e_join_ps(__m256 low, __m256 high) { return (__m512)qk_e_join((__m256i)low, (__m256i)high); }

/// Those that AVX2 has.
#define QK_E_HALVES(name)                                                                                              \
    QK_EMULATED __m512i qk_e_##name(__m512i a, __m512i b) {                                                            \
        return qk_e_join(_mm256_##name(qk_e_low(a), qk_e_low(b)), _mm256_##name(qk_e_high(a), qk_e_high(b)));          \
    }
#define QK_E_HALVES_PS(name)                                                                                           \
    QK_EMULATED __m512 qk_e_##name(__m512 a, __m512 b) {                                                               \
        return qk_e_join_ps(                                                                                           \
            _mm256_##name(qk_e_low_ps(a), qk_e_low_ps(b)), _mm256_##name(qk_e_high_ps(a), qk_e_high_ps(b)));           \
    }
#define QK_E_FUSED(name)                                                                                               \
    QK_EMULATED __m512 qk_e_##name(__m512 a, __m512 b, __m512 c) {                                                     \
        return qk_e_join_ps(                                                                                           \
            _mm256_##name(qk_e_low_ps(a), qk_e_low_ps(b), qk_e_low_ps(c)),                                             \
            _mm256_##name(qk_e_high_ps(a), qk_e_high_ps(b), qk_e_high_ps(c)));                                         \
    }
#define QK_E_SHIFT(name)                                                                                               \
    QK_EMULATED __m512i qk_e_##name(__m512i a, int by) {                                                               \
        return qk_e_join(_mm256_##name(qk_e_low(a), by), _mm256_##name(qk_e_high(a), by));                             \
    }
#define QK_E_WIDEN(name)                                                                                               \
    QK_EMULATED __m512i qk_e_##name(__m256i x) {                                                                       \
        return qk_e_join(                                                                                              \
            _mm256_##name(_mm256_castsi256_si128(x)), _mm256_##name(_mm256_extracti128_si256(x, 1)));                  \
    }

QK_E_HALVES(add_epi32)
QK_E_HALVES(add_epi8)
QK_E_HALVES(mullo_epi32)
QK_E_HALVES(madd_epi16)
QK_E_HALVES(maddubs_epi16)
QK_E_HALVES(packus_epi16)
QK_E_HALVES(shuffle_epi8)
QK_E_HALVES(unpacklo_epi8)
QK_E_HALVES(unpackhi_epi8)
QK_E_HALVES(unpacklo_epi32)
QK_E_HALVES(unpackhi_epi32)
QK_E_HALVES(unpacklo_epi64)
QK_E_HALVES(unpackhi_epi64)
QK_E_HALVES(cmpeq_epi8)
QK_E_HALVES(cmpgt_epi8)
QK_E_HALVES(max_epu8)
QK_E_HALVES_PS(add_ps)
QK_E_HALVES_PS(sub_ps)
QK_E_HALVES_PS(mul_ps)
QK_E_HALVES_PS(max_ps)
QK_E_FUSED(fmadd_ps)
QK_E_FUSED(fmsub_ps)
QK_E_SHIFT(slli_epi32)
QK_E_SHIFT(srli_epi32)
QK_E_SHIFT(slli_epi16)
QK_E_SHIFT(srli_epi16)
QK_E_SHIFT(srai_epi16)
QK_E_WIDEN(cvtepu16_epi32)
QK_E_WIDEN(cvtepi16_epi32)
QK_E_WIDEN(cvtepi8_epi16)
QK_E_WIDEN(cvtepu8_epi16)

QK_EMULATED __m512i qk_e_and(__m512i a, __m512i b) { return a & b; }
QK_EMULATED __m512i qk_e_or(__m512i a, __m512i b) { return a | b; }
QK_EMULATED __m512i qk_e_xor(__m512i a, __m512i b) { return a ^ b; }
QK_EMULATED __m512 qk_e_cvtepi32_ps(__m512i x) { return __builtin_convertvector((qk_e_i32)x, qk_e_f32); }
QK_EMULATED __m512 qk_e_cvtph_ps(__m256i x) {
    return qk_e_join_ps(_mm256_cvtph_ps(_mm256_castsi256_si128(x)), _mm256_cvtph_ps(_mm256_extracti128_si256(x, 1)));
}
QK_EMULATED __m512 qk_e_round(__m512 x) { return __builtin_elementwise_roundeven((qk_e_f32)x); }
QK_EMULATED __m512i qk_e_dpwssd(__m512i sum, __m512i a, __m512i b) {
    return qk_e_add_epi32(sum, qk_e_madd_epi16(a, b));
}

// ---- Masks: a bit for a lane, and lanes of all ones or none

QK_EMULATED uint64_t qk_e_mask8(__m512i lanes) {
    return (uint32_t)_mm256_movemask_epi8(qk_e_low(lanes)) |
           (uint64_t)(uint32_t)_mm256_movemask_epi8(qk_e_high(lanes)) << 32;
}
QK_EMULATED __mmask16 qk_e_mask32(qk_e_i32 lanes) {
    return (__mmask16)(_mm256_movemask_ps(qk_e_low_ps((__m512)lanes)) |
                       _mm256_movemask_ps(qk_e_high_ps((__m512)lanes)) << 8);
}
QK_EMULATED __m512i qk_e_lanes32(__mmask16 mask) {
    const qk_e_u32 bits = {1,      1 << 1, 1 << 2,  1 << 3,  1 << 4,  1 << 5,  1 << 6,  1 << 7,
                           1 << 8, 1 << 9, 1 << 10, 1 << 11, 1 << 12, 1 << 13, 1 << 14, 1 << 15};
    return (__m512i)((bits & (uint32_t)mask) != 0);
}
QK_EMULATED __m512i qk_e_lanes16(__mmask32 mask) {
    qk_e_i16 lanes;
    for (int i = 0; i < 32; i++) lanes[i] = (int16_t)-(mask >> i & 1);
    return (__m512i)lanes;
}
QK_EMULATED __m512i qk_e_lanes8(__mmask64 mask) {
    qk_e_i8 lanes;
    for (int i = 0; i < 64; i++) lanes[i] = (int8_t)-(mask >> i & 1);
    return (__m512i)lanes;
}
QK_EMULATED __m512i qk_e_blend(__m512i lanes, __m512i set, __m512i clear) { return (lanes & set) | (~lanes & clear); }

QK_EMULATED uint64_t qk_e_test(__m512i a, __m512i b) { return ~qk_e_mask8(qk_e_cmpeq_epi8(a & b, (__m512i){0})); }
QK_EMULATED __mmask16 qk_e_unordered(__m512 a, __m512 b) {
    return qk_e_mask32(((qk_e_f32)a != (qk_e_f32)a) | ((qk_e_f32)b != (qk_e_f32)b));
}

// ---- Memory: masked-off elements are not touched

QK_EMULATED __m512i qk_e_load(const void *from) {
    __m512i x;
    memcpy(&x, from, 64);
    return x;
}
QK_EMULATED void qk_e_store(void *to, __m512i x) { memcpy(to, &x, 64); }

#define QK_E_MASKED(bits, vector)                                                                                      \
    QK_EMULATED __m512i qk_e_load_masked_##bits(__m512i other, uint64_t mask, const void *from) {                      \
        vector##bits##_t x[512 / bits];                                                                                \
        if (mask == ~0ull >> (64 - 512 / bits)) return qk_e_load(from);                                                \
        memcpy(x, &other, 64);                                                                                         \
        for (int i = 0; i < 512 / bits; i++)                                                                           \
            if (mask >> i & 1) memcpy(x + i, (const vector##bits##_t *)from + i, bits / 8);                            \
        return qk_e_load(x);                                                                                           \
    }                                                                                                                  \
    QK_EMULATED void qk_e_store_masked_##bits(void *to, uint64_t mask, __m512i x) {                                    \
        vector##bits##_t from[512 / bits];                                                                             \
        memcpy(from, &x, 64);                                                                                          \
        for (int i = 0; i < 512 / bits; i++)                                                                           \
            if (mask >> i & 1) memcpy((vector##bits##_t *)to + i, from + i, bits / 8);                                 \
    }
QK_E_MASKED(8, uint)
QK_E_MASKED(16, uint)
QK_E_MASKED(32, uint)

// ---- Permutations

#define QK_E_PERMUTATION(bits)                                                                                         \
    QK_EMULATED __m512i qk_e_permute_##bits(__m512i low, __m512i places, __m512i high, int most) {                     \
        uint##bits##_t from[2 * 512 / bits], to[512 / bits];                                                           \
        memcpy(from, &low, 64);                                                                                        \
        memcpy(from + 512 / bits, &high, 64);                                                                          \
        memcpy(to, &places, 64);                                                                                       \
        for (int i = 0; i < 512 / bits; i++) to[i] = from[to[i] & most];                                               \
        return qk_e_load(to);                                                                                          \
    }
QK_E_PERMUTATION(8)
QK_E_PERMUTATION(16)
QK_E_PERMUTATION(32)

QK_EMULATED __m512i qk_e_shuffle128(__m512i a, __m512i b, int places) {
    __m128i from[8], to[4];
    memcpy(from, &a, 64);
    memcpy(from + 4, &b, 64);
    for (int i = 0; i < 4; i++) to[i] = from[(places >> 2 * i & 3) + i / 2 * 4];
    return qk_e_load(to);
}
QK_EMULATED __m512i qk_e_broadcast128(__m128i x) {
    return qk_e_join(_mm256_broadcastsi128_si256(x), _mm256_broadcastsi128_si256(x));
}
QK_EMULATED __m512i qk_e_compress(__m512i other, __mmask16 mask, __m512i x) {
    uint32_t from[16], to[16];
    memcpy(from, &x, 64);
    memcpy(to, &other, 64);
    for (int i = 0, n = 0; i < 16; i++)
        if (mask >> i & 1) to[n++] = from[i];
    return qk_e_load(to);
}
/// Byte i of a quadword: its eight bits from the place on that byte i of the quadword in `places` names, around the end.
QK_EMULATED __m512i qk_e_multishift(__m512i places, __m512i x) {
    uint8_t at[64];
    uint64_t from[8];
    memcpy(at, &places, 64);
    memcpy(from, &x, 64);
    for (int i = 0; i < 64; i++) {
        const int by = at[i] & 63;
        at[i] = (uint8_t)(from[i / 8] >> by | (by ? from[i / 8] << (64 - by) : 0));
    }
    return qk_e_load(at);
}
QK_EMULATED __m512i qk_e_ternary(__m512i a, __m512i b, __m512i c, int table) {
    __m512i x = {0};
    for (int i = 0; i < 8; i++)
        if (table >> i & 1) x |= (i & 4 ? a : ~a) & (i & 2 ? b : ~b) & (i & 1 ? c : ~c);
    return x;
}
QK_EMULATED __m256i qk_e_bytes_of_words(__m512i x) { return (__m256i)__builtin_convertvector((qk_e_i16)x, qk_e_i8x32); }

// ---- Sums and extremes of all lanes

QK_EMULATED float qk_e_sum(__m512 x) {
    float half[8];
    for (int i = 0; i < 8; i++) half[i] = x[i] + x[i + 8];
    for (int i = 0; i < 4; i++) half[i] += half[i + 4];
    return (half[0] + half[2]) + (half[1] + half[3]);
}
QK_EMULATED float qk_e_largest(__m512 x) {
    float top = x[0];
    for (int i = 1; i < 16; i++) top = x[i] > top ? x[i] : top;
    return top;
}
QK_EMULATED uint32_t qk_e_smallest(__m512i x) { return __builtin_reduce_min((qk_e_u32)x); }

// ---- Arithmetic that AVX2 does not know

/// x times 2 to a whole power; two factors, so that a subnormal result is rounded once.
QK_EMULATED __m512 qk_e_scalef(__m512 x, __m512 power) {
    qk_e_i32 whole = __builtin_convertvector((qk_e_f32)power, qk_e_i32), half = whole >> 1;
    return x * (__m512)((half + 127) << 23) * (__m512)((whole - half + 127) << 23);
}
/// Subnormal numbers become zeros of their sign.
QK_EMULATED __m512 qk_e_flushed(__m512 x) {
    const qk_e_u32 bits = (qk_e_u32)x;
    return (__m512)(bits & ((qk_e_u32)((bits & 0x7f800000u) != 0) | 0x80000000u));
}
QK_EMULATED __m512 qk_e_dpbf16(__m512 sum, __m512bh a, __m512bh b) {
    const qk_e_u32 x = (qk_e_u32)a, y = (qk_e_u32)b;
    sum = qk_e_flushed(sum);
    sum = qk_e_flushed(qk_e_fmadd_ps(
        qk_e_flushed((__m512)(x & 0xffff0000u)), qk_e_flushed((__m512)(y & 0xffff0000u)), sum));
    return qk_e_flushed(qk_e_fmadd_ps(qk_e_flushed((__m512)(x << 16)), qk_e_flushed((__m512)(y << 16)), sum));
}
/// To the nearest, ties to even; subnormal numbers become zeros, a NaN a quiet one.
QK_EMULATED qk_e_u32 qk_e_bf16(__m512 x) {
    const qk_e_u32 bits = (qk_e_u32)qk_e_flushed(x), nan = (qk_e_u32)((qk_e_f32)x != (qk_e_f32)x);
    return (nan & (bits >> 16 | 0x40u)) | (~nan & (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}
QK_EMULATED __m512bh qk_e_cvtne2ps_pbh(__m512 high, __m512 low) {
    typedef uint16_t u16x16 __attribute__((vector_size(32)));
    return (__m512bh)qk_e_join(
        (__m256i)__builtin_convertvector(qk_e_bf16(low), u16x16), (__m256i)__builtin_convertvector(qk_e_bf16(high), u16x16));
}

// ---- Constants

QK_EMULATED __m512i qk_e_reversed(qk_e_i16 x) {
    return (__m512i)__builtin_shufflevector(
        x, x, 31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1,
        0);
}

QK_EMULATED __m512i qk_e_set1_epi8(int x) { return (__m512i)((qk_e_i8){0} + (int8_t)x); }
QK_EMULATED __m512i qk_e_set1_epi16(int x) { return (__m512i)((qk_e_i16){0} + (int16_t)x); }
QK_EMULATED __m512i qk_e_set1_epi32(int x) { return (__m512i)((qk_e_i32){0} + x); }
QK_EMULATED __m512 qk_e_set1_ps(float x) { return (__m512){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x}; }

// ---- The intrinsics' names. Some are macros already.

#undef _mm512_setzero_ps
#undef _mm512_setzero_si512
#undef _mm512_set1_ps
#undef _mm512_set1_epi8
#undef _mm512_set1_epi16
#undef _mm512_set1_epi32
#undef _mm512_set1_epi64
#undef _mm512_setr_epi64
#undef _mm512_set_epi32
#undef _mm512_set_epi16
#undef _mm512_castsi512_ps
#undef _mm512_castps_si512
#undef _mm512_castsi512_si256
#undef _mm512_castsi512_si128
#undef _mm512_castsi256_si512
#undef _mm512_extracti64x4_epi64
#undef _mm512_inserti64x4
#undef _mm512_broadcast_i32x4
#undef _mm512_loadu_ps
#undef _mm512_loadu_si512
#undef _mm512_load_si512
#undef _mm512_storeu_ps
#undef _mm512_storeu_si512
#undef _mm512_maskz_loadu_ps
#undef _mm512_maskz_loadu_epi8
#undef _mm512_maskz_loadu_epi16
#undef _mm256_maskz_loadu_epi16
#undef _mm512_mask_loadu_epi32
#undef _mm512_mask_storeu_ps
#undef _mm512_mask_storeu_epi32
#undef _mm512_mask_storeu_epi16
#undef _mm512_and_si512
#undef _mm512_or_si512
#undef _mm512_xor_si512
#undef _mm512_ternarylogic_epi32
#undef _mm512_permutexvar_epi8
#undef _mm512_permutexvar_epi16
#undef _mm512_permutexvar_epi32
#undef _mm512_permutex2var_epi8
#undef _mm512_permutex2var_epi16
#undef _mm512_maskz_permutex2var_epi8
#undef _mm512_multishift_epi64_epi8
#undef _mm512_shuffle_i32x4
#undef _mm512_mask_compress_epi32
#undef _mm512_mask_broadcastd_epi32
#undef _mm512_mask_set1_epi32
#undef _mm512_maskz_set1_epi8
#undef _mm512_maskz_mov_epi8
#undef _mm512_maskz_mov_epi16
#undef _mm512_maskz_mov_ps
#undef _mm512_mask_blend_epi8
#undef _mm512_mask_or_epi32
#undef _mm512_mask_max_ps
#undef _mm512_movepi8_mask
#undef _mm512_test_epi8_mask
#undef _mm512_testn_epi8_mask
#undef _mm512_cmpeq_epi8_mask
#undef _mm512_cmplt_epi8_mask
#undef _mm512_cmpge_epu8_mask
#undef _mm512_cmpeq_epi32_mask
#undef _mm512_cmpneq_epi32_mask
#undef _mm512_cmplt_epu32_mask
#undef _mm512_cmp_ps_mask
#undef _mm512_cvtepi32_ps
#undef _mm512_cvtph_ps
#undef _mm512_cvtepi16_epi8
#undef _mm512_cvtne2ps_pbh
#undef _mm512_dpbf16_ps
#undef _mm512_dpwssd_epi32
#undef _mm512_roundscale_ps
#undef _mm512_scalef_ps
#undef _mm512_reduce_add_ps
#undef _mm512_reduce_max_ps
#undef _mm512_reduce_min_epu32
#undef _mm512_add_epi32
#undef _mm512_add_epi8
#undef _mm512_mullo_epi32
#undef _mm512_madd_epi16
#undef _mm512_maddubs_epi16
#undef _mm512_packus_epi16
#undef _mm512_shuffle_epi8
#undef _mm512_unpacklo_epi8
#undef _mm512_unpackhi_epi8
#undef _mm512_unpacklo_epi32
#undef _mm512_unpackhi_epi32
#undef _mm512_unpacklo_epi64
#undef _mm512_unpackhi_epi64
#undef _mm512_add_ps
#undef _mm512_sub_ps
#undef _mm512_mul_ps
#undef _mm512_max_ps
#undef _mm512_fmadd_ps
#undef _mm512_fmsub_ps
#undef _mm512_slli_epi32
#undef _mm512_srli_epi32
#undef _mm512_slli_epi16
#undef _mm512_srli_epi16
#undef _mm512_srai_epi16
#undef _mm512_cvtepu16_epi32
#undef _mm512_cvtepi16_epi32
#undef _mm512_cvtepi8_epi16
#undef _mm512_cvtepu8_epi16

#define _mm512_setzero_ps() ((__m512){0})
#define _mm512_setzero_si512() ((__m512i){0})
#define _mm512_set1_ps qk_e_set1_ps
#define _mm512_set1_epi8 qk_e_set1_epi8
#define _mm512_set1_epi16 qk_e_set1_epi16
#define _mm512_set1_epi32 qk_e_set1_epi32
#define _mm512_set1_epi64(x) ((__m512i){0} + (x))
#define _mm512_setr_epi64(...) ((__m512i){__VA_ARGS__})
#define _mm512_set_epi32(p, o, n, m, l, k, j, i, h, g, f, e, d, c, b, a) ((__m512i)(qk_e_i32){a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p})
#define _mm512_set_epi16(...) qk_e_reversed((qk_e_i16){__VA_ARGS__})
#define _mm512_castsi512_ps(x) ((__m512)(x))
#define _mm512_castps_si512(x) ((__m512i)(x))
#define _mm512_castsi512_si256 qk_e_low
#define _mm512_castsi512_si128(x) _mm256_castsi256_si128(qk_e_low(x))
#define _mm512_castsi256_si512(x) qk_e_join(x, _mm256_setzero_si256())
#define _mm512_extracti64x4_epi64(x, half) ((half) ? qk_e_high(x) : qk_e_low(x))
#define _mm512_inserti64x4(x, y, half) ((half) ? qk_e_join(qk_e_low(x), y) : qk_e_join(y, qk_e_high(x)))
#define _mm512_broadcast_i32x4 qk_e_broadcast128
#define _mm512_loadu_ps(from) ((__m512)qk_e_load(from))
#define _mm512_loadu_si512 qk_e_load
#define _mm512_load_si512 qk_e_load
#define _mm512_storeu_ps(to, x) qk_e_store(to, (__m512i)(x))
#define _mm512_storeu_si512 qk_e_store
#define _mm512_maskz_loadu_ps(mask, from) ((__m512)qk_e_load_masked_32((__m512i){0}, mask, from))
#define _mm512_maskz_loadu_epi8(mask, from) qk_e_load_masked_8((__m512i){0}, mask, from)
#define _mm512_maskz_loadu_epi16(mask, from) qk_e_load_masked_16((__m512i){0}, mask, from)
#define _mm256_maskz_loadu_epi16(mask, from) qk_e_low(qk_e_load_masked_16((__m512i){0}, (__mmask16)(mask), from))
#define _mm512_mask_loadu_epi32 qk_e_load_masked_32
#define _mm512_mask_storeu_ps(to, mask, x) qk_e_store_masked_32(to, mask, (__m512i)(x))
#define _mm512_mask_storeu_epi32 qk_e_store_masked_32
#define _mm512_mask_storeu_epi16 qk_e_store_masked_16
#define _mm512_and_si512 qk_e_and
#define _mm512_or_si512 qk_e_or
#define _mm512_xor_si512 qk_e_xor
#define _mm512_ternarylogic_epi32 qk_e_ternary
#define _mm512_permutexvar_epi8(places, x) qk_e_permute_8(x, places, x, 63)
#define _mm512_permutexvar_epi16(places, x) qk_e_permute_16(x, places, x, 31)
#define _mm512_permutexvar_epi32(places, x) qk_e_permute_32(x, places, x, 15)
#define _mm512_permutex2var_epi8(a, places, b) qk_e_permute_8(a, places, b, 127)
#define _mm512_permutex2var_epi16(a, places, b) qk_e_permute_16(a, places, b, 63)
#define _mm512_maskz_permutex2var_epi8(mask, a, places, b) (qk_e_lanes8(mask) & qk_e_permute_8(a, places, b, 127))
#define _mm512_multishift_epi64_epi8 qk_e_multishift
#define _mm512_shuffle_i32x4 qk_e_shuffle128
#define _mm512_mask_compress_epi32 qk_e_compress
#define _mm512_mask_broadcastd_epi32(other, mask, x) qk_e_blend(qk_e_lanes32(mask), qk_e_set1_epi32(_mm_cvtsi128_si32(x)), other)
#define _mm512_mask_set1_epi32(other, mask, x) qk_e_blend(qk_e_lanes32(mask), qk_e_set1_epi32(x), other)
#define _mm512_maskz_set1_epi8(mask, x) (qk_e_lanes8(mask) & qk_e_set1_epi8(x))
#define _mm512_maskz_mov_epi8(mask, x) (qk_e_lanes8(mask) & (x))
#define _mm512_maskz_mov_epi16(mask, x) (qk_e_lanes16(mask) & (x))
#define _mm512_maskz_mov_ps(mask, x) ((__m512)(qk_e_lanes32(mask) & (__m512i)(x)))
#define _mm512_mask_blend_epi8(mask, clear, set) qk_e_blend(qk_e_lanes8(mask), set, clear)
#define _mm512_mask_or_epi32(other, mask, a, b) qk_e_blend(qk_e_lanes32(mask), (a) | (b), other)
#define _mm512_mask_max_ps(other, mask, a, b) ((__m512)qk_e_blend(qk_e_lanes32(mask), (__m512i)qk_e_max_ps(a, b), (__m512i)(other)))
#define _mm512_movepi8_mask qk_e_mask8
#define _mm512_test_epi8_mask qk_e_test
#define _mm512_testn_epi8_mask(a, b) (~qk_e_test(a, b))
#define _mm512_cmpeq_epi8_mask(a, b) qk_e_mask8(qk_e_cmpeq_epi8(a, b))
#define _mm512_cmplt_epi8_mask(a, b) qk_e_mask8(qk_e_cmpgt_epi8(b, a))
#define _mm512_cmpge_epu8_mask(a, b) qk_e_mask8(qk_e_cmpeq_epi8(qk_e_max_epu8(a, b), a))
#define _mm512_cmpeq_epi32_mask(a, b) qk_e_mask32((qk_e_i32)(a) == (qk_e_i32)(b))
#define _mm512_cmpneq_epi32_mask(a, b) qk_e_mask32((qk_e_i32)(a) != (qk_e_i32)(b))
#define _mm512_cmplt_epu32_mask(a, b) qk_e_mask32((qk_e_u32)(a) < (qk_e_u32)(b))
#define _mm512_cmp_ps_mask(a, b, how) qk_e_unordered(a, b) /* the only one that is used */
#define _mm512_cvtepi32_ps qk_e_cvtepi32_ps
#define _mm512_cvtph_ps qk_e_cvtph_ps
#define _mm512_cvtepi16_epi8 qk_e_bytes_of_words
#define _mm512_cvtne2ps_pbh qk_e_cvtne2ps_pbh
#define _mm512_dpbf16_ps qk_e_dpbf16
#define _mm512_dpwssd_epi32 qk_e_dpwssd
#define _mm512_roundscale_ps(x, how) qk_e_round(x)
#define _mm512_scalef_ps qk_e_scalef
#define _mm512_reduce_add_ps qk_e_sum
#define _mm512_reduce_max_ps qk_e_largest
#define _mm512_reduce_min_epu32 qk_e_smallest
#define _mm512_add_epi32 qk_e_add_epi32
#define _mm512_add_epi8 qk_e_add_epi8
#define _mm512_mullo_epi32 qk_e_mullo_epi32
#define _mm512_madd_epi16 qk_e_madd_epi16
#define _mm512_maddubs_epi16 qk_e_maddubs_epi16
#define _mm512_packus_epi16 qk_e_packus_epi16
#define _mm512_shuffle_epi8 qk_e_shuffle_epi8
#define _mm512_unpacklo_epi8 qk_e_unpacklo_epi8
#define _mm512_unpackhi_epi8 qk_e_unpackhi_epi8
#define _mm512_unpacklo_epi32 qk_e_unpacklo_epi32
#define _mm512_unpackhi_epi32 qk_e_unpackhi_epi32
#define _mm512_unpacklo_epi64 qk_e_unpacklo_epi64
#define _mm512_unpackhi_epi64 qk_e_unpackhi_epi64
#define _mm512_add_ps qk_e_add_ps
#define _mm512_sub_ps qk_e_sub_ps
#define _mm512_mul_ps qk_e_mul_ps
#define _mm512_max_ps qk_e_max_ps
#define _mm512_fmadd_ps qk_e_fmadd_ps
#define _mm512_fmsub_ps qk_e_fmsub_ps
#define _mm512_slli_epi32 qk_e_slli_epi32
#define _mm512_srli_epi32 qk_e_srli_epi32
#define _mm512_slli_epi16 qk_e_slli_epi16
#define _mm512_srli_epi16 qk_e_srli_epi16
#define _mm512_srai_epi16 qk_e_srai_epi16
#define _mm512_cvtepu16_epi32 qk_e_cvtepu16_epi32
#define _mm512_cvtepi16_epi32 qk_e_cvtepi16_epi32
#define _mm512_cvtepi8_epi16 qk_e_cvtepi8_epi16
#define _mm512_cvtepu8_epi16 qk_e_cvtepu8_epi16

#endif
