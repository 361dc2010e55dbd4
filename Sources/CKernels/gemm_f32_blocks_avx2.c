// Float32 products of packed panels: blocks of 6 rows by 16 columns, which take 12 of the 16 registers.
#include "avx2.h"
#include "gemm_f32_blocks.h"
#include "kernels.h"

#if defined(__x86_64__)

enum { WIDTH = QK_F32_PANEL, ROWS = 6 };

/// One step along the axis of summation. Rows of a come in threes, so that every address is a pointer plus nothing, `lda` or
/// twice `lda`.
QK_INLINE_AVX2 void step(__m256 *sum, const float *const *three, long lda, const int rows, const float *b, int k) {
    const __m256 left = _mm256_loadu_ps(b), right = _mm256_loadu_ps(b + 8);
    QK_UNROLL
    for (int r = 0; r < rows; r++) {
        const __m256 x = _mm256_broadcast_ss(three[r / 3] + r % 3 * lda + k);
        sum[2 * r] = _mm256_fmadd_ps(x, left, sum[2 * r]);
        sum[2 * r + 1] = _mm256_fmadd_ps(x, right, sum[2 * r + 1]);
    }
    __asm__ volatile("" ::: "memory"); // or loads of later steps move up here and push sums out of their registers
}

/// c[rows][16] = or += a · panel for `rows`, a constant.
QK_INLINE_AVX2 void block(
    float *c, long ldc, const float *a, long lda, const float *b, const int rows, long depth, int accumulate) {
    __m256 sum[2 * ROWS];
    QK_UNROLL
    for (int i = 0; i < 2 * rows; i++) sum[i] = _mm256_setzero_ps();
    const float *three[2] = {a, a + 3 * lda};
    for (; depth >= 4; depth -= 4, b += 4 * WIDTH) {
        QK_UNROLL
        for (int k = 0; k < 4; k++) step(sum, three, lda, rows, b + k * WIDTH, k);
        three[0] += 4, three[1] += 4;
    }
    for (; depth > 0; depth--, b += WIDTH, three[0]++, three[1]++) step(sum, three, lda, rows, b, 0);
    QK_UNROLL
    for (int r = 0; r < rows; r++, c += ldc)
        for (int v = 0; v < 2; v++)
            _mm256_storeu_ps(c + 8 * v, accumulate ? _mm256_add_ps(_mm256_loadu_ps(c + 8 * v), sum[2 * r + v]) : sum[2 * r + v]);
}

#define BLOCK(rows)                                                                                                     \
    static QK_AVX2 void block_##rows(                                                                                   \
        float *c, long ldc, const float *a, long lda, const float *b, long stride, long depth, int accumulate) {        \
        (void)stride;                                                                                                   \
        block(c, ldc, a, lda, b, rows, depth, accumulate);                                                              \
    }
BLOCK(1)
BLOCK(2)
BLOCK(3)
BLOCK(4)
BLOCK(5)
BLOCK(6)

static qk_f32_block *const blocks[] = {block_1, block_2, block_3, block_4, block_5, block_6};

void qk_f32_multiply_avx2(
    float *c, long ldc, const float *a, long lda, long rows, const float *panels, long stride, long columns, long depth,
    int accumulate, const qk_f32_fetch *fetch) {
    qk_f32_multiply_by(blocks, ROWS, WIDTH, c, ldc, a, lda, rows, panels, stride, columns, depth, accumulate, fetch);
}

QK_AVX2 void qk_f32_panels_avx2(float *panels, long stride, const float *x, long ldx, long rows, long columns) {
    for (; columns >= WIDTH; columns -= WIDTH, x += WIDTH, panels += stride)
        for (long row = 0; row < rows; row++)
            for (int v = 0; v < WIDTH; v += 8) _mm256_storeu_ps(panels + row * WIDTH + v, _mm256_loadu_ps(x + row * ldx + v));
    if (columns > 0) qk_f32_panels_plain(panels, stride, x, ldx, rows, columns);
}

QK_AVX2 void qk_f32_panels_bf16_avx2(float *panels, long stride, const uint16_t *x, long ldx, long rows, long columns) {
    for (; columns >= WIDTH; columns -= WIDTH, x += WIDTH, panels += stride)
        for (long row = 0; row < rows; row++)
            for (int v = 0; v < WIDTH; v += 8) _mm256_storeu_ps(panels + row * WIDTH + v, qk_widen8(x + row * ldx + v));
    if (columns > 0) qk_f32_panels_bf16_plain(panels, stride, x, ldx, rows, columns);
}

/// The transpose of 8 times 8.
QK_INLINE_AVX2 void transpose8(__m256 *x) {
    __m256 t[8], u[8];
    QK_UNROLL
    for (int i = 0; i < 8; i += 2) t[i] = _mm256_unpacklo_ps(x[i], x[i + 1]), t[i + 1] = _mm256_unpackhi_ps(x[i], x[i + 1]);
    QK_UNROLL
    for (int i = 0; i < 8; i += 4)
        for (int j = 0; j < 2; j++) {
            u[i + 2 * j] = _mm256_shuffle_ps(t[i + j], t[i + 2 + j], 0x44);
            u[i + 2 * j + 1] = _mm256_shuffle_ps(t[i + j], t[i + 2 + j], 0xee);
        }
    QK_UNROLL
    for (int i = 0; i < 4; i++) {
        x[i] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x20);
        x[i + 4] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x31);
    }
}

QK_AVX2 void qk_f32_pack_avx2(float *panel, long width, const float *x, long ldx, long rows, long first, long last) {
    for (long row = 0; row < width; row += 8) {
        long column = first;
        for (; row + 8 <= rows && column + 8 <= last; column += 8) {
            __m256 tile[8];
            QK_UNROLL
            for (int i = 0; i < 8; i++) tile[i] = _mm256_loadu_ps(x + (row + i) * ldx + column);
            transpose8(tile);
            QK_UNROLL
            for (int i = 0; i < 8; i++) _mm256_storeu_ps(panel + (column + i) * width + row, tile[i]);
        }
        for (; column < last; column++)
            for (long i = row; i < row + 8 && i < width; i++) panel[column * width + i] = i < rows ? x[i * ldx + column] : 0;
    }
}

QK_AVX2 void qk_store_transposed_avx2(float *y, long ldy, const float *tile, long ldt, long rows, long columns, int accumulate) {
    long row = 0;
    for (; row + 8 <= rows; row += 8) {
        long column = 0;
        for (; column + 8 <= columns; column += 8) {
            __m256 part[8];
            QK_UNROLL
            for (int i = 0; i < 8; i++) part[i] = _mm256_loadu_ps(tile + (column + i) * ldt + row);
            transpose8(part);
            QK_UNROLL
            for (int i = 0; i < 8; i++) {
                float *to = y + (row + i) * ldy + column;
                _mm256_storeu_ps(to, accumulate ? _mm256_add_ps(part[i], _mm256_loadu_ps(to)) : part[i]);
            }
        }
        if (column < columns)
            qk_store_transposed_plain(y + row * ldy + column, ldy, tile + column * ldt + row, ldt, 8, columns - column, accumulate);
    }
    if (row < rows) qk_store_transposed_plain(y + row * ldy, ldy, tile + row, ldt, rows - row, columns, accumulate);
}

#endif
