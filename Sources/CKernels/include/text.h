// The passes over text that look at 64 bytes at a time where the processor can (AVX-512 with VBMI). Each has a plain definition,
// named with it, that takes over where the pass stops; without such a processor it does all of the work.
#ifndef QWENSFT_CKERNELS_TEXT_H
#define QWENSFT_CKERNELS_TEXT_H

#include <stddef.h>
#include <stdint.h>

/// So many bytes from the start are whole characters of well-formed UTF-8, for certain. All of them where all of the text is; 0
/// on a processor without the vector units. Plain definition: `utf8SequenceLength`.
size_t qk_utf8_prefix(const uint8_t *text, size_t size);

/// So many bytes from the start are whole characters that are settled in Normalization Form C, for certain: the first byte of
/// each says so. Plain definition: the flag QK_UNICODE_UNSETTLED.
size_t qk_settled_prefix(const uint8_t *text, size_t size);

/// Where words begin among the first 64 bytes of a text that itself begins with a word: bit i for byte i, without bit 0, and only
/// those that do not depend on what follows. Each word that ends before the last bit is a word by the split pattern. If the text
/// has no more than 64 bytes, all of its words. Plain definition: `PreTokenizer.endOfWord`.
typedef uint64_t (*qk_word_starts)(const uint8_t *text, size_t size);

/// The function for this processor; NULL without the vector units.
qk_word_starts qk_word_starts_function(void);

#endif
