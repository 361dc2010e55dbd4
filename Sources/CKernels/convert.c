// The plain definitions and the vector variants, in one place: they are short.
#include "convert.h"

#include "avx2.h"
#include "avx512.h"
#include "kernels.h"

#if defined(__x86_64__)

QK_AVX512 void qk_f32_from_bf16_run_avx512(float *out, const uint16_t *in, long count) {
    long i = 0;
    for (; i + 16 <= count; i += 16) {
        __m512i bits = _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(in + i))), 16);
        _mm512_storeu_si512(out + i, bits);
    }
    for (; i < count; i++) out[i] = qk_f32_from_bf16(in[i]);
}

QK_AVX2 void qk_f32_from_bf16_run_avx2(float *out, const uint16_t *in, long count) {
    long i = 0;
    for (; i + 8 <= count; i += 8) {
        __m256i bits = _mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(in + i))), 16);
        _mm256_storeu_si256((__m256i *)(out + i), bits);
    }
    for (; i < count; i++) out[i] = qk_f32_from_bf16(in[i]);
}

QK_AVX512 void qk_f32_from_f16_run_avx512(float *out, const uint16_t *in, long count) {
    for (long i = 0; i < count; i += 16) {
        __mmask16 mask = qk_mask16(count - i);
        _mm512_mask_storeu_ps(out + i, mask, _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, in + i)));
    }
}

QK_AVX2 void qk_f32_from_f16_run_avx2(float *out, const uint16_t *in, long count) {
    long i = 0;
    for (; i + 8 <= count; i += 8) _mm256_storeu_ps(out + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(in + i))));
    for (; i < count; i++) out[i] = _cvtsh_ss(in[i]);
}

QK_AVX2 void qk_bf16_from_f32_run_avx2(uint16_t *out, const float *in, long count) {
    long i = 0;
    for (; i + 16 <= count; i += 16) {
        __m256i both = qk_nearest16(_mm256_loadu_ps(in + i), _mm256_loadu_ps(in + i + 8));
        _mm256_storeu_si256((__m256i *)(out + i), both);
    }
    for (; i < count; i++) out[i] = qk_bf16_from_f32(in[i]);
}

QK_AVX512 void qk_bf16_from_f32_run_avx512(uint16_t *out, const float *in, long count) {
    long i = 0;
    for (; i + 32 <= count; i += 32)
        _mm512_storeu_si512(out + i, qk_nearest(_mm512_loadu_ps(in + i), _mm512_loadu_ps(in + i + 16)));
    for (; i < count; i++) out[i] = qk_bf16_from_f32(in[i]);
}

QK_AVX2 void qk_bf16_from_f32_stochastic_run_avx2(
    uint16_t *out, const float *in, long count, uint64_t first, qk_round_key key) {
    long i = 0;
    for (; i < count && (first + (uint64_t)i) % 32; i++)
        out[i] = qk_bf16_from_bits(qk_f32_bits(in[i]), qk_round_noise(key, 0, first + (uint64_t)i));
    for (; i + 32 <= count; i += 32) {
        const __m256 x[4] = {
            _mm256_loadu_ps(in + i), _mm256_loadu_ps(in + i + 8), _mm256_loadu_ps(in + i + 16),
            _mm256_loadu_ps(in + i + 24)};
        __m256i rounded[2];
        qk_stochastic32(rounded, x, key, (uint32_t)((first + (uint64_t)i) / 2));
        memcpy(out + i, rounded, sizeof rounded);
    }
    for (; i < count; i++)
        out[i] = qk_bf16_from_bits(qk_f32_bits(in[i]), qk_round_noise(key, 0, first + (uint64_t)i));
}

QK_AVX512 void qk_bf16_from_f32_stochastic_run_avx512(
    uint16_t *out, const float *in, long count, uint64_t first, qk_round_key key) {
    long i = 0;
    for (; i < count && (first + (uint64_t)i) % 32; i++)
        out[i] = qk_bf16_from_bits(qk_f32_bits(in[i]), qk_round_noise(key, 0, first + (uint64_t)i));
    for (; i + 32 <= count; i += 32) {
        __m512 low = _mm512_loadu_ps(in + i), high = _mm512_loadu_ps(in + i + 16);
        _mm512_storeu_si512(out + i, qk_stochastic(low, high, key, (uint32_t)((first + (uint64_t)i) / 2)));
    }
    for (; i < count; i++)
        out[i] = qk_bf16_from_bits(qk_f32_bits(in[i]), qk_round_noise(key, 0, first + (uint64_t)i));
}

#endif

static float f32_from_f16(uint16_t x) {
    uint32_t sign = (uint32_t)(x & 0x8000) << 16, exponent = x >> 10 & 31, mantissa = x & 1023;
    if (exponent == 31) return qk_f32_from_bits(sign | 0x7f800000u | mantissa << 13 | (mantissa ? 0x00400000u : 0));
    if (exponent != 0) return qk_f32_from_bits(sign | (exponent + 112) << 23 | mantissa << 13);
    float value = (float)mantissa * 0x1p-24f; // zero or subnormal
    return sign ? -value : value;
}

void qk_f32_from_bf16_run_plain(float *out, const uint16_t *in, long count) {
    for (long i = 0; i < count; i++) out[i] = qk_f32_from_bf16(in[i]);
}

void qk_f32_from_f16_run_plain(float *out, const uint16_t *in, long count) {
    for (long i = 0; i < count; i++) out[i] = f32_from_f16(in[i]);
}

void qk_bf16_from_f32_run_plain(uint16_t *out, const float *in, long count) {
    for (long i = 0; i < count; i++) out[i] = qk_bf16_from_f32(in[i]);
}

void qk_bf16_from_f32_stochastic_run_plain(
    uint16_t *out, const float *in, long count, uint64_t first, qk_round_key key) {
    for (long i = 0; i < count; i++)
        out[i] = qk_bf16_from_bits(qk_f32_bits(in[i]), qk_round_noise(key, 0, first + (uint64_t)i));
}

// Signed comparisons: without its sign bit a number is not negative, and SSE2 has no others.
uint32_t qk_largest_f32(const float *x, long count) {
    int32_t largest = 0;
    for (long i = 0; i < count; i++) {
        int32_t bits = (int32_t)(qk_f32_bits(x[i]) & 0x7fffffffu);
        largest = bits > largest ? bits : largest;
    }
    return (uint32_t)largest;
}

uint16_t qk_largest_16(const uint16_t *x, long count) {
    int16_t largest = 0;
    for (long i = 0; i < count; i++) {
        int16_t bits = (int16_t)(x[i] & 0x7fff);
        largest = bits > largest ? bits : largest;
    }
    return (uint16_t)largest;
}

long qk_count_vanishing_f32(const float *x, long count, uint32_t bits) {
    long result = 0;
    for (long i = 0; i < count; i++) {
        uint32_t magnitude = qk_f32_bits(x[i]) & 0x7fffffffu;
        result += magnitude != 0 && magnitude <= bits;
    }
    return result;
}
