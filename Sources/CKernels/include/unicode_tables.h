// What the tokenizer must know about Unicode 15.0.0; the tables are made by scripts/make_unicode_tables.py.
#ifndef QWENSFT_CKERNELS_UNICODE_TABLES_H
#define QWENSFT_CKERNELS_UNICODE_TABLES_H

#include <stdint.h>

// The class of a character in the split pattern (two bits), and a flag.
enum {
    QK_UNICODE_OTHER = 0,
    QK_UNICODE_LETTER = 1, // \p{L}
    QK_UNICODE_NUMBER = 2, // \p{N}
    QK_UNICODE_SPACE = 3,  // White_Space
    QK_UNICODE_CLASS = 3,  // the mask of these
    // Normalization Form C may change the character, or it may change what stands before it.
    QK_UNICODE_UNSETTLED = 4,
};

typedef struct qk_unicode_record {
    uint8_t combining_class;
    uint8_t length;    // of the full canonical decomposition, in code points; 0: none
    uint16_t position; // where it begins in qk_unicode_decompositions
} qk_unicode_record;

typedef struct qk_unicode_composite {
    uint32_t first, second, composed;
} qk_unicode_composite;

extern const uint16_t qk_unicode_flag_blocks[];
extern const uint8_t qk_unicode_flag_values[];
extern const uint16_t qk_unicode_record_blocks[];
extern const uint16_t qk_unicode_record_values[];
extern const qk_unicode_record qk_unicode_records[];
extern const uint32_t qk_unicode_decompositions[];
extern const qk_unicode_composite qk_unicode_composites[]; // in ascending order of (first, second)
extern const int32_t qk_unicode_composite_count;

/// Class and flag of a code point below 0x110000.
static inline uint8_t qk_unicode_flags(uint32_t c) {
    return qk_unicode_flag_values[(uint32_t)qk_unicode_flag_blocks[c >> 6] << 6 | (c & 63)];
}

/// The same for a character below 128: its blocks come first.
static inline uint8_t qk_ascii_flags(uint8_t c) {
    return qk_unicode_flag_values[c];
}

/// Combining class and decomposition of a code point below 0x110000, Hangul syllables excepted.
static inline qk_unicode_record qk_unicode_record_of(uint32_t c) {
    return qk_unicode_records[qk_unicode_record_values[(uint32_t)qk_unicode_record_blocks[c >> 6] << 6 | (c & 63)]];
}

/// One code point of a decomposition.
static inline uint32_t qk_unicode_decomposed(qk_unicode_record record, int32_t i) {
    return qk_unicode_decompositions[record.position + i];
}

/// The primary composite of two code points, 0 where there is none; Hangul excepted.
static inline uint32_t qk_unicode_compose(uint32_t first, uint32_t second) {
    int32_t low = 0, high = qk_unicode_composite_count;
    while (low < high) {
        int32_t middle = (low + high) / 2;
        const qk_unicode_composite *entry = &qk_unicode_composites[middle];
        if (entry->first < first || (entry->first == first && entry->second < second))
            low = middle + 1;
        else
            high = middle;
    }
    if (low == qk_unicode_composite_count) return 0;
    const qk_unicode_composite *entry = &qk_unicode_composites[low];
    return entry->first == first && entry->second == second ? entry->composed : 0;
}

#endif
