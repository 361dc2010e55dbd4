// The plain definitions.
#include "softmax_bf16.h"

#include "bf16.h"
#include "kernels.h"

#include <math.h>

void qk_softmax_block_bf16_plain(
    uint16_t *out, long ldo, const float *s, long ld, long rows, long cols, long first, float scale, float *max, float *sum,
    float *rescale) {
    for (long row = 0; row < rows; row++, out += ldo, s += ld) {
        long seen = qk_seen(first, row, cols);
        float top = max[row], total = 0;
        for (long i = 0; i < seen; i++) top = fmaxf(top, s[i] * scale);
        for (long i = 0; i < seen; i++) {
            float value = expf(s[i] * scale - top);
            total += value;
            out[i] = qk_bf16_from_f32(value);
        }
        for (long i = seen; i < (cols + 1) / 2 * 2; i++) out[i] = 0;
        rescale[row] = seen > 0 ? expf(max[row] - top) : 1;
        sum[row] = sum[row] * rescale[row] + total;
        max[row] = top;
    }
}

void qk_softmax_columns_plain(
    uint16_t *panel, const float *s, long ld, long keys, long width, long first, float scale, float *max, float *sum,
    float *rescale) {
    for (long c = 0; c < width; c++) {
        const long seen = qk_seen(first, c, keys);
        float top = max[c], total = 0;
        for (long key = 0; key < seen; key++) top = fmaxf(top, s[key * ld + c] * scale);
        for (long key = 0; key < (keys + 1) / 2 * 2; key++) {
            float value = key < seen ? expf(s[key * ld + c] * scale - top) : 0;
            total += value;
            panel[key / 2 * width * 2 + c * 2 + key % 2] = qk_bf16_from_f32(value);
        }
        rescale[c] = expf(max[c] - top);
        sum[c] = sum[c] * rescale[c] + total;
        max[c] = top;
    }
}

void qk_softmax_columns_backward_plain(
    uint16_t *p, uint16_t *ds, long ldp, uint16_t *panel, const float *s, const float *dp, long ld, long keys, long width,
    long first, float scale, const float *lse, const float *delta) {
    for (long c = 0; c < width; c++) {
        const long seen = qk_seen(first, c, keys);
        for (long key = 0; key < (keys + 1) / 2 * 2; key++) {
            float value = key < seen ? expf(s[key * ld + c] * scale - lse[c]) : 0;
            uint16_t slope = key < seen ? qk_bf16_from_f32(value * (dp[key * ld + c] - delta[c]) * scale) : 0;
            panel[key / 2 * width * 2 + c * 2 + key % 2] = slope;
            if (key == keys) continue; // the odd half of the last pair
            p[key * ldp + c] = qk_bf16_from_f32(value);
            ds[key * ldp + c] = slope;
        }
    }
}
