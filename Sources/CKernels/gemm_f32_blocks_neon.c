// Float32 products of packed panels: blocks of 6 rows by 16 columns, whose sums take 24 of the 32 registers.
#include "gemm_f32_blocks.h"
#include "kernels.h"
#include "neon.h"

#if defined(__aarch64__)

enum { WIDTH = QK_F32_PANEL, VECTORS = WIDTH / 4, ROWS = 6 };

/// One step along the axis of summation: lane `lane`, a constant, of the vectors of a.
#define STEP(lane)                                                                                                      \
    QK_UNROLL                                                                                                           \
    for (int v = 0; v < VECTORS; v++) {                                                                                 \
        const float32x4_t right = vld1q_f32(b + lane * WIDTH + 4 * v);                                                  \
        QK_UNROLL                                                                                                       \
        for (int r = 0; r < rows; r++) sum[r][v] = vfmaq_laneq_f32(sum[r][v], right, left[r], lane);                    \
        __asm__ volatile("" ::: "memory"); /* or later loads move up here and push sums out of their registers */       \
    }

/// c[rows][16] = or += a · panel for `rows`, a constant.
QK_INLINE_NEON void block(
    float *c, long ldc, const float *a, long lda, const float *b, const int rows, long depth, int accumulate) {
    float32x4_t sum[ROWS][VECTORS];
    QK_UNROLL
    for (int r = 0; r < rows; r++)
        QK_UNROLL for (int v = 0; v < VECTORS; v++) sum[r][v] = vdupq_n_f32(0);
    for (; depth >= 4; depth -= 4, a += 4, b += 4 * WIDTH) {
        float32x4_t left[ROWS];
        QK_UNROLL
        for (int r = 0; r < rows; r++) left[r] = vld1q_f32(a + r * lda);
        STEP(0)
        STEP(1)
        STEP(2)
        STEP(3)
    }
    for (; depth > 0; depth--, a++, b += WIDTH) {
        float32x4_t left[ROWS];
        QK_UNROLL
        for (int r = 0; r < rows; r++) left[r] = vsetq_lane_f32(a[r * lda], vdupq_n_f32(0), 0);
        STEP(0)
    }
    QK_UNROLL
    for (int r = 0; r < rows; r++, c += ldc)
        QK_UNROLL for (int v = 0; v < VECTORS; v++)
            vst1q_f32(c + 4 * v, accumulate ? vaddq_f32(vld1q_f32(c + 4 * v), sum[r][v]) : sum[r][v]);
}

#define BLOCK(rows)                                                                                                     \
    static void block_##rows(                                                                                           \
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

void qk_f32_multiply_neon(
    float *c, long ldc, const float *a, long lda, long rows, const float *panels, long stride, long columns, long depth,
    int accumulate, const qk_f32_fetch *fetch) {
    qk_f32_multiply_by(blocks, ROWS, WIDTH, c, ldc, a, lda, rows, panels, stride, columns, depth, accumulate, fetch);
}

void qk_f32_panels_neon(float *panels, long stride, const float *x, long ldx, long rows, long columns) {
    for (; columns >= WIDTH; columns -= WIDTH, x += WIDTH, panels += stride)
        for (long row = 0; row < rows; row++)
            QK_UNROLL for (int v = 0; v < WIDTH; v += 4) vst1q_f32(panels + row * WIDTH + v, vld1q_f32(x + row * ldx + v));
    if (columns > 0) qk_f32_panels_plain(panels, stride, x, ldx, rows, columns);
}

void qk_f32_panels_bf16_neon(float *panels, long stride, const uint16_t *x, long ldx, long rows, long columns) {
    for (; columns >= WIDTH; columns -= WIDTH, x += WIDTH, panels += stride)
        for (long row = 0; row < rows; row++)
            QK_UNROLL for (int v = 0; v < WIDTH; v += 4)
                vst1q_f32(panels + row * WIDTH + v, qk_widen4(vld1_u16(x + row * ldx + v)));
    if (columns > 0) qk_f32_panels_bf16_plain(panels, stride, x, ldx, rows, columns);
}

void qk_f32_pack_neon(float *panel, long width, const float *x, long ldx, long rows, long first, long last) {
    for (long row = 0; row < width; row += 4) {
        long column = first;
        for (; row + 4 <= rows && column + 4 <= last; column += 4) {
            float32x4_t tile[4];
            QK_UNROLL
            for (int i = 0; i < 4; i++) tile[i] = vld1q_f32(x + (row + i) * ldx + column);
            qk_transpose4(tile);
            QK_UNROLL
            for (int i = 0; i < 4; i++) vst1q_f32(panel + (column + i) * width + row, tile[i]);
        }
        for (; column < last; column++)
            for (long i = row; i < row + 4; i++) panel[column * width + i] = i < rows ? x[i * ldx + column] : 0;
    }
}

void qk_store_transposed_neon(float *y, long ldy, const float *tile, long ldt, long rows, long columns, int accumulate) {
    long row = 0;
    for (; row + 4 <= rows; row += 4) {
        long column = 0;
        for (; column + 4 <= columns; column += 4) {
            float32x4_t part[4];
            QK_UNROLL
            for (int i = 0; i < 4; i++) part[i] = vld1q_f32(tile + (column + i) * ldt + row);
            qk_transpose4(part);
            QK_UNROLL
            for (int i = 0; i < 4; i++) {
                float *to = y + (row + i) * ldy + column;
                vst1q_f32(to, accumulate ? vaddq_f32(part[i], vld1q_f32(to)) : part[i]);
            }
        }
        if (column < columns)
            qk_store_transposed_plain(y + row * ldy + column, ldy, tile + column * ldt + row, ldt, 4, columns - column, accumulate);
    }
    if (row < rows) qk_store_transposed_plain(y + row * ldy, ldy, tile + row, ldt, rows - row, columns, accumulate);
}

#endif
