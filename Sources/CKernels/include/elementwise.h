#ifndef QWENSFT_CKERNELS_ELEMENTWISE_H
#define QWENSFT_CKERNELS_ELEMENTWISE_H

#include "kernel_list.h"

// Passes over rows of float32 that are no matrix product. Each stands once, in elementwise.inc, as plain C; the compiler
// makes a variant of it for every instruction set, one of which is picked at run time. Counts are elements, `ld` is the
// distance between two rows. Nothing here checks, allocates or starts threads.

/// The list of them.
#define QK_ELEMENTWISE_KERNELS(X)                                                                                         \
    /* y = x / rms(x) * w for each row; rstd[row] = 1 / sqrt(mean(x^2) + eps). */                                         \
    X(void, rmsnorm_forward,                                                                                              \
      (float *y, float *rstd, const float *x, const float *w, long rows, long n, float eps),                              \
      (y, rstd, x, w, rows, n, eps))                                                                                      \
    /* dx += gradient to x; dw += gradient to w (dw may be NULL). */                                                      \
    X(void, rmsnorm_backward,                                                                                             \
      (float *dx, float *dw, const float *dy, const float *x, const float *w, const float *rstd, long rows, long n),      \
      (dx, dw, dy, x, w, rstd, rows, n))                                                                                  \
    /* Rotates `heads` heads of size 2*half in place: (a, b) -> (a c - b s, b c + a s), b half a head after a. */         \
    X(void, rope, (float *x, const float *c, const float *s, long heads, long half), (x, c, s, heads, half))              \
    /* y = silu(g) * u for rows of g|u, each n wide. */                                                                   \
    X(void, swiglu_forward, (float *y, const float *gu, long rows, long n), (y, gu, rows, n))                             \
    /* gu := gradients to g|u, y := silu(g) * u, from dy, the gradient to y. */                                           \
    X(void, swiglu_backward, (float *gu, float *y, const float *dy, long rows, long n), (gu, y, dy, rows, n))             \
    /* One block of online softmax. Row i sees its first clamp(first + i, 0, cols) columns. s := exp(scale*s - max),      \
       0 where unseen; max and sum are brought up to date; rescale[i] = what earlier sums must be multiplied with. */     \
    X(void, softmax_block,                                                                                                \
      (float *s, long ld, long rows, long cols, long first, float scale, float *max, float *sum, float *rescale),         \
      (s, ld, rows, cols, first, scale, max, sum, rescale))                                                               \
    /* s := p = exp(scale*s - lse), 0 where unseen; dp := p * (dp - delta) * scale. */                                    \
    X(void, softmax_block_backward,                                                                                       \
      (float *s, float *dp, long ld, long rows, long cols, long first, float scale, const float *lse,                     \
       const float *delta),                                                                                               \
      (s, dp, ld, rows, cols, first, scale, lse, delta))                                                                  \
    /* The largest of n values, and the sum of exp(x - max). */                                                           \
    X(float, max_value, (const float *x, long n), (x, n))                                                                 \
    X(float, sum_exp, (const float *x, long n, float max), (x, n, max))                                                   \
    /* x := exp(x - lse) * scale. */                                                                                      \
    X(void, exp_scaled, (float *x, long n, float lse, float scale), (x, n, lse, scale))                                   \
    X(void, add, (float *y, const float *x, long n), (y, x, n))                                                           \
    X(void, axpy, (float *y, float a, const float *x, long n), (y, a, x, n))                                              \
    X(void, scale, (float *x, float a, long n), (x, a, n))                                                                \
    /* y[row][j] *= by[j]. */                                                                                             \
    X(void, scale_columns, (float *y, long ld, const float *by, long rows, long n), (y, ld, by, rows, n))                 \
    X(float, dot, (const float *x, const float *y, long n), (x, y, n))                                                    \
    X(double, sum_squares, (const float *x, long n), (x, n))                                                              \
    /* y[j] += sum over rows of x[row][j]. */                                                                             \
    X(void, column_sum, (float *y, const float *x, long ld, long rows, long n), (y, x, ld, rows, n))                      \
    /* torch.optim.SGD with momentum: g += decay*w; b := momentum*b + (first ? 1 : keep)*g; w -= lr*(nesterov ? g +         \
       momentum*b : b). g is read times gscale. */                                                                        \
    X(void, sgd_momentum,                                                                                                 \
      (float *w, float *b, const float *g, long n, float gscale, float lr, float momentum, float keep, float decay,       \
       int nesterov, int first),                                                                                          \
      (w, b, g, n, gscale, lr, momentum, keep, decay, nesterov, first))                                                   \
    /* torch.optim.AdamW: w *= 1 - lr*decay; m, v; w -= step * m / (sqrt(v)*vscale + eps). */                             \
    X(void, adamw,                                                                                                        \
      (float *w, float *m, float *v, const float *g, long n, float gscale, float shrink, float step, float beta1,         \
       float beta2, float vscale, float eps),                                                                             \
      (w, m, v, g, n, gscale, shrink, step, beta1, beta2, vscale, eps))

QK_ELEMENTWISE_KERNELS(QK_DECLARE)

#endif
