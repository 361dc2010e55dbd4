// See merge.h. With AVX-512, ids and ranks of a word's symbols are two registers: the lowest rank is found, and the symbols
// behind it move up, without a branch that depends on the word. A merge waits for the table before it, so four words take turns.
#include "merge.h"

#include "kernels.h"

#include <stddef.h>

uint32_t qk_merge_rank(const qk_merge_table *table, int32_t left, int32_t right) {
    uint64_t hash = qk_merge_hash(left, right);
    uint32_t tag = qk_merge_tag(table, hash);
    for (uint64_t line = qk_merge_line(table, hash);; line = line + 1 < table->lines ? line + 1 : 0) {
        const uint32_t *slots = table->slots + line * QK_MERGE_LINE;
        // The lowest rank of those that fit: nearly always the pair's, or none fits.
        uint32_t lowest = qk_no_rank;
        for (int i = 0; i < QK_MERGE_LINE; i++) lowest = (slots[i] ^ tag) < lowest ? slots[i] ^ tag : lowest;
        for (int i = 0; lowest < table->rank_mask && i < QK_MERGE_LINE; i++) {
            uint32_t rank = slots[i] ^ tag;
            if (rank >= table->rank_mask) continue;
            if (table->merges[rank].left == left && table->merges[rank].right == right) return rank;
        }
        if (slots[QK_MERGE_LINE - 1] == qk_no_rank) return qk_no_rank; // the line is not full
    }
}

void qk_merge_words_plain(const qk_merge_table *table, qk_merge_word *words) {
    for (qk_merge_word *word = words; word < words + QK_MERGE_WORDS; word++) {
        int32_t *symbols = word->symbols;
        if (!symbols) continue;
        uint32_t ranks[QK_MERGE_MOST]; // of each symbol with the next one
        long count = word->count;
        for (long i = 0; i + 1 < count; i++) ranks[i] = qk_merge_rank(table, symbols[i], symbols[i + 1]);
        for (;;) {
            uint32_t lowest = qk_no_rank;
            long at = 0;
            for (long i = 0; i + 1 < count; i++)
                if (ranks[i] < lowest) lowest = ranks[at = i];
            if (lowest == qk_no_rank) break;
            symbols[at] = table->merges[lowest].merged;
            count--;
            for (long i = at + 1; i < count; i++) symbols[i] = symbols[i + 1];
            for (long i = at + 1; i + 1 < count; i++) ranks[i] = ranks[i + 1];
            if (at > 0) ranks[at - 1] = qk_merge_rank(table, symbols[at - 1], symbols[at]);
            if (at + 1 < count) ranks[at] = qk_merge_rank(table, symbols[at], symbols[at + 1]);
        }
        word->count = count;
    }
}

#if defined(__x86_64__)

#include "avx512.h"

#define QK_MERGE __attribute__((target(QK_AVX512_TARGET ",bmi,bmi2")))

/// Lane i: symbol i, and the rank of its merge with the next one.
typedef struct word {
    __m512i ids, ranks;
} word;

enum { NO_SYMBOL = 0x1FFFFF }; // behind the last one; no token has this id, so nothing merges with it

/// Lane 0: the rank in which two neighbors merge, or, rarely, one that is lower and another pair's; all ones: they do not.
QK_INLINE QK_MERGE __m512i candidate(const qk_merge_table *table, int32_t left, int32_t right) {
    uint64_t hash = qk_merge_hash(left, right);
    const uint32_t *line = table->slots + qk_merge_line(table, hash) * QK_MERGE_LINE;
    __m512i ranks = _mm512_xor_si512(_mm512_load_si512(line), _mm512_set1_epi32((int)qk_merge_tag(table, hash)));
    __mmask16 fits = _mm512_cmplt_epu32_mask(ranks, _mm512_set1_epi32((int)table->rank_mask));
    if (__builtin_expect(line[QK_MERGE_LINE - 1] != qk_no_rank, 0) && !fits)
        return _mm512_set1_epi32((int)qk_merge_rank(table, left, right)); // a full line
    return _mm512_mask_compress_epi32(_mm512_set1_epi32(-1), fits, ranks);
}

/// One merge; returns whether there was one, or might have been.
QK_INLINE QK_MERGE int merge(const qk_merge_table *table, word *w) {
    const __m512i none = _mm512_set1_epi32(-1);
    uint32_t lowest = _mm512_reduce_min_epu32(w->ranks);
    int live = lowest != qk_no_rank;
    unsigned at = _tzcnt_u32(_mm512_cmpeq_epi32_mask(w->ranks, _mm512_set1_epi32((int)lowest)));
    __mmask16 place = (__mmask16)((unsigned)live << at), right_place = (__mmask16)(place << 1);
    // The symbol before, both that merge, the symbol after. Lane 15 is none: it stands before the first, too.
    __m512i around = _mm512_add_epi32(_mm512_set1_epi32((int)at), _mm512_set_epi32(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0, -1));
    __m128i symbols = _mm512_castsi512_si128(_mm512_permutexvar_epi32(around, w->ids));
    uint64_t pair = (uint64_t)_mm_cvtsi128_si64(_mm_srli_si128(symbols, 4));
    int32_t before = _mm_cvtsi128_si32(symbols), after = _mm_extract_epi32(symbols, 3);
    const qk_merge *rule = table->merges + (live ? lowest : 0);
    if (__builtin_expect(live && pair != ((uint64_t)(uint32_t)rule->right << 32 | (uint32_t)rule->left), 0)) {
        uint32_t rank = qk_merge_rank(table, (int32_t)pair, (int32_t)(pair >> 32)); // it was another pair's
        w->ranks = _mm512_mask_set1_epi32(w->ranks, place, (int)rank);
        return 1;
    }
    // The right symbol goes; the merged one stands in the left one's place.
    int32_t merged = table->first_merged >= 0 ? table->first_merged + (int32_t)lowest : rule->merged; // without waiting for it
    __m512i ids = _mm512_mask_set1_epi32(w->ids, place, merged);
    w->ids = _mm512_mask_compress_epi32(_mm512_set1_epi32(NO_SYMBOL), (__mmask16)~right_place, ids);
    __m512i ranks = _mm512_mask_compress_epi32(none, (__mmask16)~right_place, w->ranks);
    __m512i with_after = candidate(table, merged, after), with_before = candidate(table, before, merged);
    ranks = _mm512_mask_broadcastd_epi32(ranks, place, _mm512_castsi512_si128(with_after));
    w->ranks = _mm512_mask_broadcastd_epi32(ranks, (__mmask16)(place >> 1), _mm512_castsi512_si128(with_before));
    return live;
}

QK_MERGE void qk_merge_words_avx512(const qk_merge_table *table, qk_merge_word *words) {
    word in_work[QK_MERGE_WORDS];
#pragma clang loop unroll(full)
    for (int i = 0; i < QK_MERGE_WORDS; i++) {
        qk_merge_word *w = words + i;
        __mmask16 known = w->symbols ? (__mmask16)((1u << w->count) - 1) : 0;
        in_work[i].ids = _mm512_mask_loadu_epi32(_mm512_set1_epi32(NO_SYMBOL), known, w->symbols);
        in_work[i].ranks = _mm512_set1_epi32(-1);
        for (int at = 0; w->symbols && at + 1 < w->count; at++) {
            __m512i rank = candidate(table, w->symbols[at], w->symbols[at + 1]);
            in_work[i].ranks = _mm512_mask_broadcastd_epi32(in_work[i].ranks, (__mmask16)(1u << at), _mm512_castsi512_si128(rank));
        }
    }
    int live;
    do {
        live = 0;
#pragma clang loop unroll(full)
        for (int i = 0; i < QK_MERGE_WORDS; i++) live |= merge(table, in_work + i);
    } while (live);
#pragma clang loop unroll(full)
    for (int i = 0; i < QK_MERGE_WORDS; i++) {
        if (!words[i].symbols) continue;
        __mmask16 left = _mm512_cmpneq_epi32_mask(in_work[i].ids, _mm512_set1_epi32(NO_SYMBOL));
        _mm512_mask_storeu_epi32(words[i].symbols, left, in_work[i].ids);
        words[i].count = __builtin_popcount(left);
    }
}

#endif
