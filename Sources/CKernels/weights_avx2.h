// A quarter of 64 weights in few bits, as 16 integers of 16 bits.
#ifndef QWENSFT_CKERNELS_WEIGHTS_AVX2_H
#define QWENSFT_CKERNELS_WEIGHTS_AVX2_H

#include "avx2.h"

#if defined(__x86_64__)

QK_INLINE_AVX2 __m256i qk_int8_weights(const uint8_t *block, const int quarter) {
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(block + 16 * quarter)));
}

/// 16 bytes in both halves, as part of loading them: of the intrinsic for that the compiler makes a load and a slow shuffle.
QK_INLINE_AVX2 __m256i qk_twice(const __m128i *from) {
    __m256i both;
    __asm__("vbroadcasti128 %1, %0" : "=x"(both) : "m"(*(const __m128i_u *)from));
    return both;
}

/// Of 12 bytes the two that hold each weight go into a word, there the weight to its upper end, and down again with its sign.
QK_INLINE_AVX2 __m256i qk_int6_weights(const uint8_t *block, const int quarter) {
    const __m256i places = _mm256_setr_epi8(
        0, 1, 0, 1, 1, 2, 1, 2, 3, 4, 3, 4, 4, 5, 4, 5, 6, 7, 6, 7, 7, 8, 7, 8, 9, 10, 9, 10, 10, 11, 10, 11);
    const __m256i up = _mm256_setr_epi16(
        1 << 10, 1 << 4, 1 << 6, 1, 1 << 10, 1 << 4, 1 << 6, 1, 1 << 10, 1 << 4, 1 << 6, 1, 1 << 10, 1 << 4, 1 << 6, 1);
    // The last 16 bytes of a block begin four bytes before its last quarter.
    const int back = quarter == 3 ? 4 : 0;
    const __m128i *from = (const __m128i *)(block + 12 * quarter - back);
    const __m256i words = _mm256_shuffle_epi8(qk_twice(from), _mm256_add_epi8(places, _mm256_set1_epi8((char)back)));
    return _mm256_srai_epi16(_mm256_mullo_epi16(words, up), 10);
}

QK_INLINE_AVX2 __m256i qk_int4_weights(const uint8_t *block, const int quarter) {
    const __m256i words = _mm256_loadu_si256((const __m256i *)block);
    return _mm256_srai_epi16(_mm256_slli_epi16(words, 12 - 4 * quarter), 12);
}

#endif
#endif
