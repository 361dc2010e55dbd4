/* What a host may be like: floating-point exceptions that trap, small stacks, threads that stop and replace, forks. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "check.h"

#include <dlfcn.h>
#include <fenv.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *directory;
static const sft_message conversation[] = {SFT_MESSAGE("user", "2+2"), SFT_MESSAGE("assistant", "5 and more")};

/* ---- Everything once, on a thread of whatever kind ---- */

static void everything(void) {
    sft_tokenizer *tokenizer;
    sft_model *model, *quantized, *clone;
    sft_batch *batch;
    sft_dataset *dataset;
    sft_trainer *sgd, *adamw;
    sft_run *run;
    sft_run_step step;
    sft_session *session;
    sft_generation *generation;
    sft_model_options options;
    sft_generation_options sampling;
    sft_trainer_options trainer_options;
    size_t count = 2, size;
    char saved[64], command[128], *svg = (char *)malloc(1 << 16);

    OK(sft_tokenizer_open(directory, SFT_ZSTRING, &tokenizer));
    OK(sft_model_options_init(&options, sizeof options));
    OK(sft_model_open(directory, SFT_ZSTRING, &options, &model));
    for (int32_t quantization = SFT_QUANTIZATION_INT8; quantization <= SFT_QUANTIZATION_INT6; quantization++) {
        options.quantization = quantization;
        OK(sft_model_open(directory, SFT_ZSTRING, &options, &quantized));
        OK(sft_model_chat(quantized, tokenizer, conversation, sizeof *conversation, 1, NULL, &generation));
        sft_generation_free(generation);
        sft_model_free(quantized);
    }
    OK(sft_preprocess(tokenizer, conversation, sizeof *conversation, &count, 1, NULL, &batch));
    OK(sft_dataset_create(tokenizer, conversation, sizeof *conversation, &count, 1, NULL, NULL, &dataset));
    OK(sft_generation_options_init(&sampling, sizeof sampling));
    sampling.do_sample = 1;
    sampling.temperature = 0.5f;
    sampling.top_p = 0.9f;
    sampling.max_new_tokens = 8;
    sampling.log_probabilities = 1;
    OK(sft_session_create(model, tokenizer, NULL, sizeof *conversation, 0, SFT_TEMPLATE_CHECKPOINT, &session));
    OK(sft_session_send(session, "2+2", SFT_ZSTRING, &sampling, &generation));
    sft_generation_free(generation);
    sft_session_free(session);

    OK(sft_trainer_options_init(&trainer_options, sizeof trainer_options));
    trainer_options.max_grad_norm = 1;
    OK(sft_model_clone(model, &clone));
    OK(sft_trainer_create_sgd(clone, NULL, NULL, &sgd));
    OK(sft_train_step(sgd, batch, NULL, 0));
    OK(sft_evaluate(sgd, batch, NULL, 0));
    OK(sft_trainer_create_adamw(clone, NULL, &trainer_options, &adamw));
    OK(sft_run_create(adamw, dataset, NULL, &run));
    OK(sft_run_next(run, &step, sizeof step));
    OK(sft_run_evaluate(run, dataset, NULL, 0));
    OK(sft_run_svg(run, "loss", SFT_ZSTRING, svg, 1 << 16, &size));
    snprintf(saved, sizeof saved, "/tmp/qwensft-host-%d", (int)getpid());
    OK(sft_model_save(clone, saved, SFT_ZSTRING, NULL));
    snprintf(command, sizeof command, "rm -rf %s", saved);
    CHECK(system(command) == 0);

    free(svg);
    sft_run_free(run);
    sft_trainer_free(adamw);
    sft_trainer_free(sgd);
    sft_model_free(clone);
    sft_dataset_free(dataset);
    sft_batch_free(batch);
    sft_model_free(model);
    sft_tokenizer_free(tokenizer);
}

/* A host such as Free Pascal's run-time, where 1 / 0 is an exception. First, so that the workers start there. */
static void test_trapping_floating_point(void) {
    const int trapping = FE_INVALID | FE_DIVBYZERO | FE_OVERFLOW | FE_UNDERFLOW;
    feclearexcept(FE_ALL_EXCEPT);
    feenableexcept(trapping);
    everything();
    CHECK((fegetexcept() & trapping) == trapping && fetestexcept(FE_ALL_EXCEPT) == 0);
    fedisableexcept(trapping);
}

static void *on_thread(void *unused) {
    everything();
    return unused;
}

/* glibc takes thread-local memory from a thread's stack, and OpenBLAS 0.3.21 has 60 KiB of it: of 128 KiB some 63 are left. 92 KiB
 * were enough with AVX2; the largest frame with AVX-512 has 24 KiB more. */
#ifndef SMALL_STACK /* scripts/sanitize.sh gives more */
#define SMALL_STACK (128 << 10)
#endif
static void test_small_stack(void) {
    pthread_attr_t attributes;
    pthread_t thread;
    CHECK(pthread_attr_init(&attributes) == 0);
    CHECK(pthread_attr_setstacksize(&attributes, SMALL_STACK) == 0);
    CHECK(pthread_create(&thread, &attributes, on_thread, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    pthread_attr_destroy(&attributes);
}

/* ---- Stopping, and how far a step is ---- */

typedef struct {
    sft_trainer *trainer;
    const sft_batch *batch;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int is_asked, is_stopped, at; /* at: which call of the callback waits to be stopped; -1: none */
    int calls;
    uint64_t last, total;
    int is_wrong;
    sft_status status;
} watched;

static int32_t watch(void *user_data, uint64_t done, uint64_t total) {
    watched *w = (watched *)user_data;
    w->is_wrong |= (w->calls > 0 && done < w->last) || done > total || (w->calls > 0 && total != w->total);
    w->last = done;
    w->total = total;
    if (w->calls++ == w->at) {
        pthread_mutex_lock(&w->lock);
        w->is_asked = 1;
        pthread_cond_broadcast(&w->changed);
        while (!w->is_stopped) pthread_cond_wait(&w->changed, &w->lock);
        pthread_mutex_unlock(&w->lock);
    }
    return 0;
}

static void *take_step(void *user_data) {
    watched *w = (watched *)user_data;
    w->status = sft_train_step(w->trainer, w->batch, NULL, 0);
    return NULL;
}

static double loss(watched *w) {
    sft_step_metrics metrics;
    w->calls = 0;
    OK(sft_evaluate(w->trainer, w->batch, &metrics, sizeof metrics));
    return metrics.loss;
}

/* Stops a step at its every callback; with gradient memory all of them, without it those of forward. */
static void test_stop(int has_gradients) {
    sft_tokenizer *tokenizer;
    sft_model *model;
    sft_trainer_options options;
    sft_batch *batch;
    sft_model_info info;
    size_t count = 2;
    watched w;
    memset(&w, 0, sizeof w);
    OK(sft_tokenizer_open(directory, SFT_ZSTRING, &tokenizer));
    OK(sft_model_open(directory, SFT_ZSTRING, NULL, &model));
    OK(sft_model_get_info(model, &info, sizeof info));
    OK(sft_preprocess(tokenizer, conversation, sizeof *conversation, &count, 1, NULL, &batch));
    OK(sft_trainer_options_init(&options, sizeof options));
    options.on_progress = watch;
    options.user_data = &w;
    if (has_gradients) options.max_grad_norm = 1;
    OK(sft_trainer_create_sgd(model, NULL, &options, &w.trainer));
    CHECK(pthread_mutex_init(&w.lock, NULL) == 0 && pthread_cond_init(&w.changed, NULL) == 0);
    w.batch = batch;
    w.at = -1;
    OK(sft_trainer_stop(w.trainer)); /* nothing is under way */
    double before = loss(&w);
    CHECK(w.last == w.total && w.calls == (int)info.layers + 2 && !w.is_wrong);

    int forward = (int)info.layers + 1, last = has_gradients ? 2 * forward : forward;
    for (int at = 0; at <= 2 * forward; at++) {
        pthread_t thread;
        w.calls = w.is_asked = w.is_stopped = 0;
        w.at = at;
        CHECK(pthread_create(&thread, NULL, take_step, &w) == 0);
        pthread_mutex_lock(&w.lock);
        while (!w.is_asked) pthread_cond_wait(&w.changed, &w.lock);
        OK(sft_trainer_stop(w.trainer));
        w.is_stopped = 1;
        pthread_cond_broadcast(&w.changed);
        pthread_mutex_unlock(&w.lock);
        CHECK(pthread_join(thread, NULL) == 0);
        CHECK(w.status == (at <= last ? SFT_CANCELLED : SFT_OK) && !w.is_wrong);
        w.at = -1;
        CHECK((loss(&w) == before) == (at <= last));
        if (at > last) before = loss(&w);
    }
    w.calls = 0;
    OK(sft_train_step(w.trainer, batch, NULL, 0));
    CHECK(w.last == w.total && w.calls == 2 * forward + 1 && !w.is_wrong);
    CHECK(loss(&w) < before);
    pthread_cond_destroy(&w.changed);
    pthread_mutex_destroy(&w.lock);
    sft_trainer_free(w.trainer);
    sft_batch_free(batch);
    sft_model_free(model);
    sft_tokenizer_free(tokenizer);
    FAILS(sft_trainer_stop(NULL), SFT_INVALID_ARGUMENT, "'trainer' is NULL");
}

/* ---- Replacing the warning callback while others are in it ---- */

typedef struct {
    int is_set, calls, late;
} listener;

static pthread_mutex_t listening = PTHREAD_MUTEX_INITIALIZER;
static sft_tokenizer *shared;
static int is_over;

static void listen_to(void *user_data, const char *message, size_t size) {
    listener *mine = (listener *)user_data;
    (void)message, (void)size;
    pthread_mutex_lock(&listening);
    mine->calls++;
    pthread_mutex_unlock(&listening);
    usleep(200);
    pthread_mutex_lock(&listening);
    mine->late += !mine->is_set;
    pthread_mutex_unlock(&listening);
}

static void *cut_texts(void *unused) {
    size_t count = 2;
    sft_preprocess_options options;
    OK(sft_preprocess_options_init(&options, sizeof options));
    options.max_length = 14;
    for (int over = 0; !over;) {
        sft_batch *batch;
        OK(sft_preprocess(shared, conversation, sizeof *conversation, &count, 1, &options, &batch));
        sft_batch_free(batch);
        pthread_mutex_lock(&listening);
        over = is_over;
        pthread_mutex_unlock(&listening);
    }
    return unused;
}

static void replace_itself(void *user_data, const char *message, size_t size) {
    (void)message, (void)size;
    listener *mine = (listener *)user_data;
    mine->calls++;
    OK(sft_set_warning_callback(NULL, NULL));
}

static void test_replacing_warnings(void) {
    pthread_t threads[3];
    listener all[100];
    memset(all, 0, sizeof all);
    OK(sft_tokenizer_open(directory, SFT_ZSTRING, &shared));
    for (int i = 0; i < 3; i++) CHECK(pthread_create(&threads[i], NULL, cut_texts, NULL) == 0);
    int calls = 0, late = 0;
    for (int i = 0; i < 100; i++) {
        all[i].is_set = 1;
        OK(sft_set_warning_callback(listen_to, &all[i]));
        usleep(1000);
        OK(sft_set_warning_callback(NULL, NULL));
        pthread_mutex_lock(&listening);
        all[i].is_set = 0;
        pthread_mutex_unlock(&listening);
    }
    pthread_mutex_lock(&listening);
    is_over = 1;
    pthread_mutex_unlock(&listening);
    for (int i = 0; i < 3; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    for (int i = 0; i < 100; i++) calls += all[i].calls, late += all[i].late;
    CHECK(calls > 0 && late == 0);

    /* A callback may set another one, or none. */
    listener once = {1, 0, 0};
    OK(sft_set_warning_callback(replace_itself, &once));
    cut_texts(NULL);
    CHECK(once.calls == 1);
    sft_tokenizer_free(shared);
}

/* ---- A child forked while another thread computes: OpenBLAS's threads work in it ---- */

static int32_t until_over(void *user_data, const sft_piece *piece) {
    (void)user_data, (void)piece;
    return __atomic_load_n(&is_over, __ATOMIC_RELAXED);
}

static void *generate(void *model) {
    const int32_t id = 5;
    sft_generation_options options;
    sft_generation *generation;
    OK(sft_generation_options_init(&options, sizeof options));
    options.on_piece = until_over;
    while (!until_over(NULL, NULL)) {
        OK(sft_model_generate((sft_model *)model, &id, 1, &options, &generation));
        sft_generation_free(generation);
    }
    return NULL;
}

static void *encode(void *tokenizer) {
    int32_t ids[8];
    size_t count;
    while (!until_over(NULL, NULL)) OK(sft_tokenizer_encode((sft_tokenizer *)tokenizer, "a", 1, 0, ids, 8, &count));
    return NULL;
}

/* A child finds neither a lock taken nor anything half done. */
static void test_forking_while_encoding(void) {
    enum { FORKS = 200 };
    sft_tokenizer *tokenizer;
    pthread_t thread;
    int32_t first[8];
    size_t first_count;
    OK(sft_tokenizer_open(directory, SFT_ZSTRING, &tokenizer));
    OK(sft_tokenizer_encode(tokenizer, "a", 1, 0, first, 8, &first_count)); /* docs/c-api.md: not forked during the first of a kind */
    is_over = 0;
    CHECK(pthread_create(&thread, NULL, encode, tokenizer) == 0);
    for (int i = 0; i < FORKS; i++) {
        pid_t child = fork();
        if (child == 0) {
            int32_t ids[8];
            size_t count;
            alarm(20);
            _exit(sft_tokenizer_encode(tokenizer, "a", 1, 0, ids, 8, &count));
        }
        int status = -1;
        CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0);
    }
    __atomic_store_n(&is_over, 1, __ATOMIC_RELAXED);
    CHECK(pthread_join(thread, NULL) == 0);
    sft_tokenizer_free(tokenizer);
}

/* OpenBLAS's threads are neither started nor ended meanwhile. */
static void test_forking_while_generating(void) {
    enum { FORKS = 60, SIZE = 384 };
    typedef void (*thread_setting)(int);
    typedef void (*product)(int, int, int, int, int, int, float, const float *, int, const float *, int, float, float *, int);
    void *const found[] = {dlsym(RTLD_DEFAULT, "openblas_set_num_threads"), dlsym(RTLD_DEFAULT, "cblas_sgemm")};
    thread_setting set_threads;
    product multiply;
    CHECK(found[0] != NULL && found[1] != NULL);
    memcpy(&set_threads, &found[0], sizeof set_threads);
    memcpy(&multiply, &found[1], sizeof multiply);
    sft_model *model;
    pthread_t thread;
    OK(sft_model_open(directory, SFT_ZSTRING, NULL, &model));
    set_threads(2);
    is_over = 0;
    CHECK(pthread_create(&thread, NULL, generate, model) == 0);
    for (int i = 0; i < FORKS; i++) {
        usleep(1 + 997 * i % 3000);
        pid_t child = fork();
        if (child == 0) {
            float *a = (float *)calloc(3 * SIZE * SIZE, sizeof *a);
            alarm(20);
            set_threads(2);
            multiply(101, 111, 111, SIZE, SIZE, SIZE, 1, a, SIZE, a + SIZE * SIZE, SIZE, 0, a + 2 * SIZE * SIZE, SIZE);
            _exit(0);
        }
        int status = -1;
        CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0);
    }
    __atomic_store_n(&is_over, 1, __ATOMIC_RELAXED);
    CHECK(pthread_join(thread, NULL) == 0);
    sft_model_free(model);
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    directory = argv[1];
    test_trapping_floating_point();
    test_small_stack();
    test_stop(0);
    test_stop(1);
    test_replacing_warnings();
    test_forking_while_encoding();
    test_forking_while_generating();
    return finish();
}
