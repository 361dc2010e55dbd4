/* Section 7: several ranks that train together, as threads of one process. */
#ifndef _GNU_SOURCE /* C++ has it */
#define _GNU_SOURCE
#endif
#include "check.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>

#define RANKS 3

/* A sum over all ranks, in the order of their numbers. */
static pthread_barrier_t barrier;
static float *slots[RANKS];

typedef struct rank {
    int number;
    int fails;                /* 1: its batch is no good */
    sft_optimizer optimizer;
    const char *directory;
    double losses[3];
    uint64_t tokens;
    sft_status status;
    char error[256];
    float *values;            /* of a parameter, afterwards */
    size_t count;
} rank;

static int32_t all_reduce(void *user_data, float *values, size_t count) {
    rank *self = (rank *)user_data;
    slots[self->number] = values;
    pthread_barrier_wait(&barrier);
    float *sum = (float *)calloc(count, sizeof *sum);
    for (int r = 0; r < RANKS; r++)
        for (size_t i = 0; i < count; i++) sum[i] += slots[r][i];
    pthread_barrier_wait(&barrier);
    memcpy(values, sum, count * sizeof *sum);
    free(sum);
    return 0;
}

/* Rows of different lengths for every rank: rank r has r + 1 of them, the last one in the second step none. */
static sft_batch *rows_of(int number, int step) {
    int64_t ids[RANKS * 8], labels[RANKS * 8], mask[RANKS * 8];
    size_t rows = (size_t)number + 1;
    for (size_t row = 0; row < rows; row++)
        for (size_t i = 0; i < 8; i++) {
            ids[row * 8 + i] = (int64_t)(20 + 31 * i + 7 * row + 13 * (size_t)number + (size_t)step);
            mask[row * 8 + i] = i < 4 + row;
            labels[row * 8 + i] = mask[row * 8 + i] ? ids[row * 8 + i] : -100;
        }
    sft_batch *batch;
    OK(sft_batch_create(rows, 8, ids, labels, mask, NULL, &batch));
    return batch;
}

static sft_trainer *make_trainer(sft_model *model, sft_optimizer optimizer, const sft_trainer_options *options) {
    sft_trainer *trainer;
    if (optimizer == SFT_OPTIMIZER_ADAMW) {
        sft_adamw_options adamw;
        OK(sft_adamw_options_init(&adamw, sizeof adamw));
        adamw.eps = 1e-4; /* so that rounding of gradients that are next to nothing does not show */
        OK(sft_trainer_create_adamw(model, &adamw, options, &trainer));
    } else {
        OK(sft_trainer_create_sgd(model, NULL, options, &trainer));
    }
    return trainer;
}

static void *run_rank(void *argument) {
    rank *self = (rank *)argument;
    sft_model *model;
    sft_trainer_options options;
    sft_step_metrics metrics;
    OK(sft_model_open(self->directory, SFT_ZSTRING, NULL, &model));
    OK(sft_trainer_options_init(&options, sizeof options));
    CHECK(options.world_size == 1 && options.rank == 0 && options.check_interval == 100 && options.local_steps == 1 && options.outer_lr == 1 && options.outer_momentum == 0);
    options.all_reduce = all_reduce;
    options.user_data = self;
    options.rank = (size_t)self->number;
    options.world_size = RANKS;
    options.check_interval = 2;
    sft_trainer *trainer = make_trainer(model, self->optimizer, &options);
    for (int step = 0; step < 3 && self->status == SFT_OK; step++) {
        sft_batch *batch = rows_of(self->number, step);
        const sft_batch *batches[] = {self->fails == 1 ? NULL : batch};
        size_t count = self->number == RANKS - 1 && step == 1 ? 0 : 1;
        self->status = sft_train_step_accumulated(trainer, batches, count, &metrics, sizeof metrics);
        snprintf(self->error, sizeof self->error, "%s", self->status == SFT_OK ? "" : sft_last_error());
        self->losses[step] = metrics.loss;
        self->tokens += metrics.supervised_tokens;
        sft_batch_free(batch);
    }
    FAILS(sft_model_read_parameter(model, 3, NULL, 0, &self->count), SFT_BUFFER_TOO_SMALL, NULL);
    self->values = (float *)malloc(self->count * sizeof *self->values);
    OK(sft_model_read_parameter(model, 3, self->values, self->count, &self->count));
    sft_trainer_free(trainer);
    sft_model_free(model);
    return NULL;
}

static void run_all(rank *ranks, const char *directory, sft_optimizer optimizer, int failing) {
    pthread_t threads[RANKS];
    memset(ranks, 0, RANKS * sizeof *ranks);
    for (int r = 0; r < RANKS; r++) {
        ranks[r].number = r;
        ranks[r].directory = directory;
        ranks[r].optimizer = optimizer;
        ranks[r].fails = r == failing;
        CHECK(pthread_create(&threads[r], NULL, run_rank, &ranks[r]) == 0);
    }
    for (int r = 0; r < RANKS; r++) pthread_join(threads[r], NULL);
}

static void test_equal_to_one_process(const char *directory, sft_optimizer optimizer) {
    rank ranks[RANKS];
    run_all(ranks, directory, optimizer, -1);
    sft_model *model;
    sft_trainer_options options;
    sft_step_metrics metrics;
    uint64_t tokens = 0;
    OK(sft_model_open(directory, SFT_ZSTRING, NULL, &model));
    OK(sft_trainer_options_init(&options, sizeof options));
    sft_trainer *trainer = make_trainer(model, optimizer, &options);
    for (int step = 0; step < 3; step++) {
        sft_batch *batches[RANKS];
        size_t count = step == 1 ? RANKS - 1 : RANKS;
        for (int r = 0; r < RANKS; r++) batches[r] = rows_of(r, step);
        OK(sft_train_step_accumulated(trainer, (const sft_batch *const *)batches, count, &metrics, sizeof metrics));
        tokens += metrics.supervised_tokens;
        for (int r = 0; r < RANKS; r++) {
            CHECK(fabs(ranks[r].losses[step] / metrics.loss - 1) < 1e-5);
            CHECK(ranks[r].losses[step] == ranks[0].losses[step]);
            sft_batch_free(batches[r]);
        }
    }
    size_t count;
    float *values = (float *)malloc(ranks[0].count * sizeof *values), worst = 0, largest = 0;
    OK(sft_model_read_parameter(model, 3, values, ranks[0].count, &count));
    for (size_t i = 0; i < count; i++) {
        if (fabsf(values[i] - ranks[0].values[i]) > worst) worst = fabsf(values[i] - ranks[0].values[i]);
        if (fabsf(values[i]) > largest) largest = fabsf(values[i]);
    }
    CHECK(worst < 1e-5f * largest);
    for (int r = 0; r < RANKS; r++) {
        CHECK(ranks[r].status == SFT_OK && ranks[r].tokens == tokens);
        CHECK(memcmp(ranks[r].values, ranks[0].values, count * sizeof *values) == 0);
    }
    for (int r = 0; r < RANKS; r++) free(ranks[r].values);
    free(values);
    sft_trainer_free(trainer);
    sft_model_free(model);
}

/* An argument that is no good on one rank is its status on all of them. */
static void test_failures(const char *directory) {
    rank ranks[RANKS];
    run_all(ranks, directory, SFT_OPTIMIZER_SGD, 1);
    for (int r = 0; r < RANKS; r++) {
        CHECK(ranks[r].status == SFT_INVALID_ARGUMENT);
        CHECK(strstr(ranks[r].error, r == 1 ? "argument 'batch' is NULL" : "rank 1 of 3 left the step") != NULL);
        free(ranks[r].values);
    }
}

static int32_t refuses(void *user_data, float *values, size_t count) {
    (void)user_data, (void)values, (void)count;
    return 7;
}

static void test_options(const char *directory) {
    sft_model *model;
    sft_trainer *trainer;
    sft_trainer_options options;
    OK(sft_model_open(directory, SFT_ZSTRING, NULL, &model));
    OK(sft_trainer_options_init(&options, sizeof options));
    options.world_size = 2;
    FAILS(sft_trainer_create_sgd(model, NULL, &options, &trainer), SFT_INVALID_ARGUMENT, "all_reduce");
    options.all_reduce = refuses;
    options.rank = 2;
    FAILS(sft_trainer_create_sgd(model, NULL, &options, &trainer), SFT_INVALID_ARGUMENT, "rank must be from 0 to 1");
    options.rank = 1;
    options.check_interval = 0;
    FAILS(sft_trainer_create_sgd(model, NULL, &options, &trainer), SFT_INVALID_ARGUMENT, "check_interval");
    options.check_interval = 1;
    options.local_steps = 0;
    FAILS(sft_trainer_create_sgd(model, NULL, &options, &trainer), SFT_INVALID_ARGUMENT, "local_steps");
    options.local_steps = 1;
    options.outer_momentum = 0.9;
    FAILS(sft_trainer_create_sgd(model, NULL, &options, &trainer), SFT_INVALID_ARGUMENT, "local_steps above 1");
    options.local_steps = 2;
    options.outer_lr = 0;
    FAILS(sft_trainer_create_sgd(model, NULL, &options, &trainer), SFT_INVALID_ARGUMENT, "outer_lr must be above 0");
    options.outer_lr = 1;
    options.outer_momentum = 0;
    options.local_steps = 1;
    OK(sft_trainer_create_sgd(model, NULL, &options, &trainer));
    sft_batch *batch = rows_of(0, 0);
    FAILS(sft_train_step(trainer, batch, NULL, 0), SFT_IO, "all_reduce returned 7; nothing was changed");
    FAILS(sft_train_step(trainer, batch, NULL, 0), SFT_IO, "an earlier step lost the other ranks");
    OK(sft_evaluate(trainer, batch, NULL, 0));
    sft_batch_free(batch);
    sft_trainer_free(trainer);
    sft_model_free(model);
}

int main(int argc, char **argv) {
    const char *directory = argc > 1 ? argv[1] : "Examples/tiny-qwen2";
    pthread_barrier_init(&barrier, NULL, RANKS);
    test_equal_to_one_process(directory, SFT_OPTIMIZER_SGD);
    test_equal_to_one_process(directory, SFT_OPTIMIZER_ADAMW);
    test_failures(directory);
    test_options(directory);
    pthread_barrier_destroy(&barrier);
    return finish();
}
