#include "material.h"

static uint64_t state;

void restart(void) { state = 1; }

uint32_t bits(void) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 32);
}

long below(long n) { return (long)(bits() % (uint32_t)n); }

float number(void) { return (float)(int32_t)bits() * 0x1p-31f; }

void *memory(size_t bytes) {
    void *p = aligned_alloc(64, (bytes + 128) / 64 * 64);
    if (!p) exit(2);
    memset(p, 0, bytes);
    return p;
}

float *floats(long n) {
    float *x = memory((size_t)n * sizeof *x);
    for (long i = 0; i < n; i++) x[i] = number();
    return x;
}

float *all_floats(long n) {
    static const float special[] = {0, -0.0f, INFINITY, -INFINITY, NAN, 0x1p-140f, -0x1p-149f, 3.4e38f, 0x1.01p0f, 0x1.03p0f};
    float *x = floats(n);
    for (long i = 0; i < n; i += 1 + below(5)) x[i] = bits() % 2 ? special[bits() % 10] : x[i] * 1e30f;
    return x;
}

uint16_t *halves(long n) {
    uint16_t *x = memory((size_t)n * sizeof *x);
    for (long i = 0; i < n; i++) x[i] = qk_bf16_from_f32(number());
    return x;
}

void give_bytes(result *r, const void *from, size_t count) {
    r->bytes = realloc(r->bytes, r->byte_count + count);
    memcpy(r->bytes + r->byte_count, from, count);
    r->byte_count += count;
}

void give_numbers(result *r, const float *from, long count, double size) {
    r->numbers = realloc(r->numbers, (r->number_count + (size_t)count) * sizeof(double));
    r->sizes = realloc(r->sizes, (r->number_count + (size_t)count) * sizeof(double));
    for (long i = 0; i < count; i++, r->number_count++) {
        r->numbers[r->number_count] = from[i];
        r->sizes[r->number_count] = size + fabs((double)from[i]);
    }
}

void give_halves(result *r, const uint16_t *from, long count) {
    for (long i = 0; i < count; i++) {
        float x = qk_f32_from_bf16(from[i]);
        give_numbers(r, &x, 1, fabsf(x) * 0x1p-7 * 1e5 + 1e-2); // one step of bfloat16 counts as 1e-5
    }
}
