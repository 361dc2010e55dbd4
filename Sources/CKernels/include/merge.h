// Byte pair encoding: the table of merges, and short words merged several at a time.
#ifndef QWENSFT_CKERNELS_MERGE_H
#define QWENSFT_CKERNELS_MERGE_H

#include "kernel_list.h"

#include <stdint.h>

typedef struct qk_merge {
    int32_t left, right; // these two neighbors
    int32_t merged;      // become this
} qk_merge;

/// A hash table from a pair of neighbors to the rank of their merge, as `MergeTable` lays it out: lines of sixteen slots.
///
/// A slot is a rank in its low bits (`rank_mask`) and bits of the pair's hash above, which make a wrong pair improbable but not
/// impossible: `merges`, by rank, tells. All ones: free. A pair stands in the line that its hash names, or, if that is full, in
/// the next. Slots are filled in order of rank, so that of several that fit the first has the lowest.
typedef struct qk_merge_table {
    const uint32_t *slots;
    const qk_merge *merges; // by rank
    uint32_t lines;
    uint32_t rank_mask;
    int32_t first_merged;   // what rank 0 makes, if rank r makes r more, as in GPT's and Qwen's vocabularies; else -1
} qk_merge_table;

enum { QK_MERGE_LINE = 16 }; // slots
static const uint32_t qk_no_rank = ~0u; // also a free slot

static inline uint64_t qk_merge_hash(int32_t left, int32_t right) {
    return ((uint64_t)(uint32_t)left << 21 | (uint32_t)right) * 0x9E3779B97F4A7C15u;
}

/// The line that the pair's hash names.
static inline uint64_t qk_merge_line(const qk_merge_table *table, uint64_t hash) { return (hash >> 32) * table->lines >> 32; }

/// What the pair's slot holds above the rank; the rank's bits are zero.
static inline uint32_t qk_merge_tag(const qk_merge_table *table, uint64_t hash) { return (uint32_t)(hash >> 16) & ~table->rank_mask; }

/// The rank in which two neighbors merge; `qk_no_rank` if they do not.
uint32_t qk_merge_rank(const qk_merge_table *table, int32_t left, int32_t right);

enum {
    QK_MERGE_MOST = 15, // symbols of a word
    QK_MERGE_WORDS = 4,
};

/// A word of 2...15 symbols that waits to be merged.
typedef struct qk_merge_word {
    int32_t *symbols;
    int64_t count;
} qk_merge_word;

#define QK_MERGE_KERNELS(X)                                                                                             \
    /* Merges QK_MERGE_WORDS words in place (`symbols` NULL: none): as long as two neighbors merge, the pair of        \
       lowest rank, the leftmost of equals. `count` becomes how many symbols are left. */                               \
    X(void, merge_words, (const qk_merge_table *table, qk_merge_word *words), (table, words))

QK_MERGE_KERNELS(QK_DECLARE)

#endif
