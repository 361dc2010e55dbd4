// The plain definitions.
#include "packed_bf16_kernel.h"

#include <string.h>

long qk_pack_bf16_plain(uint8_t *out, qk_exception *exceptions, const uint16_t *w, long k, const uint8_t *codes) {
    long count = 0;
    memset(out, 0, (size_t)((k + QK_PACKED_BLOCK - 1) / QK_PACKED_BLOCK * QK_PACKED_BLOCK_BYTES));
    for (long i = 0; i < k; i++) {
        uint8_t *block = out + i / QK_PACKED_BLOCK * QK_PACKED_BLOCK_BYTES;
        long place = i % QK_PACKED_BLOCK / 64 * 64 + qk_packed_place(i % 64);
        uint8_t upper = (uint8_t)(w[i] >> 8), code = codes[upper];
        if (code == 0 && upper != 0) {
            exceptions[count++] = (qk_exception){(uint32_t)i, w[i]};
            continue;
        }
        block[place] = (uint8_t)w[i];
        block[QK_PACKED_BLOCK + place / 2] |= (uint8_t)(code << place % 2 * 4);
    }
    return count;
}

static uint16_t weight(const uint8_t *packed, const uint8_t *uppers, long i) {
    const uint8_t *block = packed + i / QK_PACKED_BLOCK * QK_PACKED_BLOCK_BYTES;
    long place = i % QK_PACKED_BLOCK / 64 * 64 + qk_packed_place(i % 64);
    uint8_t code = block[QK_PACKED_BLOCK + place / 2] >> place % 2 * 4 & 15;
    return (uint16_t)(uppers[code] << 8 | block[place]);
}

void qk_unpack_bf16_plain(uint16_t *out, const uint8_t *packed, const uint8_t *uppers, long k, long filled) {
    for (long i = 0; i < k; i++) out[i] = weight(packed, uppers, i);
    for (long i = k; i < filled; i++) out[i] = 0;
}

void qk_gemv_packed_bf16_plain(
    float *y, const uint8_t *w, const uint8_t *uppers, const uint32_t *starts, const qk_exception *exceptions,
    const uint16_t *x, long rows, long k, int accumulate) {
    for (long row = 0; row < rows; row++, w += k / QK_PACKED_BLOCK * QK_PACKED_BLOCK_BYTES) {
        float sum = qk_exceptions_product(exceptions + starts[row], exceptions + starts[row + 1], x);
        for (long i = 0; i < k; i++) sum += qk_f32_from_bf16(weight(w, uppers, i)) * qk_f32_from_bf16(x[i]);
        y[row] = accumulate ? y[row] + sum : sum;
    }
}
