// What the cases of kernels_test.c are made of: numbers, and what a case gives.
#ifndef QWENSFT_TESTS_KERNELS_MATERIAL_H
#define QWENSFT_TESTS_KERNELS_MATERIAL_H

#include "kernels.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

// ---- Material, the same after every restart

void restart(void);
uint32_t bits(void);
long below(long n);
/// -1 to 1.
float number(void);

/// Zeros.
void *memory(size_t bytes);
float *floats(long n);
/// Numbers and, among them, what is no ordinary number.
float *all_floats(long n);
uint16_t *halves(long n);

static const long lengths[] = {1, 7, 16, 31, 32, 33, 64, 100, 127, 128, 500, 1000, 9000, 17000};
#define EACH_LENGTH(k) for (size_t l_ = 0; l_ < sizeof lengths / sizeof *lengths; l_++) for (long k = lengths[l_], o_ = 1; o_; o_ = 0)

// ---- What a case gives: bytes that must be equal, and numbers that must be close

typedef struct {
    unsigned char *bytes;
    double *numbers, *sizes; // sizes: what rounding is measured against
    size_t byte_count, number_count;
} result;

void give_bytes(result *r, const void *from, size_t count);
void give_numbers(result *r, const float *from, long count, double size);
/// bfloat16 numbers that were rounded after sums in another order.
void give_halves(result *r, const uint16_t *from, long count);

// ---- Cases of products (product_cases.c)

void row_products(result *r);
void quantized(result *r);
void packed(result *r);
void blocks(result *r);
void gradients(result *r);
void few_rows(result *r);
void panels(result *r);
void integer_panels(result *r);

#endif
