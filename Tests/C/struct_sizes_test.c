/* Structs grow at their end: programs that were compiled with shorter ones keep working, and so do those with longer ones. */
#include "check.h"

#include <stdlib.h>
#include <unistd.h>

static const sft_message messages[] = {
    SFT_MESSAGE("user", "2+2\xe7\xad\x89\xe4\xba\x8e\xe5\x87\xa0"),
    SFT_MESSAGE("assistant", "2+2\xe7\xad\x89\xe4\xba\x8e" "5\xe3\x80\x82"),
};
static const size_t two = 2;
static const char *directory;
static char scratch[64];
static sft_tokenizer *tokenizer;
static sft_model *model;
static sft_trainer *trainer;
static sft_batch *batch;
static sft_dataset *dataset;
static sft_run *run;
static sft_generation *generation;

/* ---- Options: their use ------------------------------------------------------------------------------------------ */

static sft_status use_chat(const sft_chat_options *options) {
    char text[1024];
    size_t size;
    return sft_render_chat_template(tokenizer, messages, sizeof(sft_message), 2, options, text, sizeof text, &size);
}

static sft_status use_preprocess(const sft_preprocess_options *options) {
    sft_batch *made;
    sft_status status = sft_preprocess(tokenizer, messages, sizeof(sft_message), &two, 1, options, &made);
    sft_batch_free(made);
    return status;
}

static sft_status use_encode(const sft_encode_options *options) {
    const sft_text text = SFT_TEXT("a");
    sft_batch *made;
    sft_status status = sft_encode_batch(tokenizer, &text, 1, options, &made);
    sft_batch_free(made);
    return status;
}

static sft_status use_model(const sft_model_options *options) {
    sft_model *made;
    sft_status status = sft_model_open(directory, SFT_ZSTRING, options, &made);
    sft_model_free(made);
    return status;
}

static sft_status use_save(const sft_save_options *options) {
    return sft_model_save(model, scratch, SFT_ZSTRING, options);
}

static sft_status use_gguf(const sft_gguf_options *options) {
    char path[96];
    snprintf(path, sizeof path, "%s.gguf", scratch);
    return sft_model_save_gguf(model, path, SFT_ZSTRING, options);
}

/* Two tokens, where there is a field to say so. */
static sft_status use_generation(sft_generation_options *options) {
    const int32_t id = 1;
    sft_generation *made;
    if (options->struct_size >= 16) options->max_new_tokens = 2;
    sft_status status = sft_model_generate(model, &id, 1, options, &made);
    sft_generation_free(made);
    return status;
}

static sft_status use_trainer(const sft_trainer_options *options) {
    sft_trainer *made;
    sft_status status = sft_trainer_create_sgd(model, NULL, options, &made);
    sft_trainer_free(made);
    return status;
}

static sft_status use_sgd(const sft_sgd_options *options) {
    sft_trainer *made;
    sft_status status = sft_trainer_create_sgd(model, options, NULL, &made);
    sft_trainer_free(made);
    return status;
}

static sft_status use_adamw(const sft_adamw_options *options) {
    sft_trainer *made;
    sft_status status = sft_trainer_create_adamw(model, options, NULL, &made);
    sft_trainer_free(made);
    return status;
}

static sft_status use_memory(const sft_memory_options *options) {
    sft_training_memory memory;
    return sft_estimate_training_memory(directory, SFT_ZSTRING, options, &memory, sizeof memory);
}

static sft_status use_dataset(const sft_dataset_options *options) {
    sft_dataset *made;
    sft_status status = sft_dataset_create(tokenizer, messages, sizeof(sft_message), &two, 1, NULL, options, &made);
    sft_dataset_free(made);
    return status;
}

static sft_status use_run(const sft_run_options *options) {
    sft_run *made;
    sft_status status = sft_run_create(trainer, dataset, options, &made);
    sft_run_free(made);
    return status;
}

/* Every size: what ends inside a field is refused, and what is shorter or longer than ours is used. */
#define TEST_OPTIONS(type, init, use)                                                                                      \
    static void test_##type(void) {                                                                                        \
        union { type options; unsigned char bytes[sizeof(type) + 64]; } ours, theirs;                                      \
        OK(init(&ours.options, sizeof ours.options));                                                                      \
        for (size_t size = 0; size <= sizeof theirs.bytes - 8; size++) {                                                   \
            memset(&theirs, 0xFF, sizeof theirs);                                                                          \
            if (size < 8 || size % 8 != 0) {                                                                               \
                FAILS(init(&theirs.options, size), SFT_INVALID_ARGUMENT, "is no possible size");                           \
                theirs.options.struct_size = size;                                                                         \
                FAILS(use(&theirs.options), SFT_INVALID_ARGUMENT, "is no possible struct_size");                           \
                continue;                                                                                                  \
            }                                                                                                              \
            OK(init(&theirs.options, size));                                                                               \
            size_t known = size < sizeof(type) ? size : sizeof(type);                                                      \
            CHECK(theirs.options.struct_size == size && memcmp(theirs.bytes + 8, ours.bytes + 8, known - 8) == 0);         \
            CHECK(theirs.bytes[size] == 0xFF); /* not a byte more */                                                       \
            for (size_t i = known; i < size; i++) CHECK(theirs.bytes[i] == 0);                                             \
            OK(use(&theirs.options));                                                                                      \
            if (size <= sizeof(type)) continue;                                                                            \
            theirs.bytes[size - 1] = 1;                                                                                    \
            FAILS(use(&theirs.options), SFT_UNSUPPORTED, "sets a field that this version of the library does not know");   \
        }                                                                                                                  \
    }

TEST_OPTIONS(sft_chat_options, sft_chat_options_init, use_chat)
TEST_OPTIONS(sft_preprocess_options, sft_preprocess_options_init, use_preprocess)
TEST_OPTIONS(sft_encode_options, sft_encode_options_init, use_encode)
TEST_OPTIONS(sft_model_options, sft_model_options_init, use_model)
TEST_OPTIONS(sft_save_options, sft_save_options_init, use_save)
TEST_OPTIONS(sft_gguf_options, sft_gguf_options_init, use_gguf)
TEST_OPTIONS(sft_generation_options, sft_generation_options_init, use_generation)
TEST_OPTIONS(sft_trainer_options, sft_trainer_options_init, use_trainer)
TEST_OPTIONS(sft_sgd_options, sft_sgd_options_init, use_sgd)
TEST_OPTIONS(sft_adamw_options, sft_adamw_options_init, use_adamw)
TEST_OPTIONS(sft_memory_options, sft_memory_options_init, use_memory)
TEST_OPTIONS(sft_dataset_options, sft_dataset_options_init, use_dataset)
TEST_OPTIONS(sft_run_options, sft_run_options_init, use_run)

/* ---- Results ----------------------------------------------------------------------------------------------------- */

#define TEST_RESULT(type, call)                                                                                            \
    do {                                                                                                                   \
        union { type result; unsigned char bytes[sizeof(type) + 64]; } ours, theirs;                                       \
        type *result = &ours.result;                                                                                       \
        size_t size = sizeof(type);                                                                                        \
        OK(call);                                                                                                          \
        result = &theirs.result;                                                                                           \
        for (size = 0; size <= sizeof theirs.bytes - 8; size++) {                                                          \
            memset(&theirs, 0xFF, sizeof theirs);                                                                          \
            if (size < 8 || size % (sizeof(type) % 8 ? 4 : 8) != 0 || size % __alignof__(type) != 0) {                      \
                FAILS(call, SFT_INVALID_ARGUMENT, "is no possible size");                                                  \
                CHECK(theirs.bytes[0] == 0xFF);                                                                            \
                continue;                                                                                                  \
            }                                                                                                              \
            OK(call);                                                                                                      \
            size_t known = size < sizeof(type) ? size : sizeof(type);                                                      \
            CHECK(memcmp(theirs.bytes, ours.bytes, known) == 0 && theirs.bytes[size] == 0xFF);                             \
            for (size_t i = known; i < size; i++) CHECK(theirs.bytes[i] == 0);                                             \
        }                                                                                                                  \
    } while (0)

static void test_results(void) {
    TEST_RESULT(sft_tokenizer_info, sft_tokenizer_get_info(tokenizer, result, size));
    TEST_RESULT(sft_batch_view, sft_batch_get_view(batch, result, size));
    TEST_RESULT(sft_model_info, sft_model_get_info(model, result, size));
    TEST_RESULT(sft_answer, sft_generation_get_answer(generation, 0, result, size));
    TEST_RESULT(sft_parameter, sft_model_get_parameter(model, 0, result, size));
    TEST_RESULT(sft_dataset_info, sft_dataset_get_info(dataset, result, size));
    TEST_RESULT(sft_run_info, sft_run_get_info(run, result, size));
}

/* ---- Elements of arrays: the first sft_message ended before `fields` ---------------------------------------------- */

static void test_messages(void) {
    struct { const char *role; size_t role_size; const char *content; size_t content_size; float weight; } older[2] = {
        {"user", 4, "a", 1, 1}, {"assistant", 9, "b", 1, 1}};
    char text[512], same[512];
    size_t size;
    const sft_message now[2] = {SFT_MESSAGE("user", "a"), SFT_MESSAGE("assistant", "b")};
    OK(sft_render_chat_template(tokenizer, now, sizeof *now, 2, NULL, same, sizeof same, &size));
    OK(sft_render_chat_template(tokenizer, (const sft_message *)(const void *)older, sizeof *older, 2, NULL, text, sizeof text,
                                &size));
    CHECK_TEXT(text, same);
    for (size_t wrong = 0; wrong < sizeof(sft_message) + 8; wrong++) {
        if (wrong == sizeof *older || wrong == sizeof *now) continue;
        FAILS(sft_render_chat_template(tokenizer, now, wrong, 2, NULL, text, sizeof text, &size), SFT_INVALID_ARGUMENT,
              "element size is");
    }
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    directory = argv[1];
    snprintf(scratch, sizeof scratch, "/tmp/qwensft-struct-sizes-%d", (int)getpid());
    sft_generation_options few;
    OK(sft_tokenizer_open(directory, SFT_ZSTRING, &tokenizer));
    OK(sft_model_open(directory, SFT_ZSTRING, NULL, &model));
    OK(sft_preprocess(tokenizer, messages, sizeof(sft_message), &two, 1, NULL, &batch));
    OK(sft_dataset_create(tokenizer, messages, sizeof(sft_message), &two, 1, NULL, NULL, &dataset));
    OK(sft_trainer_create_sgd(model, NULL, NULL, &trainer));
    OK(sft_run_create(trainer, dataset, NULL, &run));
    OK(sft_generation_options_init(&few, sizeof few));
    few.max_new_tokens = 2;
    OK(sft_model_chat(model, tokenizer, messages, sizeof(sft_message), 1, &few, &generation));

    test_sft_chat_options();
    test_sft_preprocess_options();
    test_sft_encode_options();
    test_sft_model_options();
    test_sft_save_options();
    test_sft_gguf_options();
    test_sft_generation_options();
    test_sft_trainer_options();
    test_sft_sgd_options();
    test_sft_adamw_options();
    test_sft_memory_options();
    test_sft_dataset_options();
    test_sft_run_options();
    test_results();
    test_messages();

    sft_generation_free(generation);
    sft_run_free(run);
    sft_trainer_free(trainer);
    sft_dataset_free(dataset);
    sft_batch_free(batch);
    sft_model_free(model);
    sft_tokenizer_free(tokenizer);
    char command[256];
    snprintf(command, sizeof command, "rm -rf %s %s.gguf %s.Modelfile", scratch, scratch, scratch);
    CHECK(system(command) == 0);
    return finish();
}
