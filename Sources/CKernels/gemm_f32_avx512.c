#include "gemm_f32.h"
#include "avx512.h"
#include "kernels.h"

#if defined(__x86_64__)

// Register blocks hold 24 sums of one vector: enough to hide the latency of a fused multiply-add, and room for operands.

// So many products are added up in one register before their sum joins the others: the rounding of a long sum grows with its
// length, and gradients behind attention, in which much cancels, show it.
enum { VECTORS = 4, TILE_ROWS = 6, BLOCK_OUTPUTS = 256, BLOCK_INPUTS = 256, AHEAD = 12 };

QK_AVX512 void qk_f32_pack_avx512(float *panel, long width, const float *x, long ldx, long rows, long first, long last) {
    for (long column = first; column < last; column++) {
        float *to = panel + column * width;
        for (long row = 0; row < rows; row++) to[row] = x[row * ldx + column];
        for (long row = rows; row < width; row++) to[row] = 0;
    }
}

// ---- Forward: vectors run along the rows of x; every element of w is a broadcast operand, read once.

/// One step along the inputs. Rows of w come in threes, so that an address is a pointer plus nothing, `ldw` or twice `ldw`:
/// a pointer for every row would not fit into registers.
QK_INLINE QK_AVX512 void forward_step(
    __m512 *sum, const float *panel, const int vectors, const float *const *three, long ldw, const int outputs, long k) {
    __m512 x[VECTORS];
    QK_UNROLL
    for (int v = 0; v < vectors; v++) x[v] = _mm512_loadu_ps(panel + 16 * v);
    QK_UNROLL
    for (int o = 0; o < outputs; o++) {
        __m512 a = _mm512_set1_ps(three[o / 3][o % 3 * ldw + k]);
        QK_UNROLL
        for (int v = 0; v < vectors; v++) sum[o * vectors + v] = _mm512_fmadd_ps(a, x[v], sum[o * vectors + v]);
    }
    __asm__ volatile("" ::: "memory"); // or loads of later steps move up here and push sums out of their registers
}

/// tile[output][width] = w[outputs][inputs] · panel for `outputs` (a constant) rows of w.
QK_INLINE QK_AVX512 void forward_block(
    float *tile, const float *panel, const int vectors, const float *w, long ldw, const int outputs, long inputs) {
    __m512 sum[24];
    const long width = 16 * vectors;
    const float *three[8];
    QK_UNROLL
    for (int i = 0; i < (outputs + 2) / 3; i++) three[i] = w + 3 * i * ldw;
    // What comes after these rows is fetched meanwhile, in the order of memory.
    const char *next = (const char *)(w + outputs * ldw);
    for (long k = 0; k < inputs;) {
        const int isFirst = k == 0;
        const long end = inputs - k < BLOCK_INPUTS ? inputs : k + BLOCK_INPUTS;
        QK_UNROLL
        for (int i = 0; i < outputs * vectors; i++) sum[i] = _mm512_setzero_ps();
        for (; k + 4 <= end; k += 4, panel += 4 * width, next += 16 * outputs) {
            for (int line = 0; line < (16 * outputs + 63) / 64; line++) _mm_prefetch(next + 64 * line, _MM_HINT_T0);
            QK_UNROLL
            for (int u = 0; u < 4; u++) forward_step(sum, panel + u * width, vectors, three, ldw, outputs, u);
            QK_UNROLL
            for (int i = 0; i < (outputs + 2) / 3; i++) three[i] += 4;
        }
        for (long u = 0; k < end; k++, u++, panel += width) forward_step(sum, panel, vectors, three, ldw, outputs, u);
        QK_UNROLL
        for (int i = 0; i < outputs * vectors; i++)
            _mm512_storeu_ps(tile + 16 * i, isFirst ? sum[i] : _mm512_add_ps(_mm512_loadu_ps(tile + 16 * i), sum[i]));
    }
}

#define FORWARD(vectors, outputs)                                                                                  \
    static QK_AVX512 void forward_##vectors##_##outputs(float *tile, const float *panel, const float *w, long ldw, \
                                                        long inputs) {                                            \
        forward_block(tile, panel, vectors, w, ldw, outputs, inputs);                                             \
    }
FORWARD(1, 24)
FORWARD(1, 1)
FORWARD(2, 12)
FORWARD(2, 1)
FORWARD(3, 8)
FORWARD(3, 1)
FORWARD(4, 6)
FORWARD(4, 1)

typedef void (*forward_function)(float *, const float *, const float *, long, long);
static const struct {
    long outputs;
    forward_function many, one;
} forwards[] = {{24, forward_1_24, forward_1_1}, {12, forward_2_12, forward_2_1}, {8, forward_3_8, forward_3_1}, {6, forward_4_6, forward_4_1}};

QK_AVX512 void qk_f32_forward_avx512(
    float *y, long ldy, const float *panel, long width, long rows, const float *w, long ldw, long outputs, long inputs,
    int accumulate) {
    enum { TILE = 24 * 2 }; // of outputs: 12 KiB of a stack that may be small
    float tile[TILE * QK_F32_ROWS];
    const long vectors = width / 16, step = forwards[vectors - 1].outputs;
    for (long start = 0; start < outputs; start += TILE) {
        long end = start + TILE < outputs ? start + TILE : outputs, o = start;
        for (; o + step <= end; o += step) forwards[vectors - 1].many(tile + (o - start) * width, panel, w + o * ldw, ldw, inputs);
        for (; o < end; o++) forwards[vectors - 1].one(tile + (o - start) * width, panel, w + o * ldw, ldw, inputs);
        for (long row = 0; row < rows; row++) {
            float *to = y + row * ldy + start;
            const float *from = tile + row;
            if (accumulate)
                for (long i = 0; i < end - start; i++) to[i] += from[i * width];
            else
                for (long i = 0; i < end - start; i++) to[i] = from[i * width];
        }
    }
}

// ---- Input gradient: vectors run along the columns of w; dy is the broadcast operand.

/// rows (a constant, at most TILE_ROWS) of dx[..][64] += dy · w over a block of outputs; `fetch`: w is still far away.
QK_INLINE QK_AVX512 void input_gradient_block(
    float *dx, long ldx, const float *dy, long ldy, const int rows, const float *w, long ldw, long outputs,
    const __mmask16 *mask, int fresh, int fetch) {
    __m512 sum[TILE_ROWS * VECTORS];
    QK_UNROLL
    for (int r = 0; r < rows; r++)
        QK_UNROLL
        for (int v = 0; v < VECTORS; v++) sum[r * VECTORS + v] = _mm512_setzero_ps();
    for (long o = 0; o < outputs; o++, w += ldw) {
        __m512 b[VECTORS];
        QK_UNROLL
        for (int v = 0; v < VECTORS; v++) b[v] = _mm512_maskz_loadu_ps(mask[v], w + 16 * v);
        if (fetch)
            QK_UNROLL
            for (int v = 0; v < VECTORS; v++) _mm_prefetch((const char *)(w + AHEAD * ldw + 16 * v), _MM_HINT_T0);
        QK_UNROLL
        for (int r = 0; r < rows; r++) {
            __m512 a = _mm512_set1_ps(dy[r * ldy + o]);
            QK_UNROLL
            for (int v = 0; v < VECTORS; v++) sum[r * VECTORS + v] = _mm512_fmadd_ps(a, b[v], sum[r * VECTORS + v]);
        }
    }
    QK_UNROLL
    for (int r = 0; r < rows; r++)
        QK_UNROLL
        for (int v = 0; v < VECTORS; v++) {
            float *to = dx + r * ldx + 16 * v;
            const __m512 before = fresh ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps(mask[v], to);
            _mm512_mask_storeu_ps(to, mask[v], _mm512_add_ps(before, sum[r * VECTORS + v]));
        }
}

#define INPUT_GRADIENT(rows)                                                                                           \
    static QK_AVX512 void input_gradient_##rows(float *dx, long ldx, const float *dy, long ldy, const float *w, long ldw, \
                                                long outputs, const __mmask16 *mask, int fresh, int fetch) {          \
        input_gradient_block(dx, ldx, dy, ldy, rows, w, ldw, outputs, mask, fresh, fetch);                            \
    }
INPUT_GRADIENT(1)
INPUT_GRADIENT(2)
INPUT_GRADIENT(3)
INPUT_GRADIENT(4)
INPUT_GRADIENT(5)
INPUT_GRADIENT(6)

typedef void (*input_gradient_function)(
    float *, long, const float *, long, const float *, long, long, const __mmask16 *, int, int);
static const input_gradient_function input_gradients[] = {
    input_gradient_1, input_gradient_2, input_gradient_3, input_gradient_4, input_gradient_5, input_gradient_6};

/// Rows of the next tile when `left` rows remain: tiles of nearly equal height, so that none is left with one or two.
static long tile_rows(long left) {
    long tiles = (left + TILE_ROWS - 1) / TILE_ROWS;
    return (left + tiles - 1) / tiles;
}

QK_AVX512 void qk_f32_input_gradient_avx512(
    float *dx, long ldx, const float *dy, long ldy, long rows, const float *w, long ldw, long outputs, long columns,
    int accumulate) {
    for (long first = 0; first < outputs; first += BLOCK_OUTPUTS) {
        long count = first + BLOCK_OUTPUTS < outputs ? BLOCK_OUTPUTS : outputs - first;
        int fresh = first == 0 && !accumulate;
        for (long column = 0; column < columns; column += 16 * VECTORS) {
            __mmask16 mask[VECTORS];
            QK_UNROLL
            for (int v = 0; v < VECTORS; v++) mask[v] = qk_mask16(columns - column - 16 * v);
            for (long row = 0, n; row < rows; row += n) {
                n = tile_rows(rows - row);
                input_gradients[n - 1](dx + row * ldx + column, ldx, dy + row * ldy + first, ldy,
                                       w + first * ldw + column, ldw, count, mask, fresh, row == 0);
            }
        }
    }
}

#endif
