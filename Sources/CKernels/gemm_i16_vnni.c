// Products of int16 pairs with an instruction that multiplies and adds up: blocks of 12 rows by one or two panels.
#include "avx512.h"
#include "gemm_i16_blocks.h"
#include "kernels.h"

#if defined(__x86_64__)

enum { ROWS = 12 };

#ifdef QK_EMULATES_AVX512
#define QK_VNNI QK_AVX512
#define add_products _mm512_dpwssd_epi32
#else
#define QK_VNNI __attribute__((target(QK_AVX512_TARGET ",avx512vnni")))
/// Of the intrinsic the compiler makes two instructions again, which take twice the multipliers.
QK_INLINE QK_VNNI __m512i add_products(__m512i sum, __m512i x, __m512i y) {
    __asm__("vpdpwssd %2, %1, %0" : "+v"(sum) : "v"(x), "v"(y));
    return sum;
}
#endif

// Loops over constants must disappear, or the sums would live in memory.
#define QK_UNROLL _Pragma("clang loop unroll(full)")

/// c[rows][16 or 32] = or += a · one or two panels; `rows` and `vectors` are constants. Rows of a come in threes, so that
/// every address is a pointer plus nothing, `lda` or twice `lda`.
QK_INLINE QK_VNNI void block(
    float *c, long ldc, const uint32_t *a, long lda, const uint32_t *b, long stride, const int rows, const int vectors,
    long group, long groups, int accumulate) {
    __m512 total[2 * ROWS]; // does not fit beside the sums of a group
    QK_UNROLL
    for (int i = 0; i < vectors * rows; i++)
        total[i] = accumulate ? _mm512_loadu_ps(c + i / vectors * ldc + i % vectors * 16) : _mm512_setzero_ps();
    const uint32_t *three[(ROWS + 2) / 3];
    QK_UNROLL
    for (int i = 0; i < (rows + 2) / 3; i++) three[i] = a + 3 * i * lda;
    for (; groups > 0; groups--) {
        __m512i sum[2 * ROWS];
        QK_UNROLL
        for (int i = 0; i < vectors * rows; i++) sum[i] = _mm512_setzero_si512();
        for (long k = 0; k < group / 2; k++, b += QK_F32_PANEL) {
            __m512i right[2];
            QK_UNROLL
            for (int v = 0; v < vectors; v++) right[v] = _mm512_loadu_si512(b + v * stride);
            QK_UNROLL
            for (int r = 0; r < rows; r++) {
                const __m512i x = _mm512_set1_epi32((int)three[r / 3][r % 3 * lda + k]);
                QK_UNROLL
                for (int v = 0; v < vectors; v++) sum[r * vectors + v] = add_products(sum[r * vectors + v], x, right[v]);
            }
        }
        QK_UNROLL
        for (int i = 0; i < (rows + 2) / 3; i++) three[i] += group / 2;
        QK_UNROLL
        for (int i = 0; i < vectors * rows; i++) {
            const int r = i / vectors;
            const __m512 scale = _mm512_set1_ps(qk_f32_from_bits(three[r / 3][r % 3 * lda]));
            const __m512 by = _mm512_mul_ps(scale, _mm512_loadu_ps((const float *)(b + i % vectors * stride)));
            total[i] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum[i]), by, total[i]);
        }
        QK_UNROLL
        for (int i = 0; i < (rows + 2) / 3; i++) three[i]++;
        b += QK_F32_PANEL;
    }
    QK_UNROLL
    for (int i = 0; i < vectors * rows; i++) _mm512_storeu_ps(c + i / vectors * ldc + i % vectors * 16, total[i]);
}

#define BLOCK(rows, vectors)                                                                                            \
    static QK_VNNI void block_##rows##_##vectors(                                                                  \
        float *c, long ldc, const uint32_t *a, long lda, const uint32_t *b, long stride, long group, long groups,       \
        int accumulate) {                                                                                               \
        block(c, ldc, a, lda, b, stride, rows, vectors, group, groups, accumulate);                               \
    }
#define EACH(X, v) X(1, v) X(2, v) X(3, v) X(4, v) X(5, v) X(6, v) X(7, v) X(8, v) X(9, v) X(10, v) X(11, v) X(12, v)
EACH(BLOCK, 1)
EACH(BLOCK, 2)

#define NAME(rows, vectors) block_##rows##_##vectors,

void qk_i16_multiply_vnni(
    float *c, long ldc, const uint32_t *a, long lda, long rows, const uint32_t *panels, long stride, long columns, long group,
    long groups, int accumulate, const qk_f32_fetch *fetch) {
    static qk_i16_block *const one[] = {EACH(NAME, 1)}, *const two[] = {EACH(NAME, 2)};
    const long pairs = columns / 32 * 32; // a last panel may have no partner
    qk_i16_multiply_by(
        two, ROWS, 32, c, ldc, a, lda, rows, panels, stride, pairs, group, groups, accumulate, fetch);
    qk_i16_multiply_by(
        one, ROWS, 16, c + pairs, ldc, a, lda, rows, panels + pairs / 16 * stride, stride, columns - pairs, group, groups,
        accumulate, pairs == 0 ? fetch : 0);
}

#endif
