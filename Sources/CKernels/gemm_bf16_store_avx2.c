// Storing of results, for products that float32 kernels make.
#include "avx2.h"
#include "gemm_bf16_kernel.h"

#if defined(__x86_64__)

/// 32 elements, which share their random bits.
QK_INLINE_AVX2 void store32(const qk_gradient *gradient, long row, long column, const float *sums) {
    const __m256 alpha = _mm256_set1_ps(gradient->alpha), beta = _mm256_set1_ps(gradient->beta);
    const int read = gradient->beta != 0;
    const long index = row * gradient->columns + column;
    float *wide = (float *)gradient->target + index;
    uint16_t *narrow = (uint16_t *)gradient->target + index;
    __m256 x[4];
#pragma clang loop unroll(full)
    for (int v = 0; v < 4; v++) {
        x[v] = _mm256_mul_ps(alpha, _mm256_loadu_ps(sums + 8 * v));
        if (!read) continue;
        const __m256 old = gradient->bf16 ? qk_widen8(narrow + 8 * v) : _mm256_loadu_ps(wide + 8 * v);
        x[v] = _mm256_fmadd_ps(beta, old, x[v]);
    }
    if (!gradient->bf16) {
#pragma clang loop unroll(full)
        for (int v = 0; v < 4; v++) _mm256_storeu_ps(wide + 8 * v, x[v]);
        return;
    }
    __m256i rounded[2];
    if (gradient->rounding == QK_ROUND_STOCHASTIC) {
        const uint64_t counters = qk_counters_per_row((uint64_t)gradient->columns);
        qk_stochastic32(rounded, x, gradient->key, (uint32_t)((uint64_t)row * counters + (uint64_t)column / 2));
    } else {
        rounded[0] = qk_nearest16(x[0], x[1]);
        rounded[1] = qk_nearest16(x[2], x[3]);
    }
    memcpy(narrow, rounded, sizeof rounded);
}

QK_AVX2 void qk_store_gradient_avx2(
    const qk_gradient *gradient, long row, long column, const float *tile, long ldt, long rows, long columns) {
    for (long r = 0; r < rows; r++, tile += ldt) {
        long c = 0;
        for (; c + 32 <= columns; c += 32) store32(gradient, row + r, column + c, tile + c);
        for (; c < columns; c++) qk_store_element(gradient, row + r, column + c, tile[c]);
    }
}

#endif
