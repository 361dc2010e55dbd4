// The plain definitions. Sums are long, and their rounding shows where much cancels: they are double here, blocks elsewhere.
#include "gemm_f32.h"

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
