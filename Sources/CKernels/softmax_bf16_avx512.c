// Two walks over a row: its largest score, then exponentials, their sum and their rounding at once.
#include "softmax_bf16.h"

#include "avx512.h"

#include <math.h>

#if defined(__x86_64__)

/// 2^x to 2e-7, for x up to 127; 0 below -149. A minimax polynomial of degree 5 on [-1/2, 1/2]. A NaN stays one.
QK_INLINE QK_AVX512 __m512 exp2_vector(__m512 x) {
    x = _mm512_max_ps(_mm512_set1_ps(-200), x); // minus infinity has no fraction
    __m512 whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m512 f = _mm512_sub_ps(x, whole);
    __m512 p = _mm512_set1_ps(1.3276472e-3f);
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(9.6755419e-3f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(5.5507131e-2f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.2402212f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.69314694f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.0000001f));
    return _mm512_scalef_ps(p, whole);
}

QK_INLINE QK_AVX512 float largest(const float *s, long n, float top) {
    __m512 a = _mm512_set1_ps(top), b = a;
    long i = 0;
    for (; i + 32 <= n; i += 32) {
        a = _mm512_max_ps(_mm512_loadu_ps(s + i), a);
        b = _mm512_max_ps(_mm512_loadu_ps(s + i + 16), b);
    }
    for (; i < n; i += 16) {
        __mmask16 mask = qk_mask16(n - i);
        a = _mm512_mask_max_ps(a, mask, _mm512_maskz_loadu_ps(mask, s + i), a);
    }
    return _mm512_reduce_max_ps(_mm512_max_ps(a, b));
}

QK_AVX512_BF16 void qk_softmax_block_bf16_avx512(
    uint16_t *out, long ldo, const float *s, long ld, long rows, long cols, long first, float scale, float *max, float *sum,
    float *rescale) {
    const float log2e = 1.44269504f, factor = scale * log2e;
    const __m512 by = _mm512_set1_ps(factor);
    const long filled = (cols + 1) / 2 * 2;
    for (long row = 0; row < rows; row++, out += ldo, s += ld) {
        const long seen = first + row < 0 ? 0 : first + row > cols ? cols : first + row;
        rescale[row] = 1;
        long i = 0;
        if (seen > 0) {
            const float top = largest(s, seen, max[row] / scale);
            const __m512 less = _mm512_set1_ps(top * factor);
            __m512 low = _mm512_setzero_ps(), high = low;
            for (; i < seen; i += 32) {
                __mmask16 one = qk_mask16(seen - i), two = qk_mask16(seen - i - 16);
                __m512 a = _mm512_maskz_loadu_ps(one, s + i), b = _mm512_maskz_loadu_ps(two, s + i + 16);
                a = _mm512_maskz_mov_ps(one, exp2_vector(_mm512_fmsub_ps(a, by, less)));
                b = _mm512_maskz_mov_ps(two, exp2_vector(_mm512_fmsub_ps(b, by, less)));
                low = _mm512_add_ps(low, a);
                high = _mm512_add_ps(high, b);
                _mm512_mask_storeu_epi16(out + i, qk_mask32(filled - i), (__m512i)_mm512_cvtne2ps_pbh(b, a));
            }
            rescale[row] = expf(max[row] - top * scale);
            sum[row] = sum[row] * rescale[row] + _mm512_reduce_add_ps(_mm512_add_ps(low, high));
            max[row] = top * scale;
        }
        for (; i < filled; i += 32) _mm512_mask_storeu_epi16(out + i, qk_mask32(filled - i), _mm512_setzero_si512());
    }
}

#endif
