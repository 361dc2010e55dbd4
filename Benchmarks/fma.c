// How many operations a second this processor's multipliers can do in float32: independent fused multiply-adds in registers, on as
// many threads as asked for. Prints FLOP/s, the best of 20 runs. cc -O3 -march=native -ffp-contract=fast -pthread fma.c
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#ifdef __AVX512F__
#define BYTES 64
#else
#define BYTES 32
#endif
typedef float vector __attribute__((vector_size(BYTES)));

enum { CHAINS = 12, TURNS = 4000000, MOST_THREADS = 256 };

static volatile float sink;

static void *multiply(void *unused) {
    vector sums[CHAINS], factor, summand;
    for (int j = 0; j < (int)(BYTES / 4); j++) { factor[j] = 0.5f; summand[j] = 1; }
    for (int i = 0; i < CHAINS; i++) sums[i] = summand;
    for (int t = 0; t < TURNS; t++) {
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; i++) sums[i] = sums[i] * factor + summand;
    }
    for (int i = 0; i < CHAINS; i++) sink = sums[i][0];
    return unused;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int main(int argc, char **argv) {
    const int asked = argc > 1 ? atoi(argv[1]) : 1, threads = asked < MOST_THREADS ? asked : MOST_THREADS;
    pthread_t others[MOST_THREADS];
    double best = 0;
    for (int run = 0; run < 20; run++) {
        const double start = now();
        for (int i = 1; i < threads; i++)
            if (pthread_create(&others[i], NULL, multiply, NULL)) return 1;
        multiply(NULL);
        for (int i = 1; i < threads; i++) pthread_join(others[i], NULL);
        const double rate = 2.0 * CHAINS * TURNS * (BYTES / 4) * threads / (now() - start);
        if (rate > best) best = rate;
    }
    printf("%.0f\n", best);
    return 0;
}
