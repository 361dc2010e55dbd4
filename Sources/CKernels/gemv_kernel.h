// The vector variants behind gemv.c's dispatch that are not made of gemv.inc.
#ifndef QWENSFT_CKERNELS_GEMV_KERNEL_H
#define QWENSFT_CKERNELS_GEMV_KERNEL_H

#include "gemv.h"

void qk_gemv_bf16_bf16_avx512(
    float *y, long ldy, const uint16_t *w, const uint16_t *x, long ldx, long m, long rows, long k, int accumulate);
void qk_gemv_int8_madd(
    float *y, long ldy, const int8_t *w, const float *scales, const int16_t *x, const float *xscales, long ldx, long m,
    long rows, long k, int accumulate);
void qk_gemv_int6_vbmi(
    float *y, long ldy, const uint8_t *w, const uint16_t *scales, const int16_t *x, const float *xscales, long ldx,
    long m, long rows, long k, int accumulate);
void qk_bf16_from_int8_avx512(uint16_t *out, const int8_t *w, const float *scales, long k, long filled);
void qk_bf16_from_int6_avx512(uint16_t *out, const uint8_t *w, const uint16_t *scales, long k, long filled);

#endif
