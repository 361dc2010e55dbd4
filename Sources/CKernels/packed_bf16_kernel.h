// What the variants share.
#ifndef QWENSFT_CKERNELS_PACKED_BF16_KERNEL_H
#define QWENSFT_CKERNELS_PACKED_BF16_KERNEL_H

#include "bf16.h"
#include "kernels.h"
#include "packed_bf16.h"

/// What the weights without a code add to a row's product.
static inline float qk_exceptions_product(const qk_exception *from, const qk_exception *to, const uint16_t *x) {
    float sum = 0;
    for (; from < to; from++) sum += qk_f32_from_bf16(from->value) * qk_f32_from_bf16(x[from->column]);
    return sum;
}

#endif
