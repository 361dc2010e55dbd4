// The weight gradient's register blocks: the sums go from the registers into the target, so that neither the gradient nor
// a float32 form of the weight ever exists in memory.
#include "gemm_bf16_step_avx512.h"

#include "gemm_bf16_kernel.h"

#if defined(__x86_64__)

enum { FLOAT32, NEAREST, STOCHASTIC };

QK_INLINE QK_AVX512_BF16 void update(
    const int rows, const int kind, const qk_gradient *gradient, long row, long column, const char *a, long lda,
    const char *panel, long pairs, const char *ahead) {
    const long bytes = kind == FLOAT32 ? 4 : 2, stride = gradient->columns * bytes;
    char *target = (char *)gradient->target + row * stride + column * bytes;
    const int read = gradient->beta != 0;
    // Comes from memory during the sums.
    for (int r = 0; r < rows; r++)
#pragma clang loop unroll(full)
        for (int i = 0; i < 64 * bytes; i += 64) _mm_prefetch(ahead + r * stride + i, _MM_HINT_T0);

    __m512 sum[QK_ACCUMULATORS];
#pragma clang loop unroll(full)
    for (int i = 0; i < rows * 4; i++) sum[i] = _mm512_setzero_ps();
    for (long p = 0; p < pairs; p++, a += 4, panel += 256) qk_step(rows, 4, sum, a, lda, panel);

    const __m512 alpha = _mm512_set1_ps(gradient->alpha), beta = _mm512_set1_ps(gradient->beta);
    const uint64_t counters = qk_counters_per_row((uint64_t)gradient->columns);
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r++, target += stride) {
        const uint32_t counter = (uint32_t)((uint64_t)(row + r) * counters + (uint64_t)column / 2);
#pragma clang loop unroll(full)
        for (int v = 0; v < 4; v += 2) {
            __m512 low = _mm512_mul_ps(alpha, sum[r * 4 + v]), high = _mm512_mul_ps(alpha, sum[r * 4 + v + 1]);
            if (kind == FLOAT32) {
                float *to = (float *)target + 16 * v;
                if (read) {
                    low = _mm512_fmadd_ps(beta, _mm512_loadu_ps(to), low);
                    high = _mm512_fmadd_ps(beta, _mm512_loadu_ps(to + 16), high);
                }
                _mm512_storeu_ps(to, low);
                _mm512_storeu_ps(to + 16, high);
                continue;
            }
            uint16_t *to = (uint16_t *)target + 16 * v;
            if (read) {
                low = _mm512_fmadd_ps(beta, qk_widen(_mm256_loadu_si256((const __m256i *)to)), low);
                high = _mm512_fmadd_ps(beta, qk_widen(_mm256_loadu_si256((const __m256i *)(to + 16))), high);
            }
            __m512i rounded;
            if (kind == NEAREST) {
                rounded = (__m512i)_mm512_cvtne2ps_pbh(high, low);
            } else {
                // No NaN can be carried over: what is one here came from bfloat16 or from arithmetic, its lower half is 0.
                __m512i random = qk_random_vector(gradient->key, counter + 8 * (uint32_t)v);
                __m512i noise = _mm512_and_si512(random, _mm512_set1_epi32(0xffff));
                rounded = qk_upper_halves(
                    _mm512_add_epi32(_mm512_castps_si512(low), noise),
                    _mm512_add_epi32(_mm512_castps_si512(high), _mm512_srli_epi32(random, 16)));
            }
            _mm512_storeu_si512(to, rounded);
        }
    }
}

#define UPDATE(R, KIND)                                                                                                \
    static QK_AVX512_BF16 void update_##R##_##KIND(                                                                    \
        const qk_gradient *gradient, long row, long column, const char *a, long lda, const char *panel, long pairs,    \
        const char *ahead) {                                                                                           \
        update(R, KIND, gradient, row, column, a, lda, panel, pairs, ahead);                                           \
    }
#define UPDATES(KIND) UPDATE(1, KIND) UPDATE(2, KIND) UPDATE(3, KIND) UPDATE(4, KIND) UPDATE(5, KIND) UPDATE(6, KIND)

UPDATES(FLOAT32)
UPDATES(NEAREST)
UPDATES(STOCHASTIC)

/// qk_gemm_gradient of a product that never leaves the registers: QK_PANEL_WIDTH columns, sums over at most
/// QK_FUSED_PAIRS. Each block of rows fetches the target of the following one, the last one that at `next`.
static void fused_panel(
    const qk_gradient *gradient, long row, long column, long rows, const uint16_t *a, long lda, const uint16_t *panel,
    long pairs, const char *next) {
    typedef void variant(const qk_gradient *, long, long, const char *, long, const char *, long, const char *);
#define VARIANTS(KIND)                                                                                                 \
    {update_1_##KIND, update_2_##KIND, update_3_##KIND, update_4_##KIND, update_5_##KIND, update_6_##KIND}
    static variant *const variants[3][6] = {VARIANTS(FLOAT32), VARIANTS(NEAREST), VARIANTS(STOCHASTIC)};
    int kind = !gradient->bf16 ? FLOAT32 : gradient->rounding == QK_ROUND_STOCHASTIC ? STOCHASTIC : NEAREST;
    for (long now; rows > 0; rows -= now, row += now, a += now * lda) {
        now = qk_next_block(rows, qk_block_rows(QK_PANEL_WIDTH));
        const long following = (row + now) * gradient->columns + column;
        const char *ahead = now < rows ? (const char *)gradient->target + following * (gradient->bf16 ? 2 : 4) : next;
        variants[kind][now - 1](gradient, row, column, (const char *)a, 2 * lda, (const char *)panel, pairs, ahead);
    }
}

void qk_gemm_gradient_avx512(
    const qk_gradient *gradient, long row, long column, long rows, long columns, const uint16_t *a, long lda,
    const uint16_t *panels, long pairs) {
    for (long c = 0; c < columns; c += QK_PANEL_WIDTH) {
        const uint16_t *panel = panels + c * pairs * 2;
        if (columns - c < QK_PANEL_WIDTH || pairs > QK_FUSED_PAIRS) {
            qk_gradient_panel(gradient, row, column + c, rows, columns - c, a, lda, panel, pairs);
            continue;
        }
        // What comes next, and of short sums, which are done before memory answers, what comes after that.
        const long there = c + (rows > qk_block_rows(QK_PANEL_WIDTH) ? 1 : 2) * QK_PANEL_WIDTH;
        const long element = there < columns ? row * gradient->columns + column + there
                                             : (row + rows) * gradient->columns + column + there - columns;
        const char *next = (const char *)gradient->target + element * (gradient->bf16 ? 2 : 4);
        fused_panel(gradient, row, column + c, rows, a, lda, panel, pairs, next);
    }
}

#endif
