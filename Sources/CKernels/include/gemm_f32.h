// Float32 products of a linear layer for few rows, where a general matrix library spends its time packing the weight: here
// the weight is read straight from its rows. For AVX-512; other processors, many rows and weight gradients use OpenBLAS.
#ifndef QWENSFT_CKERNELS_GEMM_F32_H
#define QWENSFT_CKERNELS_GEMM_F32_H

/// Most rows of x that qk_f32_forward multiplies at once.
enum { QK_F32_ROWS = 64 };

/// Whether the products below may be called on this processor.
int qk_f32_few_rows_available(void);

/// panel[column][width] = x[row][column] for columns [first, last): x transposed, missing rows as zeros. `width` is a
/// multiple of 16, at most QK_F32_ROWS.
void qk_f32_pack(float *panel, long width, const float *x, long ldx, long rows, long first, long last);

/// y[rows][outputs] = or += x · wᵀ, with x as a panel of `width` and w[outputs][inputs].
void qk_f32_forward(
    float *y, long ldy, const float *panel, long width, long rows, const float *w, long ldw, long outputs, long inputs,
    int accumulate);

/// dx[rows][columns] = or += dy[rows][outputs] · w[outputs][columns].
void qk_f32_input_gradient(
    float *dx, long ldx, const float *dy, long ldy, long rows, const float *w, long ldw, long outputs, long columns,
    int accumulate);

#endif
