// Storing of results, for products that float32 kernels make.
#include "avx2.h"
#include "gemm_bf16_kernel.h"

#if defined(__x86_64__)

/// 32 elements, which share their random bits: beta * target + alpha * sums, without beta where it is not to be read.
QK_INLINE_AVX2 void new32(__m256 x[4], const void *target, int bf16, int read, __m256 alpha, __m256 beta, const float *sums) {
#pragma clang loop unroll(full)
    for (int v = 0; v < 4; v++) {
        x[v] = _mm256_mul_ps(alpha, _mm256_loadu_ps(sums + 8 * v));
        if (!read) continue;
        const __m256 old = bf16 ? qk_widen8((const uint16_t *)target + 8 * v) : _mm256_loadu_ps((const float *)target + 8 * v);
        x[v] = _mm256_fmadd_ps(beta, old, x[v]);
    }
}

/// Rows of the target, of whole blocks of 32 columns. What is asked for is constant, so that nothing of it is in the loops.
QK_INLINE_AVX2 void store(
    qk_gradient g, const int bf16, const int read, const int stochastic, long row, long column, const float *tile, long ldt,
    long rows, long columns) {
    const __m256 alpha = _mm256_set1_ps(g.alpha), beta = _mm256_set1_ps(g.beta);
    const uint64_t counters = qk_counters_per_row((uint64_t)g.columns);
    for (long r = 0; r < rows; r++, tile += ldt) {
        const long index = (row + r) * g.columns + column;
        const uint32_t counter = (uint32_t)((uint64_t)(row + r) * counters + (uint64_t)column / 2);
        for (long c = 0; c + 32 <= columns; c += 32) {
            __m256 x[4];
            if (!bf16) {
                float *to = (float *)g.target + index + c;
                new32(x, to, 0, read, alpha, beta, tile + c);
#pragma clang loop unroll(full)
                for (int v = 0; v < 4; v++) _mm256_storeu_ps(to + 8 * v, x[v]);
                continue;
            }
            uint16_t *to = (uint16_t *)g.target + index + c;
            __m256i rounded[2];
            new32(x, to, 1, read, alpha, beta, tile + c);
            if (stochastic) qk_stochastic32(rounded, x, g.key, counter + (uint32_t)c / 2);
            else qk_nearest32(rounded, x);
            _mm256_storeu_si256((__m256i *)to, rounded[0]);
            _mm256_storeu_si256((__m256i *)(to + 16), rounded[1]);
        }
    }
}

#define QK_STORE_GRADIENT QK_AVX2 void qk_store_gradient_avx2
#include "gemm_bf16_store.inc"

#endif
