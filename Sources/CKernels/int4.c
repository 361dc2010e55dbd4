// The definitions, their variants for AVX2, and the choice between them.
#include "int4.h"

#include "bf16.h"
#include "cpu.h"

#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#define AVX2 __attribute__((target("avx2,fma,f16c")))
#define IF_AVX2(call)                                                                                                  \
    if (qk_isa() >= QK_ISA_AVX2) return call;
#else
#define IF_AVX2(call)
#endif

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("clang loop unroll(full)")

// ---- Reading.

static int integer(const uint8_t *w, long i) {
    const uint8_t *word = w + i / 64 * QK_INT4_BYTES + i % 16 * 2;
    int16_t bits = (int16_t)(word[0] | word[1] << 8);
    return (int16_t)(uint16_t)(bits << (12 - i % 64 / 16 * 4)) >> 12;
}

static float weight(const uint8_t *w, const uint16_t *scales, long i) {
    return (float)integer(w, i) * qk_f32_from_bf16(scales[i / QK_INT4_BLOCK]);
}

#if defined(__x86_64__)
typedef struct {
    __m256i of[4]; // 16 weights each, as int16
} words64;

INLINE AVX2 words64 unpack64(const uint8_t *w) {
    __m256i v = _mm256_loadu_si256((const __m256i *)w);
    return (words64){{_mm256_srai_epi16(_mm256_slli_epi16(v, 12), 12), _mm256_srai_epi16(_mm256_slli_epi16(v, 8), 12),
                      _mm256_srai_epi16(_mm256_slli_epi16(v, 4), 12), _mm256_srai_epi16(v, 12)}};
}

INLINE AVX2 void widen64(float *out, const uint8_t *w, const uint16_t *scales) {
    words64 words = unpack64(w);
    for (int p = 0; p < 4; p++) {
        __m256 scale = _mm256_set1_ps(qk_f32_from_bf16(scales[p / 2]));
        __m256i low = _mm256_cvtepi16_epi32(_mm256_castsi256_si128(words.of[p]));
        __m256i high = _mm256_cvtepi16_epi32(_mm256_extracti128_si256(words.of[p], 1));
        _mm256_storeu_ps(out + 16 * p, _mm256_mul_ps(_mm256_cvtepi32_ps(low), scale));
        _mm256_storeu_ps(out + 16 * p + 8, _mm256_mul_ps(_mm256_cvtepi32_ps(high), scale));
    }
}

AVX2 static void f32_from_int4_avx2(float *out, const uint8_t *w, const uint16_t *scales, long k) {
    for (; k >= 64; k -= 64, out += 64, w += QK_INT4_BYTES, scales += 2) widen64(out, w, scales);
    for (long i = 0; i < k; i++) out[i] = weight(w, scales, i);
}

AVX2 static void bf16_from_int4_avx2(uint16_t *out, const uint8_t *w, const uint16_t *scales, long k) {
    float wide[64];
    for (long i = 0; i < k; i += 64, w += QK_INT4_BYTES, scales += 2) {
        widen64(wide, w, scales);
        for (long j = 0; j < 64 && j < k - i; j++) out[i + j] = qk_bf16_from_f32(wide[j]);
    }
}
#endif

void qk_f32_from_int4(float *out, const uint8_t *w, const uint16_t *scales, long k) {
    IF_AVX2(f32_from_int4_avx2(out, w, scales, k))
    for (long i = 0; i < k; i++) out[i] = weight(w, scales, i);
}

static void bf16_from_int4(uint16_t *out, const uint8_t *w, const uint16_t *scales, long k) {
    IF_AVX2(bf16_from_int4_avx2(out, w, scales, k))
    for (long i = 0; i < k; i++) out[i] = qk_bf16_from_f32(weight(w, scales, i));
}

void qk_bf16_from_int4(uint16_t *out, const uint8_t *w, const uint16_t *scales, long k, long filled) {
    bf16_from_int4(out, w, scales, k);
    for (long i = k; i < filled; i++) out[i] = 0;
}

// ---- Multiplying.

#if defined(__x86_64__)
// One row of w is one walk through memory; it stays in the first-level cache until all rows of x have had their turn.
AVX2 static void gemv_int4_avx2(
    float *y, long ldy, const uint8_t *w, const uint16_t *scales, const int16_t *x, const float *xscales, long ldx,
    long m, long rows, long k, int accumulate) {
    const long units = k / 64;
    for (long row = 0; row < rows; row++, w += units * QK_INT4_BYTES, scales += 2 * units)
        for (long j = 0; j < m; j++) {
            const float *xscale = xscales + j * (ldx / 64);
            const __m256i *factor = (const __m256i *)(x + j * ldx);
            __m256 sum[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
            for (long u = 0; u < units; u++, factor += 4) {
                _mm_prefetch((const char *)(w + u * QK_INT4_BYTES + 2048), _MM_HINT_T0);
                words64 v = unpack64(w + u * QK_INT4_BYTES);
                for (int block = 0; block < 2; block++) {
                    __m256i dot = _mm256_add_epi32(
                        _mm256_madd_epi16(v.of[2 * block], _mm256_loadu_si256(factor + 2 * block)),
                        _mm256_madd_epi16(v.of[2 * block + 1], _mm256_loadu_si256(factor + 2 * block + 1)));
                    __m256 scale = _mm256_set1_ps(qk_f32_from_bf16(scales[2 * u + block]) * xscale[u]);
                    sum[block] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), scale, sum[block]);
                }
            }
            float lanes[8], all = 0;
            _mm256_storeu_ps(lanes, _mm256_add_ps(sum[0], sum[1]));
            for (int i = 0; i < 4; i++) all += lanes[i] + lanes[i + 4];
            float *out = y + j * ldy + row;
            *out = accumulate ? *out + all : all;
        }
}
#endif

void qk_gemv_int4(
    float *y, long ldy, const uint8_t *w, const uint16_t *scales, const int16_t *x, const float *xscales, long ldx,
    long m, long rows, long k, int accumulate) {
    IF_AVX2(gemv_int4_avx2(y, ldy, w, scales, x, xscales, ldx, m, rows, k, accumulate))
    for (long row = 0; row < rows; row++, w += k / 64 * QK_INT4_BYTES, scales += k / QK_INT4_BLOCK)
        for (long j = 0; j < m; j++) {
            float sum = 0;
            for (long i = 0; i < k; i += QK_INT4_BLOCK) {
                int32_t dot = 0;
                for (long c = i; c < i + QK_INT4_BLOCK; c++) dot += integer(w, c) * x[j * ldx + c];
                sum += (float)dot * (qk_f32_from_bf16(scales[i / QK_INT4_BLOCK]) * xscales[(j * ldx + i) / 64]);
            }
            float *out = y + j * ldy + row;
            *out = accumulate ? *out + sum : sum;
        }
}

// ---- Writing. One text for both variants, in vectors that the compiler cuts to what there is.

typedef float f32x8 __attribute__((vector_size(32), aligned(4)));
#pragma clang diagnostic ignored "-Wpsabi" // vectors are passed between inlined functions only

INLINE float total(f32x8 x) {
    float sum = 0;
    UNROLL for (int i = 0; i < 4; i++) sum += x[i] + x[i + 4];
    return sum;
}

/// x times `inverse` to the nearest of -8 to 7.
INLINE f32x8 nearest(f32x8 x, float inverse) {
    f32x8 q = (x * inverse + 0x1.8p23f) - 0x1.8p23f; // float32 has no room for a fraction beside 1.5 * 2^23
    return __builtin_elementwise_max(__builtin_elementwise_min(q, (f32x8){0} + 7), (f32x8){0} - 8);
}

INLINE void quantize_block(float *integers, uint16_t *scale, const f32x8 *x, float extreme) {
    float best = 0, inverse = 0;
    *scale = 0;
    for (int step = -4; step <= 4; step++) {
        const float tried = (step * 0.25f - 8) / extreme;
        f32x8 products = {0}, squares = {0};
        UNROLL for (int v = 0; v < 4; v++) {
            f32x8 q = nearest(x[v], tried);
            products += x[v] * q;
            squares += q * q;
        }
        // Of scales for these integers the best is products / squares; the error falls by `gain` from that of all zeros.
        const float product = total(products), square = total(squares);
        const uint16_t rounded = qk_bf16_from_f32(product / square);
        const float s = qk_f32_from_bf16(rounded), gain = s * (2 * product - s * square);
        if (gain > best) best = gain, inverse = tried, *scale = rounded;
    }
    UNROLL for (int v = 0; v < 4; v++) {
        f32x8 q = nearest(x[v], inverse);
        memcpy(integers + 8 * v, &q, sizeof q);
    }
}

INLINE void quantize64(uint8_t *out, uint16_t *scales, const float *x, long count) {
    float padded[64] = {0}, integers[64] = {0};
    memcpy(padded, x, (size_t)count * sizeof *x);
    for (int block = 0; block < 2; block++) {
        float extreme = 0, magnitude = 0;
        int isFinite = 1;
        for (int i = 32 * block; i < 32 * block + 32; i++) {
            float a = padded[i] < 0 ? -padded[i] : padded[i];
            isFinite &= a <= 3.4028235e38f;
            if (a > magnitude) magnitude = a, extreme = padded[i];
        }
        f32x8 vectors[4];
        memcpy(vectors, padded + 32 * block, sizeof vectors);
        scales[block] = isFinite ? 0 : 0x7fc0;
        // Below 2^-123 the inverse would overflow.
        if (isFinite && magnitude >= 0x1p-123f) quantize_block(integers + 32 * block, scales + block, vectors, extreme);
    }
    for (int i = 0; i < 16; i++) {
        unsigned word = 0;
        for (int p = 0; p < 4; p++) word |= ((unsigned)(int)integers[16 * p + i] & 15) << 4 * p;
        out[2 * i] = (uint8_t)word;
        out[2 * i + 1] = (uint8_t)(word >> 8);
    }
}

INLINE void quantize(uint8_t *out, uint16_t *scales, const float *x, long k) {
    for (long i = 0; i < k; i += 64, out += QK_INT4_BYTES, scales += 2)
        quantize64(out, scales, x + i, k - i < 64 ? k - i : 64);
}

#if defined(__x86_64__)
AVX2 static void quantize_int4_avx2(uint8_t *out, uint16_t *scales, const float *x, long k) {
    quantize(out, scales, x, k);
}
#endif

void qk_quantize_int4(uint8_t *out, uint16_t *scales, const float *x, long k) {
    IF_AVX2(quantize_int4_avx2(out, scales, x, k))
    quantize(out, scales, x, k);
}
