/* The pool of threads under the disturbance of several callers, changing numbers of workers, pauses and forks: every result
 * is right, and nothing hangs. stress_test MODEL [SECONDS] */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "check.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { CALLERS = 3, MOST_WORKERS = 6, COLUMNS = 8, MOST_LOGITS = COLUMNS * 2048, PATIENCE = 60 };

typedef struct {
    pthread_t thread;
    sft_model *model;
    unsigned number, random;
    long calls, forks, wrong;
    float logits[MOST_LOGITS];
} caller;

static caller callers[CALLERS];
/* What may come out: by number of workers, equal but for rounding. */
static double expected_sum[MOST_WORKERS + 1];
static long expected_answer[MOST_WORKERS + 1];
static int is_over;

static double sum(caller *c) {
    static const int64_t ids[COLUMNS] = {1, 2, 3, 4, 5, 6, 7, 8};
    size_t count;
    double sum = 0;
    if (sft_model_forward(c->model, 1, COLUMNS, ids, NULL, c->logits, MOST_LOGITS, &count) != SFT_OK) return -1;
    for (size_t i = 0; i < count; i++) sum += c->logits[i] * (double)(i % 97);
    return sum;
}

/* Decoding: one piece of work with barriers in it for every token. */
static long answer(caller *c) {
    sft_generation_options options;
    sft_generation *generation;
    const int32_t id = 5;
    if (sft_generation_options_init(&options, sizeof options) != SFT_OK) return -1;
    options.max_new_tokens = 4;
    options.do_sample = 0;
    if (sft_model_generate(c->model, &id, 1, &options, &generation) != SFT_OK) return -1;
    size_t count;
    const int32_t *ids = sft_generation_ids(generation, &count);
    long result = 0;
    for (size_t i = 0; i < count; i++) result = result * 31 + ids[i];
    sft_generation_free(generation);
    return result;
}

static unsigned next(caller *c, unsigned below) {
    c->random = c->random * 1664525u + 1013904223u;
    return (c->random >> 16) % below;
}

static int is_right(caller *c) {
    int right = 0;
    if (next(c, 2) == 0) {
        double mine = sum(c);
        for (int i = 1; i <= MOST_WORKERS; i++) right |= mine == expected_sum[i];
    } else {
        long mine = answer(c);
        for (int i = 1; i <= MOST_WORKERS; i++) right |= mine == expected_answer[i];
    }
    return right;
}

/* A child computes with threads of its own. */
static int forks_well(caller *c) {
    pid_t child = fork();
    if (child == 0) {
        alarm(PATIENCE);
        _exit(is_right(c) ? 0 : 1);
    }
    int status = -1;
    return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

static void *call(void *argument) {
    caller *c = (caller *)argument;
    while (!__atomic_load_n(&is_over, __ATOMIC_RELAXED)) {
        if (next(c, 4) == 0 && sft_set_thread_count(1 + next(c, MOST_WORKERS)) != SFT_OK) c->wrong++;
        if (!is_right(c)) c->wrong++;
        if (next(c, 8) == 0) usleep(next(c, 3000));
        if (c->number == 0 && next(c, 16) == 0) {
            if (!forks_well(c)) c->wrong++;
            c->forks++;
        }
        __atomic_add_fetch(&c->calls, 1, __ATOMIC_RELAXED);
    }
    return NULL;
}

int main(int argc, char **argv) {
    CHECK(argc >= 2);
    int seconds = argc > 2 ? atoi(argv[2]) : 3;
    for (unsigned i = 0; i < CALLERS; i++) {
        callers[i].number = i;
        callers[i].random = 12345 + i;
        OK(sft_model_open(argv[1], SFT_ZSTRING, NULL, &callers[i].model));
    }
    for (int workers = 1; workers <= MOST_WORKERS; workers++) {
        OK(sft_set_thread_count((size_t)workers));
        expected_sum[workers] = sum(&callers[0]);
        expected_answer[workers] = answer(&callers[0]);
        CHECK(expected_sum[workers] != -1 && expected_answer[workers] != -1);
    }
    for (int i = 0; i < CALLERS; i++) CHECK(pthread_create(&callers[i].thread, NULL, call, &callers[i]) == 0);
    long last[CALLERS] = {0};
    time_t moved[CALLERS], start = time(NULL);
    for (int i = 0; i < CALLERS; i++) moved[i] = start;
    int hanging = 0;
    while (time(NULL) - start < seconds && !hanging) {
        usleep(100000);
        for (int i = 0; i < CALLERS; i++) {
            long now = __atomic_load_n(&callers[i].calls, __ATOMIC_RELAXED);
            if (now != last[i]) moved[i] = time(NULL);
            last[i] = now;
            if (time(NULL) - moved[i] > PATIENCE) {
                hanging = 1;
                printf("caller %d has not come back for %d seconds, after %ld calls\n", i, PATIENCE, now);
            }
        }
    }
    CHECK(!hanging);
    if (hanging) return finish(); /* its thread cannot be joined */
    __atomic_store_n(&is_over, 1, __ATOMIC_RELAXED);
    long calls = 0, forks = 0;
    for (int i = 0; i < CALLERS; i++) {
        CHECK(pthread_join(callers[i].thread, NULL) == 0);
        CHECK(callers[i].wrong == 0 && callers[i].calls > 0);
        calls += callers[i].calls, forks += callers[i].forks;
        sft_model_free(callers[i].model);
    }
    printf("%ld calls, %ld forks\n", calls, forks);
    return finish();
}
