// Two walks over the scores: the largest, then exponentials, their sum and their rounding at once.
#include "softmax_bf16.h"

#include "avx512.h"
#include "kernels.h"

#include <math.h>

#if defined(__x86_64__)

static const float log2e = 1.44269504f;

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
    const float factor = scale * log2e;
    const __m512 by = _mm512_set1_ps(factor);
    const long filled = (cols + 1) / 2 * 2;
    for (long row = 0; row < rows; row++, out += ldo, s += ld) {
        const long seen = qk_seen(first, row, cols);
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

/// The columns from `column` on, 16 of them, that see row `key`: column c sees the rows below first + c.
QK_INLINE QK_AVX512 __mmask16 seeing(long key, long first, long column) {
    const long unseen = key - first - column + 1;
    return (__mmask16)~qk_mask16(unseen);
}

/// The largest score that each of 16 columns sees, or minus infinity: `every` rows are seen by all, those up to `any` by some.
QK_INLINE QK_AVX512 __m512 largest_in_columns(const float *s, long ld, long every, long any, long first, long column) {
    __m512 top = _mm512_set1_ps(-INFINITY), other = top;
    long key = 0;
    for (; key + 2 <= every; key += 2) {
        top = _mm512_max_ps(_mm512_loadu_ps(s + key * ld), top);
        other = _mm512_max_ps(_mm512_loadu_ps(s + (key + 1) * ld), other);
    }
    for (; key < any; key++) {
        __m512 x = _mm512_loadu_ps(s + key * ld);
        top = _mm512_mask_max_ps(top, seeing(key, first, column), x, top);
    }
    return _mm512_max_ps(top, other);
}

QK_AVX512_BF16 void qk_softmax_columns_avx512(
    uint16_t *panel, const float *s, long ld, long keys, long width, long first, float scale, float *max, float *sum,
    float *rescale) {
    const __m512 by = _mm512_set1_ps(scale * log2e);
    for (long c = 0; c < width; c += 16, s += 16) {
        const long every = qk_seen(first, c, keys), any = qk_seen(first, c + 15, keys);
        const __m512 before = _mm512_loadu_ps(max + c);
        const __m512 top = largest_in_columns(s, ld, every, any, first, c);
        const __m512 after = _mm512_max_ps(_mm512_mul_ps(top, _mm512_set1_ps(scale)), before);
        const __m512 less = _mm512_mul_ps(after, _mm512_set1_ps(log2e));
        __m512 low = _mm512_setzero_ps(), high = low;
        uint16_t *to = panel + 2 * c;
        long key = 0;
        for (; key + 2 <= every; key += 2, to += 2 * width) {
            __m512 a = exp2_vector(_mm512_fmsub_ps(_mm512_loadu_ps(s + key * ld), by, less));
            __m512 b = exp2_vector(_mm512_fmsub_ps(_mm512_loadu_ps(s + (key + 1) * ld), by, less));
            low = _mm512_add_ps(low, a);
            high = _mm512_add_ps(high, b);
            _mm512_storeu_si512(to, qk_interleave_halves((__m512i)_mm512_cvtne2ps_pbh(b, a)));
        }
        for (; key < keys; key += 2, to += 2 * width) {
            __mmask16 one = key < any ? seeing(key, first, c) : 0, two = key + 1 < any ? seeing(key + 1, first, c) : 0;
            __m512 a = _mm512_maskz_loadu_ps(one, s + key * ld), b = _mm512_maskz_loadu_ps(two, s + (key + 1) * ld);
            a = _mm512_maskz_mov_ps(one, exp2_vector(_mm512_fmsub_ps(a, by, less)));
            b = _mm512_maskz_mov_ps(two, exp2_vector(_mm512_fmsub_ps(b, by, less)));
            low = _mm512_add_ps(low, a);
            high = _mm512_add_ps(high, b);
            _mm512_storeu_si512(to, qk_interleave_halves((__m512i)_mm512_cvtne2ps_pbh(b, a)));
        }
        const __m512 factor = exp2_vector(_mm512_mul_ps(_mm512_sub_ps(before, after), _mm512_set1_ps(log2e)));
        _mm512_storeu_ps(rescale + c, factor);
        _mm512_storeu_ps(sum + c, _mm512_fmadd_ps(_mm512_loadu_ps(sum + c), factor, _mm512_add_ps(low, high)));
        _mm512_storeu_ps(max + c, after);
    }
}

/// 16 lanes of a pair of rows: a below b.
QK_INLINE QK_AVX512 void store_rows(uint16_t *to, long ld, __m512i pair, int both) {
    _mm256_storeu_si256((__m256i *)to, _mm512_castsi512_si256(pair));
    if (both) _mm256_storeu_si256((__m256i *)(to + ld), _mm512_extracti64x4_epi64(pair, 1));
}

QK_AVX512_BF16 void qk_softmax_columns_backward_avx512(
    uint16_t *p, uint16_t *ds, long ldp, uint16_t *panel, const float *s, const float *dp, long ld, long keys, long width,
    long first, float scale, const float *lse, const float *delta) {
    const __m512 by = _mm512_set1_ps(scale * log2e), scales = _mm512_set1_ps(scale);
    for (long c = 0; c < width; c += 16) {
        const long any = qk_seen(first, c + 15, keys);
        const __m512 less = _mm512_mul_ps(_mm512_loadu_ps(lse + c), _mm512_set1_ps(log2e));
        const __m512 scaled = _mm512_mul_ps(_mm512_loadu_ps(delta + c), scales);
        for (long key = 0; key < keys; key += 2) {
            const __mmask16 one = key < any ? seeing(key, first, c) : 0;
            const __mmask16 two = key + 1 < any ? seeing(key + 1, first, c) : 0;
            const float *from = s + key * ld + c, *slopes = dp + key * ld + c;
            __m512 a = exp2_vector(_mm512_fmsub_ps(_mm512_maskz_loadu_ps(one, from), by, less));
            __m512 b = exp2_vector(_mm512_fmsub_ps(_mm512_maskz_loadu_ps(two, from + ld), by, less));
            a = _mm512_maskz_mov_ps(one, a);
            b = _mm512_maskz_mov_ps(two, b);
            __m512 da = _mm512_mul_ps(a, _mm512_fmsub_ps(_mm512_maskz_loadu_ps(one, slopes), scales, scaled));
            __m512 db = _mm512_mul_ps(b, _mm512_fmsub_ps(_mm512_maskz_loadu_ps(two, slopes + ld), scales, scaled));
            const __m512i slope = (__m512i)_mm512_cvtne2ps_pbh(db, da);
            store_rows(p + key * ldp + c, ldp, (__m512i)_mm512_cvtne2ps_pbh(b, a), key + 1 < keys);
            store_rows(ds + key * ldp + c, ldp, slope, key + 1 < keys);
            _mm512_storeu_si512(panel + key * width + 2 * c, qk_interleave_halves(slope));
        }
    }
}

#endif
