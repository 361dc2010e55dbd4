// One weight of a row of int6 blocks, for the plain definitions.
#ifndef QWENSFT_CKERNELS_INT6_KERNEL_H
#define QWENSFT_CKERNELS_INT6_KERNEL_H

#include <stdint.h>

static inline int qk_int6_integer(const uint8_t *w, long i) {
    const uint8_t *four = w + i / 4 * 3;
    uint32_t bits = four[0] | (uint32_t)four[1] << 8 | (uint32_t)four[2] << 16;
    int8_t upper = (int8_t)(bits >> i % 4 * 6 << 2); // its sign in the byte's
    return upper >> 2;
}

#endif
