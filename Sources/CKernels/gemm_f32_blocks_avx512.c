// Float32 products of packed panels on wide registers: blocks of 12 rows by two panels.
#include "avx512.h"
#include "gemm_f32_blocks.h"
#include "kernels.h"

#if defined(__x86_64__)

enum { ROWS = 12 };

/// c[rows][16 or 32] = or += a · one or two panels; `rows` and `vectors` are constants. Rows of a come in threes, so that
/// every address is a pointer plus nothing, `lda` or twice `lda`.
QK_INLINE QK_AVX512 void block(
    float *c, long ldc, const float *a, long lda, const float *b, long stride, const int rows, const int vectors, long depth,
    int accumulate) {
    __m512 sum[2 * ROWS];
    const float *three[(ROWS + 2) / 3];
    QK_UNROLL
    for (int i = 0; i < vectors * rows; i++) sum[i] = _mm512_setzero_ps();
    QK_UNROLL
    for (int i = 0; i < (rows + 2) / 3; i++) three[i] = a + 3 * i * lda;
    for (long k = 0; k < depth; k++, b += QK_F32_PANEL) {
        __m512 right[2];
        QK_UNROLL
        for (int v = 0; v < vectors; v++) right[v] = _mm512_loadu_ps(b + v * stride);
        QK_UNROLL
        for (int r = 0; r < rows; r++) {
            const __m512 x = _mm512_set1_ps(three[r / 3][r % 3 * lda + k]);
            QK_UNROLL
            for (int v = 0; v < vectors; v++) sum[r * vectors + v] = _mm512_fmadd_ps(x, right[v], sum[r * vectors + v]);
        }
    }
    QK_UNROLL
    for (int r = 0; r < rows; r++)
        QK_UNROLL
        for (int v = 0; v < vectors; v++) {
            float *to = c + r * ldc + 16 * v;
            const __m512 x = sum[r * vectors + v];
            _mm512_storeu_ps(to, accumulate ? _mm512_add_ps(_mm512_loadu_ps(to), x) : x);
        }
}

#define BLOCK(rows, vectors)                                                                                            \
    static QK_AVX512 void block_##rows##_##vectors(                                                                     \
        float *c, long ldc, const float *a, long lda, const float *b, long stride, long depth, int accumulate) {        \
        block(c, ldc, a, lda, b, stride, rows, vectors, depth, accumulate);                                             \
    }
#define EACH(X, v) X(1, v) X(2, v) X(3, v) X(4, v) X(5, v) X(6, v) X(7, v) X(8, v) X(9, v) X(10, v) X(11, v) X(12, v)
EACH(BLOCK, 1)
EACH(BLOCK, 2)

#define NAME(rows, vectors) block_##rows##_##vectors,
static qk_f32_block *const one[] = {EACH(NAME, 1)}, *const two[] = {EACH(NAME, 2)};

void qk_f32_multiply_avx512(
    float *c, long ldc, const float *a, long lda, long rows, const float *panels, long stride, long columns, long depth,
    int accumulate, const qk_f32_fetch *fetch) {
    // Two panels at a time, and a last one that has no partner.
    const long last = (columns + 31) / 32 * 32 - columns >= 16 ? columns / 32 * 32 : columns;
    qk_f32_multiply_by(two, ROWS, 32, c, ldc, a, lda, rows, panels, stride, last, depth, accumulate, fetch);
    qk_f32_multiply_by(
        one, ROWS, 16, c + last, ldc, a, lda, rows, panels + last / 16 * stride, stride, columns - last, depth, accumulate,
        last == 0 ? fetch : 0);
}

#endif
