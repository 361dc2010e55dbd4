// The definition, and the choice of the variant.
#include "softmax_bf16.h"

#include "bf16.h"
#include "cpu.h"

#include <math.h>

#if defined(__x86_64__)
void qk_softmax_block_bf16_avx512(
    uint16_t *out, long ldo, const float *s, long ld, long rows, long cols, long first, float scale, float *max, float *sum,
    float *rescale);
#endif

void qk_softmax_block_bf16(
    uint16_t *out, long ldo, const float *s, long ld, long rows, long cols, long first, float scale, float *max, float *sum,
    float *rescale) {
#if defined(__x86_64__)
    if (qk_isa() >= QK_ISA_AVX512_BF16)
        return qk_softmax_block_bf16_avx512(out, ldo, s, ld, rows, cols, first, scale, max, sum, rescale);
#endif
    for (long row = 0; row < rows; row++, out += ldo, s += ld) {
        long seen = first + row < 0 ? 0 : first + row > cols ? cols : first + row;
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
