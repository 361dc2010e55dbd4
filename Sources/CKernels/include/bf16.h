// bfloat16: the upper half of a float32. Conversions of single values, and the random bits of stochastic rounding.
#ifndef QWENSFT_CKERNELS_BF16_H
#define QWENSFT_CKERNELS_BF16_H

#include <stdint.h>
#include <string.h>

/// How a float32 becomes a bfloat16.
enum {
    QK_ROUND_NEAREST = 0,    // to nearest, ties to even
    QK_ROUND_STOCHASTIC = 1, // up or down with the probability that makes the expected value exact
};

/// Names the random bits of one stochastic rounding of one tensor. Equal keys give equal bits, whatever the threads.
typedef struct {
    uint32_t a, b;
} qk_round_key;

static inline uint32_t qk_f32_bits(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return bits;
}

static inline float qk_f32_from_bits(uint32_t bits) {
    float x;
    memcpy(&x, &bits, 4);
    return x;
}

static inline float qk_f32_from_bf16(uint16_t x) { return qk_f32_from_bits((uint32_t)x << 16); }

/// Adding `noise` (below 2^16) before the lower half is cut off. Infinities stay, a NaN stays one.
static inline uint16_t qk_bf16_from_bits(uint32_t bits, uint32_t noise) {
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(bits >> 16 | 0x0040u);
    return (uint16_t)((bits + noise) >> 16);
}

static inline uint16_t qk_bf16_from_f32(float x) {
    uint32_t bits = qk_f32_bits(x);
    return qk_bf16_from_bits(bits, 0x7fffu + (bits >> 16 & 1));
}

/// 32 random bits for a counter: a multiply-xorshift mixer of two rounds, one half of the key before each.
static inline uint32_t qk_random_bits(qk_round_key key, uint32_t counter) {
    uint32_t x = counter + key.a;
    x = (x ^ x >> 16) * 0x7feb352du;
    x = (x ^ x >> 15 ^ key.b) * 0x846ca68bu;
    return x ^ x >> 16;
}

/// The 16 random bits of element `column` of a row. Elements 16 apart in a block of 32 share one counter, which is what a
/// vector unit wants: `rowCounter` is row * qk_counters_per_row(columns), modulo 2^32.
static inline uint32_t qk_round_noise(qk_round_key key, uint32_t rowCounter, uint64_t column) {
    uint32_t counter = rowCounter + (uint32_t)(column / 32 * 16 + column % 16);
    uint32_t random = qk_random_bits(key, counter);
    return column & 16 ? random >> 16 : random & 0xffff;
}

static inline uint64_t qk_counters_per_row(uint64_t columns) { return (columns + 31) / 32 * 16; }

#endif
