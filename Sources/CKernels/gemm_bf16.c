// The plain definitions of the pieces.
#include "gemm_bf16.h"

#include "convert.h"
#include "gemm_bf16_kernel.h"

#include <math.h>

void qk_pack_transposed_plain(uint16_t *panel, long width, const float *x, long ldx, long rows, long columns) {
    for (long c = 0; c < (columns + 1) / 2 * 2; c++)
        for (long r = 0; r < width; r++)
            panel[c / 2 * width * 2 + r * 2 + c % 2] = r < rows && c < columns ? qk_bf16_from_f32(x[r * ldx + c]) : 0;
}

void qk_round_transposed_plain(uint16_t *out, long ldo, const float *x, long ldx, long rows, long columns) {
    for (long c = 0; c < columns; c++)
        for (long r = 0; r < (rows + 1) / 2 * 2; r++) out[c * ldo + r] = r < rows ? qk_bf16_from_f32(x[r * ldx + c]) : 0;
}

void qk_pack_interleaved_f32_plain(uint16_t *panel, long width, const float *x, long ldx, long rows, long columns) {
    for (long r = 0; r < (rows + 1) / 2 * 2; r++)
        for (long c = 0; c < width; c++)
            panel[r / 2 * width * 2 + c * 2 + r % 2] = r < rows && c < columns ? qk_bf16_from_f32(x[r * ldx + c]) : 0;
}

void qk_pack_interleaved_bf16_plain(uint16_t *panel, long width, const uint16_t *x, long ldx, long rows, long columns) {
    for (long r = 0; r < (rows + 1) / 2 * 2; r++)
        for (long c = 0; c < width; c++)
            panel[r / 2 * width * 2 + c * 2 + r % 2] = r < rows && c < columns ? x[r * ldx + c] : 0;
}

void qk_round_rows(uint16_t *out, long ldo, const float *x, long ldx, long rows, long columns, long filled) {
    for (long r = 0; r < rows; r++, out += ldo, x += ldx) {
        qk_bf16_from_f32_run(out, x, columns);
        for (long c = columns; c < filled; c++) out[c] = 0;
    }
}

void qk_pad_rows(uint16_t *out, long ldo, const uint16_t *x, long ldx, long rows, long columns) {
    for (long r = 0; r < rows; r++, out += ldo, x += ldx) {
        memcpy(out, x, (size_t)columns * sizeof *x);
        for (long c = columns; c < ldo; c++) out[c] = 0;
    }
}

/// The definition of a register block.
static void block_scalar(
    long rows, long width, long pairs, const uint16_t *a, long lda, const uint16_t *panel, float *c, long ldc,
    int accumulate) {
    for (long r = 0; r < rows; r++)
        for (long j = 0; j < width; j++) {
            float sum = accumulate ? c[r * ldc + j] : 0;
            for (long p = 0; p < pairs; p++)
                for (long i = 0; i < 2; i++)
                    sum += qk_f32_from_bf16(a[r * lda + p * 2 + i]) * qk_f32_from_bf16(panel[p * width * 2 + j * 2 + i]);
            c[r * ldc + j] = sum;
        }
}

void qk_gemm_stream_plain(
    float *c, long ldc, const uint16_t *a, long lda, long rows, const uint16_t *panel, long width, long pairs,
    int accumulate, int fetch, const uint16_t *next) {
    (void)fetch;
    (void)next;
    block_scalar(rows, width, pairs, a, lda, panel, c, ldc, accumulate);
}

void qk_gemm_panel_plain(
    float *c, long ldc, const uint16_t *a, long lda, long rows, const uint16_t *panel, long width, long pairs,
    int accumulate, const uint16_t *next, long ldn) {
    (void)next;
    (void)ldn;
    block_scalar(rows, width, pairs, a, lda, panel, c, ldc, accumulate);
}

void qk_store_transposed_plain(float *y, long ldy, const float *tile, long ldt, long rows, long columns, int accumulate) {
    for (long r = 0; r < rows; r++)
        for (long c = 0; c < columns; c++)
            y[r * ldy + c] = tile[c * ldt + r] + (accumulate ? y[r * ldy + c] : 0);
}

void qk_store_rows(float *y, long ldy, const float *tile, long ldt, long rows, long columns, int accumulate) {
    for (long r = 0; r < rows; r++)
        for (long c = 0; c < columns; c++)
            y[r * ldy + c] = tile[r * ldt + c] + (accumulate ? y[r * ldy + c] : 0);
}

void qk_store_gradient_plain(
    const qk_gradient *gradient, long row, long column, const float *tile, long ldt, long rows, long columns) {
    for (long r = 0; r < rows; r++)
        for (long c = 0; c < columns; c++) qk_store_element(gradient, row + r, column + c, tile[r * ldt + c]);
}

void qk_gemm_gradient_plain(
    const qk_gradient *gradient, long row, long column, long rows, long columns, const uint16_t *a, long lda,
    const uint16_t *panels, long pairs) {
    for (long c = 0; c < columns; c += QK_PANEL_WIDTH)
        qk_gradient_panel(gradient, row, column + c, rows, columns - c, a, lda, panels + c * pairs * 2, pairs);
}
