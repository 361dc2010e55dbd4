// The vector variants behind packed_bf16.c's dispatch.
#ifndef QWENSFT_CKERNELS_PACKED_BF16_KERNEL_H
#define QWENSFT_CKERNELS_PACKED_BF16_KERNEL_H

#include "bf16.h"
#include "packed_bf16.h"

long qk_pack_bf16_avx512(uint8_t *out, qk_exception *exceptions, const uint16_t *w, long k, const uint8_t *codes);
void qk_unpack_bf16_avx512(uint16_t *out, const uint8_t *packed, const uint8_t *uppers, long k, long filled);
void qk_gemv_packed_bf16_avx512(
    float *y, const uint8_t *w, const uint8_t *uppers, const uint32_t *starts, const qk_exception *exceptions,
    const uint16_t *x, long rows, long k, int accumulate);

/// What the weights without a code add to a row's product.
static inline float qk_exceptions_product(const qk_exception *from, const qk_exception *to, const uint16_t *x) {
    float sum = 0;
    for (; from < to; from++) sum += qk_f32_from_bf16(from->value) * qk_f32_from_bf16(x[from->column]);
    return sum;
}

#endif
