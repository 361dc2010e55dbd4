// What the variants share.
#ifndef QWENSFT_CKERNELS_TEXT_KERNEL_H
#define QWENSFT_CKERNELS_TEXT_KERNEL_H

#include <stddef.h>
#include <stdint.h>

// What the first byte of a character of two bytes or more says about all that begin with it.
enum {
    QK_TEXT_LETTERS = 0x20,   // of two bytes, all letters
    QK_TEXT_LETTERS_3 = 0x40, // of three bytes, all letters
    QK_TEXT_MIXED = 0x80,     // to be looked up
    QK_TEXT_UNSETTLED = 0x10, // some are not settled in Normalization Form C
};

extern const uint8_t qk_text_classes[128];

#endif
