// The plain definitions. Sums are long, and their rounding shows where much cancels: they are double here, blocks elsewhere.
#include "gemm_f32.h"

#include "bf16.h"
#include "gemm_f32_blocks.h"
#include "kernels.h"

void qk_f32_pack_plain(float *panel, long width, const float *x, long ldx, long rows, long first, long last) {
    for (long column = first; column < last; column++)
        for (long row = 0; row < width; row++) panel[column * width + row] = row < rows ? x[row * ldx + column] : 0;
}

void qk_f32_forward_plain(
    float *y, long ldy, const float *panel, long width, long rows, const float *w, long ldw, long outputs, long inputs,
    int accumulate) {
    for (long row = 0; row < rows; row++)
        for (long o = 0; o < outputs; o++) {
            double sum = 0;
            for (long k = 0; k < inputs; k++) sum += (double)panel[k * width + row] * w[o * ldw + k];
            y[row * ldy + o] = (accumulate ? y[row * ldy + o] : 0) + (float)sum;
        }
}

void qk_f32_input_gradient_plain(
    float *dx, long ldx, const float *dy, long ldy, long rows, const float *w, long ldw, long outputs, long columns,
    int accumulate) {
    for (long row = 0; row < rows; row++)
        for (long column = 0; column < columns; column++) {
            double sum = 0;
            for (long o = 0; o < outputs; o++) sum += (double)dy[row * ldy + o] * w[o * ldw + column];
            dx[row * ldx + column] = (accumulate ? dx[row * ldx + column] : 0) + (float)sum;
        }
}

void qk_f32_panels_plain(float *panels, long stride, const float *x, long ldx, long rows, long columns) {
    for (long first = 0; first < columns; first += QK_F32_PANEL, panels += stride)
        for (long row = 0; row < rows; row++)
            for (long i = 0; i < QK_F32_PANEL; i++)
                panels[row * QK_F32_PANEL + i] = first + i < columns ? x[row * ldx + first + i] : 0;
}

void qk_f32_panels_bf16_plain(float *panels, long stride, const uint16_t *x, long ldx, long rows, long columns) {
    for (long first = 0; first < columns; first += QK_F32_PANEL, panels += stride)
        for (long row = 0; row < rows; row++)
            for (long i = 0; i < QK_F32_PANEL; i++)
                panels[row * QK_F32_PANEL + i] = first + i < columns ? qk_f32_from_bf16(x[row * ldx + first + i]) : 0;
}

// Not double: where there is no variant for a processor, this is what multiplies.

typedef float four __attribute__((vector_size(16)));

enum { BLOCK_ROWS = 2 }; // 16 registers

static inline __attribute__((always_inline)) void block_of(
    float *c, long ldc, const float *a, long lda, const float *b, const int rows, long depth, int accumulate) {
    enum { FOURS = QK_F32_PANEL / 4 };
    four sum[BLOCK_ROWS * FOURS] = {{0}};
    for (long k = 0; k < depth; k++, b += QK_F32_PANEL) {
        four right[FOURS];
        memcpy(right, b, sizeof right);
        for (int r = 0; r < rows; r++)
            for (int j = 0; j < FOURS; j++) sum[r * FOURS + j] += a[r * lda + k] * right[j];
    }
    for (int r = 0; r < rows; r++)
        for (int j = 0; j < QK_F32_PANEL; j++) c[r * ldc + j] = (accumulate ? c[r * ldc + j] : 0) + sum[r * FOURS + j / 4][j % 4];
}

#define BLOCK(rows)                                                                                                     \
    static void block_##rows(                                                                                           \
        float *c, long ldc, const float *a, long lda, const float *b, long stride, long depth, int accumulate) {        \
        (void)stride;                                                                                                   \
        block_of(c, ldc, a, lda, b, rows, depth, accumulate);                                                           \
    }
BLOCK(1)
BLOCK(2)

void qk_f32_multiply_plain(
    float *c, long ldc, const float *a, long lda, long rows, const float *panels, long stride, long columns, long depth,
    int accumulate, const qk_f32_fetch *fetch) {
    static qk_f32_block *const blocks[BLOCK_ROWS] = {block_1, block_2};
    qk_f32_multiply_by(
        blocks, BLOCK_ROWS, QK_F32_PANEL, c, ldc, a, lda, rows, panels, stride, columns, depth, accumulate, fetch);
}
