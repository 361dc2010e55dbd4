// The plain definitions of the pieces, and the choice of the variant.
#include "gemm_bf16.h"

#include "avx512.h"
#include "cpu.h"
#include "convert.h"
#include "gemm_bf16_kernel.h"

#include <math.h>

static long least(long a, long b) { return a < b ? a : b; }

#if defined(__x86_64__)
#define IF_ISA(isa, ...)                                                                                               \
    if (qk_isa() >= (isa)) {                                                                                           \
        __VA_ARGS__;                                                                                                   \
        return;                                                                                                        \
    }
#else
#define IF_ISA(isa, ...)
#endif

void qk_pack_transposed(uint16_t *panel, long width, const float *x, long ldx, long rows, long columns) {
    IF_ISA(QK_ISA_AVX512_BF16, qk_pack_transposed_avx512(panel, width, x, ldx, rows, columns))
    for (long c = 0; c < (columns + 1) / 2 * 2; c++)
        for (long r = 0; r < width; r++)
            panel[c / 2 * width * 2 + r * 2 + c % 2] = r < rows && c < columns ? qk_bf16_from_f32(x[r * ldx + c]) : 0;
}

void qk_round_transposed(uint16_t *out, long ldo, const float *x, long ldx, long rows, long columns) {
    IF_ISA(QK_ISA_AVX512_BF16, qk_round_transposed_avx512(out, ldo, x, ldx, rows, columns))
    for (long c = 0; c < columns; c++)
        for (long r = 0; r < (rows + 1) / 2 * 2; r++) out[c * ldo + r] = r < rows ? qk_bf16_from_f32(x[r * ldx + c]) : 0;
}

void qk_pack_interleaved_f32(uint16_t *panel, long width, const float *x, long ldx, long rows, long columns) {
    IF_ISA(QK_ISA_AVX512_BF16, qk_pack_interleaved_f32_avx512(panel, width, x, ldx, rows, columns))
    for (long r = 0; r < (rows + 1) / 2 * 2; r++)
        for (long c = 0; c < width; c++)
            panel[r / 2 * width * 2 + c * 2 + r % 2] = r < rows && c < columns ? qk_bf16_from_f32(x[r * ldx + c]) : 0;
}

void qk_pack_interleaved_bf16(uint16_t *panel, long width, const uint16_t *x, long ldx, long rows, long columns) {
    IF_ISA(QK_ISA_AVX512, qk_pack_interleaved_bf16_avx512(panel, width, x, ldx, rows, columns))
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

void qk_gemm_stream(
    float *c, long ldc, const uint16_t *a, long lda, long rows, const uint16_t *panel, long width, long pairs,
    int accumulate, int fetch, const uint16_t *next) {
#if defined(__x86_64__)
    if (qk_isa() >= QK_ISA_AVX512_BF16) {
        long most = qk_block_rows(width);
        while (rows > 0) {
            long now = qk_next_block(rows, most);
            const uint16_t *following = now < rows ? a + now * lda : next;
            qk_fetch ahead = {(const char *)a, 0, 0};
            if (fetch && following) ahead = (qk_fetch){(const char *)following, 2 * lda, 4 * now};
            qk_block_avx512(width, now)(
                pairs, (const char *)a, 2 * lda, (const char *)panel, c, ldc, accumulate, ahead);
            a += now * lda;
            c += now * ldc;
            rows -= now;
        }
        return;
    }
#endif
    (void)fetch;
    (void)next;
    block_scalar(rows, width, pairs, a, lda, panel, c, ldc, accumulate);
}

void qk_gemm_panel(
    float *c, long ldc, const uint16_t *a, long lda, long rows, const uint16_t *panel, long width, long pairs,
    int accumulate, const uint16_t *next, long ldn) {
#if defined(__x86_64__)
    if (qk_isa() >= QK_ISA_AVX512_BF16) {
        long most = qk_block_rows(width);
        for (long index = 0; rows > 0; index++) {
            long now = qk_next_block(rows, most);
            // Each block of rows fetches one cache line of each second row: the first four blocks get all 64 columns.
            qk_fetch ahead = {(const char *)a, 0, 0};
            if (next && index < (width + 31) / 32 * 2)
                ahead = (qk_fetch){(const char *)(next + index % 2 * ldn + index / 2 * 32), pairs / now * 4 * ldn, 4 * ldn};
            qk_block_avx512(width, now)(
                pairs, (const char *)a, 2 * lda, (const char *)panel, c, ldc, accumulate, ahead);
            a += now * lda;
            c += now * ldc;
            rows -= now;
        }
        return;
    }
#endif
    (void)next;
    (void)ldn;
    block_scalar(rows, width, pairs, a, lda, panel, c, ldc, accumulate);
}

void qk_store_transposed(float *y, long ldy, const float *tile, long ldt, long rows, long columns, int accumulate) {
    IF_ISA(QK_ISA_AVX512, qk_store_transposed_avx512(y, ldy, tile, ldt, rows, columns, accumulate))
    for (long r = 0; r < rows; r++)
        for (long c = 0; c < columns; c++)
            y[r * ldy + c] = tile[c * ldt + r] + (accumulate ? y[r * ldy + c] : 0);
}

void qk_store_rows(float *y, long ldy, const float *tile, long ldt, long rows, long columns, int accumulate) {
    for (long r = 0; r < rows; r++)
        for (long c = 0; c < columns; c++)
            y[r * ldy + c] = tile[r * ldt + c] + (accumulate ? y[r * ldy + c] : 0);
}

void qk_store_gradient(
    const qk_gradient *gradient, long row, long column, const float *tile, long ldt, long rows, long columns) {
    IF_ISA(QK_ISA_AVX512, qk_store_gradient_avx512(gradient, row, column, tile, ldt, rows, columns))
    const float alpha = gradient->alpha, beta = gradient->beta;
    for (long r = row; r < row + rows; r++, tile += ldt) {
        uint32_t counter = (uint32_t)((uint64_t)r * qk_counters_per_row((uint64_t)gradient->columns));
        for (long c = column; c < column + columns; c++) {
            long index = r * gradient->columns + c;
            float value = alpha * tile[c - column];
            if (!gradient->bf16) {
                float *target = gradient->target;
                target[index] = beta != 0 ? fmaf(beta, target[index], value) : value;
                continue;
            }
            uint16_t *target = gradient->target;
            if (beta != 0) value = fmaf(beta, qk_f32_from_bf16(target[index]), value);
            target[index] = gradient->rounding == QK_ROUND_STOCHASTIC
                ? qk_bf16_from_bits(qk_f32_bits(value), qk_round_noise(gradient->key, counter, (uint64_t)c))
                : qk_bf16_from_f32(value);
        }
    }
}

void qk_gemm_gradient(
    const qk_gradient *gradient, long row, long column, long rows, long columns, const uint16_t *a, long lda,
    const uint16_t *panels, long pairs) {
    _Alignas(64) float tile[QK_GRADIENT_ROWS * QK_PANEL_WIDTH];
    for (long c = 0; c < columns; c += QK_PANEL_WIDTH) {
        const long used = least(columns - c, QK_PANEL_WIDTH), width = (used + 15) / 16 * 16;
        const uint16_t *panel = panels + c * pairs * 2;
#if defined(__x86_64__)
        if (qk_isa() >= QK_ISA_AVX512_BF16 && used == QK_PANEL_WIDTH && pairs <= QK_FUSED_PAIRS) {
            // What comes next, and of short sums, which are done before memory answers, what comes after that.
            const long there = c + (rows > qk_block_rows(QK_PANEL_WIDTH) ? 1 : 2) * QK_PANEL_WIDTH;
            const long element = there < columns ? row * gradient->columns + column + there
                                                 : (row + rows) * gradient->columns + column + there - columns;
            const char *next = (const char *)gradient->target + element * (gradient->bf16 ? 2 : 4);
            qk_gemm_gradient_avx512(gradient, row, column + c, rows, a, lda, panel, pairs, next);
            continue;
        }
#endif
        for (long p = 0; p == 0 || p < pairs; p += QK_FUSED_PAIRS) // even without rows: their gradient is 0
            qk_gemm_stream(
                tile, QK_PANEL_WIDTH, a + 2 * p, lda, rows, panel + p * width * 2, width,
                least(pairs - p, QK_FUSED_PAIRS), p > 0, 0, 0);
        qk_store_gradient(gradient, row, column + c, tile, QK_PANEL_WIDTH, rows, used);
    }
}
