/* Callbacks that use the library, callbacks that never return, and what they find of the host's.
 * callbacks_test MODEL [CALLS]: so many calls from every kind of callback, at 1, 2 and 8 threads. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "check.h"

#include <dlfcn.h>
#include <fenv.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdlib.h>
#include <unistd.h>

enum { COLUMNS = 8, MOST_LOGITS = COLUMNS * 2048 };

static const char *directory;
static sft_tokenizer *tokenizer;
static sft_model *model, *other;
static sft_trainer *trainer, *still; /* the second one's rate is 0 */
static sft_batch *batch;
static sft_dataset *dataset;
static char saved[64];
static const sft_message conversation[] = {SFT_MESSAGE("user", "2+2"), SFT_MESSAGE("assistant", "5 and more")};

/* What every callback does; whether it goes on. */
static int32_t (*hook)(void);
static int32_t call_hook(void) { return hook != NULL ? hook() : 0; }
static int32_t on_progress(void *user_data, uint64_t done, uint64_t total) {
    CHECK(done <= total && user_data == &hook);
    return call_hook();
}
static int32_t on_piece(void *user_data, const sft_piece *piece) {
    CHECK(piece->text != NULL && user_data == &hook);
    return call_hook();
}
static char warning[512];
static void on_warning(void *user_data, const char *message, size_t size) {
    CHECK(user_data == &warning);
    if (strstr(message, "were cut") != NULL) {
        call_hook();
        return;
    }
    snprintf(warning, sizeof warning, "%.*s", (int)size, message);
}

/* ---- Calls that make callbacks, each with a number that says what it came to ---- */

static double sum_of_logits(sft_model *of) {
    static const int64_t ids[COLUMNS] = {1, 2, 3, 4, 5, 6, 7, 8};
    static float logits[MOST_LOGITS];
    size_t count;
    double sum = 0;
    OK(sft_model_forward(of, 1, COLUMNS, ids, NULL, logits, MOST_LOGITS, &count));
    for (size_t i = 0; i < count; i++) sum += logits[i] * (double)(i % 97);
    return sum;
}

static double opened(void) {
    sft_model_options options;
    sft_model *new_model;
    OK(sft_model_options_init(&options, sizeof options));
    options.on_progress = on_progress;
    options.user_data = (void *)&hook;
    OK(sft_model_open(directory, SFT_ZSTRING, &options, &new_model));
    if (new_model == NULL) return 0;
    int32_t (*kept)(void) = hook;
    hook = NULL;
    double sum = sum_of_logits(new_model);
    hook = kept;
    sft_model_free(new_model);
    return sum;
}

static double saves(void) {
    sft_save_options options;
    OK(sft_save_options_init(&options, sizeof options));
    options.on_progress = on_progress;
    options.user_data = (void *)&hook;
    OK(sft_model_save(model, saved, SFT_ZSTRING, &options));
    return 0;
}

static sft_generation_options generation_options(void) {
    sft_generation_options options;
    OK(sft_generation_options_init(&options, sizeof options));
    options.max_new_tokens = 12;
    options.do_sample = 0;
    options.on_piece = on_piece;
    options.user_data = (void *)&hook;
    return options;
}

static double number_of(sft_generation *generation) {
    size_t count;
    const int32_t *ids = sft_generation_ids(generation, &count);
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum += ids[i] * (double)(i + 1);
    sft_generation_free(generation);
    return sum;
}

static double chats(void) {
    sft_generation_options options = generation_options();
    sft_generation *generation;
    OK(sft_model_chat(model, tokenizer, conversation, sizeof *conversation, 1, &options, &generation));
    return number_of(generation);
}

static sft_session *session;
static double turn(void) {
    sft_generation_options options = generation_options();
    sft_generation *generation;
    OK(sft_session_reset(session));
    OK(sft_session_send(session, "2+2", SFT_ZSTRING, &options, &generation));
    return number_of(generation);
}

static double steps(void) {
    sft_step_metrics metrics;
    OK(sft_train_step(still, batch, &metrics, sizeof metrics));
    return metrics.loss;
}

static double evaluates(void) {
    sft_step_metrics metrics;
    OK(sft_evaluate(still, batch, &metrics, sizeof metrics));
    return metrics.loss;
}

static sft_run *run;
static double run_evaluates(void) {
    sft_step_metrics metrics;
    OK(sft_run_evaluate(run, dataset, &metrics, sizeof metrics));
    return metrics.loss;
}

static double run_steps(void) {
    sft_run_step step;
    OK(sft_run_next(run, &step, sizeof step));
    return step.loss;
}

static double warns(void) {
    sft_preprocess_options options;
    sft_batch *cut;
    sft_batch_view view;
    size_t count = 2;
    OK(sft_preprocess_options_init(&options, sizeof options));
    options.max_length = 12;
    OK(sft_preprocess(tokenizer, conversation, sizeof *conversation, &count, 1, &options, &cut));
    memset(&view, 0, sizeof view);
    OK(sft_batch_get_view(cut, &view, sizeof view));
    sft_batch_free(cut);
    return (double)view.columns;
}

static double (*const calls[])(void) = {opened,    saves,         chats,     turn, steps,
                                        evaluates, run_evaluates, run_steps, warns};
static const char *const names[] = {"open", "save", "chat", "session", "step", "evaluate", "run evaluate", "run step", "warning"};
enum { CALLS = sizeof calls / sizeof *calls };

/* ---- Using the library within a callback ---- */

static long entered, wrong;
static double expected;

static int32_t reenter(void) {
    int32_t (*kept)(void) = hook;
    hook = NULL;
    wrong += sum_of_logits(other) != expected;
    if (entered++ % 8 == 0) {
        sft_generation *generation;
        const int32_t id = 5;
        sft_generation_options options = generation_options();
        options.max_new_tokens = 3;
        OK(sft_model_generate(other, &id, 1, &options, &generation));
        sft_generation_free(generation);
    }
    hook = kept;
    return 0;
}

static void test_reentrance(long wanted) {
    static const size_t threads[] = {1, 2, 8};
    size_t before = sft_thread_count();
    for (size_t t = 0; t < 3; t++) {
        OK(sft_set_thread_count(threads[t]));
        expected = sum_of_logits(other);
        for (size_t c = 0; c < CALLS; c++) {
            hook = NULL;
            double alone = calls[c]();
            hook = reenter;
            entered = 0;
            long rounds = 0;
            /* Eight threads on fewer processors wait for each other most of the time. */
            long enough = threads[t] > 2 && wanted < 1000 ? wanted / 10 + 1 : wanted;
            for (wrong = 0; entered < enough; rounds++) wrong += calls[c]() != alone;
            if (wrong != 0) printf("%s, %zu threads: %ld of %ld calls gave other numbers\n", names[c], threads[t], wrong, entered);
            CHECK(wrong == 0 && rounds > 0);
        }
    }
    hook = NULL;
    OK(sft_set_thread_count(before));
}

static int32_t use_the_same(void) {
    float logit;
    size_t count;
    const int64_t id = 1;
    FAILS(sft_model_forward(model, 1, 1, &id, NULL, &logit, 0, &count), SFT_BUFFER_TOO_SMALL, "elements");
    const int32_t token = 1;
    sft_generation *generation;
    FAILS(sft_model_generate(model, &token, 1, NULL, &generation), SFT_BUSY,
          "the model is in use by a call on this thread, whose callback has not returned");
    return 1;
}

static void test_busy(void) {
    hook = use_the_same;
    sft_generation_options options = generation_options();
    sft_generation *generation;
    OK(sft_model_chat(model, tokenizer, conversation, sizeof *conversation, 1, &options, &generation));
    sft_generation_free(generation);
    hook = NULL;
}

/* ---- What a callback finds of the host's ---- */

static int rounding;
static pthread_t caller;

/* OpenBLAS's number of threads, which the library sets to one while it computes; set: make it 3. */
static int blas_threads(int set) {
    int (*get)(void);
    void (*put)(int);
    void *symbols[] = {dlsym(RTLD_DEFAULT, "openblas_get_num_threads"), dlsym(RTLD_DEFAULT, "openblas_set_num_threads")};
    memcpy(&get, &symbols[0], sizeof get);
    memcpy(&put, &symbols[1], sizeof put);
    if (get == NULL || put == NULL) return 3; /* another BLAS behind the same interface */
    if (set) put(3);
    return get();
}

static int32_t look(void) {
    CHECK(fegetround() == FE_UPWARD);
    CHECK(blas_threads(0) == 3);
    CHECK(pthread_equal(pthread_self(), caller));
    rounding++;
    return 0;
}

static void test_environment(void) {
    caller = pthread_self();
    blas_threads(1);
    for (size_t c = 0; c < CALLS; c++) {
        hook = NULL;
        double usual = calls[c]();
        hook = look;
        rounding = 0;
        fesetround(FE_UPWARD);
        double same = calls[c]();
        CHECK(fegetround() == FE_UPWARD);
        fesetround(FE_TONEAREST);
        CHECK(same == usual && rounding > 0);
    }
    hook = NULL;
}

/* ---- Callbacks that never return ---- */

static int until; /* callbacks that return first */

#ifdef __cplusplus
struct left {};
#define LEAVE throw left()
#define TRY_CALL(call)  \
    try {               \
        (call);         \
        CHECK(0);       \
    } catch (left &) {  \
    }
#else
static jmp_buf place;
#define LEAVE longjmp(place, 1)
#define TRY_CALL(call)          \
    if (setjmp(place) == 0) {   \
        (call);                 \
        CHECK(0);               \
    }
#endif

static int32_t leave(void) {
    if (until-- > 0) return 0;
    hook = NULL;
    LEAVE;
}

static void leave_call(size_t c, int after) {
    hook = leave;
    until = after;
    TRY_CALL(calls[c]());
    hook = NULL;
}

static void test_leaving(void) {
    for (size_t c = 0; c < CALLS; c++) {
        for (int after = 0; after < 2; after++) {
            double usual = calls[c]();
            fesetround(FE_UPWARD);
            leave_call(c, strcmp(names[c], "warning") == 0 ? 0 : after);
            CHECK(fegetround() == FE_UPWARD && blas_threads(0) == 3);
            fesetround(FE_TONEAREST);
            warning[0] = 0;
            CHECK(calls[c]() == usual);
            /* Opening and a warning hold nothing that could be busy. */
            int is_told = strstr(warning, "can be used again") != NULL;
            CHECK(is_told == (strcmp(names[c], "open") != 0 && strcmp(names[c], "warning") != 0));
            if (strcmp(names[c], "session") == 0) CHECK(strstr(warning, "the model, the session") != NULL);
            if (strcmp(names[c], "run step") == 0) CHECK(strstr(warning, "the model, the run") != NULL);
            warning[0] = 0;
            sum_of_logits(model);
            CHECK_TEXT(warning, "");
        }
    }
    OK(sft_set_warning_callback(on_warning, warning)); /* does not wait for the calls that were left */
}

/* A step without gradient memory changes weights as it goes; one that is left there is told apart. */
static void test_leaving_a_step(void) {
    sft_model *changed;
    sft_trainer *direct;
    sft_trainer_options options;
    sft_model_info info;
    OK(sft_model_get_info(model, &info, sizeof info));
    OK(sft_model_clone(model, &changed));
    OK(sft_trainer_options_init(&options, sizeof options));
    options.on_progress = on_progress;
    options.user_data = (void *)&hook;
    OK(sft_trainer_create_sgd(changed, NULL, &options, &direct));
    hook = leave;
    until = (int)info.layers + 2; /* before anything, after every layer, after the head */
    warning[0] = 0;
    TRY_CALL(OK(sft_train_step(direct, batch, NULL, 0)));
    CHECK(sum_of_logits(changed) != sum_of_logits(model));
    CHECK(strstr(warning, "the model (a step had changed a part of its weights)") != NULL);
    hook = NULL;
    OK(sft_train_step(direct, batch, NULL, 0));
    sft_trainer_free(direct);
    sft_model_free(changed);
}

/* Deeper than the callback that was left nobody can know that it was. */
static sft_status deep(void) {
    char room[1 << 18];
    char *volatile whole = room; /* nobody can know that it is not used */
    whole[0] = 0;
    sft_generation *generation;
    const int32_t id = 1;
    sft_status status = sft_model_generate(model, &id, 1, NULL, &generation);
    sft_generation_free(generation);
    CHECK(whole[0] == 0);
    return status;
}

static void *leave_on_thread(void *ends) {
    hook = leave;
    until = 1;
    TRY_CALL(chats());
    if (ends == NULL) sum_of_logits(model);
    return NULL;
}

static int32_t end_thread(void) {
    pthread_exit(NULL);
    return 0;
}

static void *end_within(void *unused) {
    (void)unused;
    chats();
    CHECK(0);
    return NULL;
}

static void test_leaving_elsewhere(void) {
    pthread_t thread;
    leave_call(2, 0);
    CHECK(deep() == SFT_BUSY);
    CHECK(strstr(sft_last_error(), "whose callback has not returned") != NULL);
    sum_of_logits(model);
    CHECK(deep() == SFT_OK);

    /* Another thread's call is given back by that thread's next call, or by its end. */
    for (int ends = 0; ends < 2; ends++) {
        CHECK(pthread_create(&thread, NULL, leave_on_thread, ends ? &thread : NULL) == 0);
        CHECK(pthread_join(thread, NULL) == 0);
        sum_of_logits(model);
    }
    hook = end_thread;
    CHECK(pthread_create(&thread, NULL, end_within, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    hook = NULL;
    sum_of_logits(model);
}

int main(int argc, char **argv) {
    CHECK(argc >= 2);
    directory = argv[1];
    long wanted = argc > 2 ? atol(argv[2]) : 40;
    size_t count = 2;
    snprintf(saved, sizeof saved, "/tmp/qwensft-callbacks-%d", (int)getpid());
    OK(sft_set_warning_callback(on_warning, warning));
    OK(sft_tokenizer_open(directory, SFT_ZSTRING, &tokenizer));
    OK(sft_model_open(directory, SFT_ZSTRING, NULL, &model));
    OK(sft_model_open(directory, SFT_ZSTRING, NULL, &other));
    OK(sft_preprocess(tokenizer, conversation, sizeof *conversation, &count, 1, NULL, &batch));
    OK(sft_dataset_create(tokenizer, conversation, sizeof *conversation, &count, 1, NULL, NULL, &dataset));
    OK(sft_session_create(model, tokenizer, NULL, sizeof *conversation, 0, SFT_TEMPLATE_CHECKPOINT, &session));
    sft_trainer_options options;
    sft_sgd_options sgd;
    sft_run_options run_options;
    OK(sft_trainer_options_init(&options, sizeof options));
    options.on_progress = on_progress;
    options.user_data = (void *)&hook;
    OK(sft_sgd_options_init(&sgd, sizeof sgd));
    sgd.lr = 0;
    OK(sft_trainer_create_sgd(model, &sgd, &options, &still));
    sgd.momentum = 0.5;
    OK(sft_trainer_create_sgd(model, &sgd, &options, &trainer));
    OK(sft_run_options_init(&run_options, sizeof run_options));
    run_options.epochs = 1 << 20;
    OK(sft_run_create(trainer, dataset, &run_options, &run));
    sft_trainer_free(trainer); /* its callback and user_data live as long as the run */

    test_busy();
    test_environment();
    test_reentrance(wanted);
    test_leaving();
    test_leaving_a_step();
    test_leaving_elsewhere();

    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", saved);
    CHECK(system(command) == 0);
    OK(sft_set_warning_callback(NULL, NULL));
    sft_run_free(run);
    sft_trainer_free(still);
    sft_session_free(session);
    sft_dataset_free(dataset);
    sft_batch_free(batch);
    sft_model_free(other);
    sft_model_free(model);
    sft_tokenizer_free(tokenizer);
    return finish();
}
