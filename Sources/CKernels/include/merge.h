// Byte pair encoding of a short word with its symbols in registers.
#ifndef QWENSFT_CKERNELS_MERGE_H
#define QWENSFT_CKERNELS_MERGE_H

#include <stdint.h>

/// A table of merges as `MergeTable` lays it out: lines of eight slots, each left id, right id, rank (21 bits each), or all
/// ones: free. A pair stands in the line that its hash names, or, if that is full, in the next.
typedef struct qk_merge_table {
    const uint64_t *slots;
    uint64_t shift; // of the hash, down to the number of a slot
    uint64_t mask;  // of the number of a slot
    const int32_t *merged; // by rank
} qk_merge_table;

enum { QK_MERGE_MOST = 16 }; // symbols

/// Merges a word of 2...16 symbols in place, as long as two neighbours merge: the pair of lowest rank, the leftmost of equals.
/// Returns how many symbols are left. `ids` has room for 16. Plain definition: `BytePairMerger.mergeShort`.
typedef long (*qk_merge_word)(const qk_merge_table *table, int32_t *ids, long count);

/// The function for this processor; NULL without the vector units.
qk_merge_word qk_merge_word_function(void);

#endif
