// The passes over text that look at 64 bytes at a time. Each has a definition in Swift, named with it, that takes over where the
// pass stops.
#ifndef QWENSFT_CKERNELS_TEXT_H
#define QWENSFT_CKERNELS_TEXT_H

#include "kernel_list.h"

#include <stddef.h>
#include <stdint.h>

#define QK_TEXT_KERNELS(X)                                                                                              \
    /* So many bytes from the start are whole characters of well-formed UTF-8, for certain: the vector variants stop    \
       where it is no longer well-formed, the plain one at the first byte that is not ASCII.                            \
       Definition: `utf8SequenceLength`. */                                                                             \
    X(size_t, utf8_prefix, (const uint8_t *text, size_t size), (text, size))                                            \
    /* So many bytes from the start are whole characters that are settled in Normalization Form C, for certain: the     \
       first byte of each says so. Definition: the flag QK_UNICODE_UNSETTLED. */                                  \
    X(size_t, settled_prefix, (const uint8_t *text, size_t size), (text, size))                                         \
    /* Where words begin among the first 64 bytes of a text that itself begins with a word: bit i for byte i, without   \
       bit 0, and only those that do not depend on what follows. Each word that ends before the last bit is a word by   \
       the split pattern. If the text has no more than 64 bytes, all of its words.                                       \
       Definition: `PreTokenizer.endOfWord`. */                                                                         \
    X(uint64_t, word_starts, (const uint8_t *text, size_t size), (text, size))

QK_TEXT_KERNELS(QK_DECLARE)

#endif
