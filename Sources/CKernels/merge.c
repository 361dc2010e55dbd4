// See merge.h. With AVX-512, ids and ranks of up to 16 symbols are two registers: the lowest rank is found, and the symbols
// behind it move up, without a branch that depends on the word.
#include "merge.h"

#include "cpu.h"

#include <stddef.h>

#if defined(__x86_64__)

#include <immintrin.h>

#define QK_MERGE __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,bmi,bmi2")))

/// The rank in which two tokens merge; all ones if they do not.
static inline __attribute__((always_inline)) QK_MERGE uint32_t rank_of(const qk_merge_table *table, uint32_t left, uint32_t right) {
    uint64_t key = (uint64_t)left << 21 | right;
    uint64_t line = (key * 0x9E3779B97F4A7C15u >> table->shift) & ~(uint64_t)7;
    while (1) {
        __m512i slots = _mm512_loadu_si512(table->slots + line);
        __mmask8 found = _mm512_cmpeq_epi64_mask(_mm512_srli_epi64(slots, 21), _mm512_set1_epi64((long long)key));
        if (found) return (uint32_t)table->slots[line + _tzcnt_u32(found)] & 0x1FFFFF;
        if (_mm512_cmpeq_epi64_mask(slots, _mm512_set1_epi64(-1))) return ~0u; // the line is not full
        line = (line + 8) & table->mask;
    }
}

static inline __attribute__((always_inline)) QK_MERGE uint32_t lane(__m512i values, unsigned i) {
    return (uint32_t)_mm512_cvtsi512_si32(_mm512_permutexvar_epi32(_mm512_set1_epi32((int)i), values));
}

static QK_MERGE long merge_word_avx512(const qk_merge_table *table, int32_t *symbols, long count) {
    const __m512i none = _mm512_set1_epi32(-1);
    uint32_t first_ranks[QK_MERGE_MOST] __attribute__((aligned(64)));
    _mm512_store_si512(first_ranks, none);
    for (long i = 0; i + 1 < count; i++) first_ranks[i] = rank_of(table, (uint32_t)symbols[i], (uint32_t)symbols[i + 1]);
    // Lane i: symbol i, and the rank of its merge with the next one.
    __m512i ids = _mm512_loadu_si512(symbols), ranks = _mm512_load_si512(first_ranks);
    while (1) {
        uint32_t lowest = _mm512_reduce_min_epu32(ranks);
        if (lowest == ~0u) break;
        unsigned at = _tzcnt_u32(_mm512_cmpeq_epi32_mask(ranks, _mm512_set1_epi32((int)lowest)));
        uint32_t merged = (uint32_t)table->merged[lowest];
        uint32_t before = lane(ids, at - 1), after = lane(ids, at + 2); // lanes count modulo 16
        // The right symbol goes; the merged one stands in the left one's place.
        __mmask16 kept = (__mmask16)~(2u << at);
        ids = _mm512_maskz_compress_epi32(kept, _mm512_mask_set1_epi32(ids, (__mmask16)(1u << at), (int)merged));
        ranks = _mm512_mask_compress_epi32(none, kept, ranks);
        count--;
        uint32_t rank = at + 1 < count ? rank_of(table, merged, after) : ~0u;
        ranks = _mm512_mask_set1_epi32(ranks, (__mmask16)(1u << at), (int)rank);
        if (at > 0)
            ranks = _mm512_mask_set1_epi32(ranks, (__mmask16)(1u << (at - 1)), (int)rank_of(table, before, merged));
    }
    _mm512_storeu_si512(symbols, ids);
    return count;
}

#endif

qk_merge_word qk_merge_word_function(void) {
#if defined(__x86_64__)
    if (qk_isa() >= QK_ISA_AVX512) return merge_word_avx512;
#endif
    return NULL;
}
