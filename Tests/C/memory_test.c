/* Memory that runs out: every entry point that allocates, with an address space from tight to loose (RLIMIT_AS). Each call
 * ends in SFT_OK or SFT_OUT_OF_MEMORY, never in a signal, and works when there is memory again.
 *
 *     memory_test MODEL                 some ten limits for each entry point, seconds
 *     memory_test MODEL long            hundreds of limits, and more data
 *     memory_test MODEL [long] PART     entry points whose names have this part
 */
#ifndef _GNU_SOURCE /* C++ has it */
#define _GNU_SOURCE
#endif
#include "check.h"

#include <malloc.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *directory;
static char place[64];
static size_t text_size, conversation_count;
static char *words, *letters, *marks;
static sft_message *messages;
static size_t *message_counts;
static int32_t *ids;
static size_t id_count;
static int64_t *wide_ids, *wide_labels;
static sft_text *texts;
static sft_tokenizer *tokenizer;
static sft_model *model;
static sft_trainer *sgd, *adamw;
static sft_batch *batch;
static sft_dataset *dataset, *small_dataset;
static sft_run *run;

/* ---- What is tried ----------------------------------------------------------------------------------------------- */

static sft_status open_tokenizer(void) {
    sft_tokenizer *made;
    sft_status status = sft_tokenizer_open(directory, SFT_ZSTRING, &made);
    sft_tokenizer_free(made);
    return status;
}

static sft_status encode(const char *text, size_t size) {
    size_t count;
    sft_status status = sft_tokenizer_encode(tokenizer, text, size, 0, NULL, 0, &count);
    return status == SFT_BUFFER_TOO_SMALL ? SFT_OK : status;
}

static sft_status encode_words(void) { return encode(words, text_size); }
static sft_status encode_letters(void) { return encode(letters, text_size / 8); }
static sft_status encode_marks(void) { return encode(marks, text_size / 4); }

static sft_status encode_texts(void) {
    size_t count;
    size_t *offsets = (size_t *)malloc((conversation_count + 1) * sizeof *offsets);
    if (offsets == NULL) return SFT_OUT_OF_MEMORY;
    sft_status status = sft_tokenizer_encode_texts(tokenizer, texts, conversation_count, 0, NULL, 0, &count, offsets);
    free(offsets);
    return status == SFT_BUFFER_TOO_SMALL ? SFT_OK : status;
}

static sft_status decode(void) {
    size_t size;
    sft_status status = sft_tokenizer_decode(tokenizer, ids, id_count, 0, NULL, 0, &size);
    return status == SFT_BUFFER_TOO_SMALL ? SFT_OK : status;
}

static sft_status decode_broken(void) {
    size_t size;
    static int32_t half[1 << 18];
    for (size_t i = 0; i < sizeof half / sizeof half[0]; i++) half[i] = 160; /* a byte that is no character */
    sft_status status = sft_tokenizer_decode(tokenizer, half, 1 << 18, 0, NULL, 0, &size);
    return status == SFT_BUFFER_TOO_SMALL ? SFT_OK : status;
}

static sft_status stream(void) {
    sft_decoder *decoder;
    char text[256];
    size_t size;
    sft_status status = sft_decoder_create(tokenizer, 0, &decoder);
    for (size_t i = 0; i < 1000 && status == SFT_OK; i++) status = sft_decoder_append(decoder, ids[i], text, 256, &size);
    sft_decoder_free(decoder);
    return status;
}

static sft_status render(void) {
    size_t size;
    sft_status status = sft_render_chat_template(tokenizer, messages, sizeof(sft_message), 2 * conversation_count, NULL,
                                                 NULL, 0, &size);
    return status == SFT_BUFFER_TOO_SMALL ? SFT_OK : status;
}

static sft_status apply(void) {
    size_t size;
    sft_status status = sft_apply_chat_template(tokenizer, messages, sizeof(sft_message), 2 * conversation_count, NULL,
                                                NULL, 0, &size);
    return status == SFT_BUFFER_TOO_SMALL ? SFT_OK : status;
}

static sft_status with_arrays(sft_status status, sft_batch *made) {
    sft_batch_view view;
    if (status == SFT_OK) status = sft_batch_get_view(made, &view, sizeof view);
    sft_batch_free(made);
    return status;
}

static sft_status preprocess(void) {
    sft_batch *made;
    sft_status status = sft_preprocess(tokenizer, messages, sizeof(sft_message), message_counts, conversation_count, NULL,
                                       &made);
    return with_arrays(status, made);
}

static sft_status preprocess_long(void) {
    const sft_message one[] = {SFT_MESSAGE("user", "?"), {"assistant", 9, words, text_size, 1, NULL, 0}};
    const size_t two = 2;
    sft_preprocess_options options;
    sft_batch *made;
    sft_status status = sft_preprocess_options_init(&options, sizeof options);
    options.max_length = 100;
    if (status == SFT_OK)
        status = sft_preprocess(tokenizer, one, sizeof(sft_message), &two, 1, &options, &made);
    else
        made = NULL;
    return with_arrays(status, made);
}

static sft_status encode_batch(void) {
    sft_batch *made;
    sft_status status = sft_encode_batch(tokenizer, texts, conversation_count, NULL, &made);
    return with_arrays(status, made);
}

static sft_status encode_wide(void) {
    const sft_text one = SFT_TEXT("a");
    sft_encode_options options;
    sft_batch *made = NULL;
    sft_status status = sft_encode_options_init(&options, sizeof options);
    options.min_columns = text_size;
    if (status == SFT_OK) status = sft_encode_batch(tokenizer, &one, 1, &options, &made);
    return with_arrays(status, made);
}

static sft_status batch_from_arrays(void) {
    sft_batch *made;
    sft_status status = sft_batch_create(100, text_size / 800, wide_ids, wide_labels, NULL, NULL, &made);
    return with_arrays(status, made);
}

static sft_status create_dataset(void) {
    sft_dataset *made;
    sft_status status = sft_dataset_create(tokenizer, messages, sizeof(sft_message), message_counts, conversation_count,
                                           NULL, NULL, &made);
    sft_dataset_free(made);
    return status;
}

static sft_status open_dataset(void) {
    char path[128];
    sft_dataset *made;
    snprintf(path, sizeof path, "%s/data.jsonl", place);
    sft_status status = sft_dataset_open(tokenizer, path, SFT_ZSTRING, NULL, NULL, &made);
    sft_dataset_free(made);
    return status;
}

static sft_status open_model_in(int32_t dtype, int32_t quantization) {
    sft_model_options options;
    sft_model *made = NULL;
    sft_status status = sft_model_options_init(&options, sizeof options);
    options.dtype = (sft_dtype)dtype;
    options.quantization = (sft_quantization)quantization;
    if (status == SFT_OK) status = sft_model_open(directory, SFT_ZSTRING, &options, &made);
    sft_model_free(made);
    return status;
}

static sft_status open_float32(void) { return open_model_in(SFT_FLOAT32, SFT_QUANTIZATION_NONE); }
static sft_status open_bfloat16(void) { return open_model_in(SFT_BFLOAT16, SFT_QUANTIZATION_NONE); }
static sft_status open_int8(void) { return open_model_in(SFT_DTYPE_DEFAULT, SFT_QUANTIZATION_INT8); }

static sft_status clone(void) {
    sft_model *made;
    sft_status status = sft_model_clone(model, &made);
    sft_model_free(made);
    return status;
}

static sft_status save(void) {
    char path[128];
    snprintf(path, sizeof path, "%s/saved", place);
    return sft_model_save(model, path, SFT_ZSTRING, NULL);
}

static sft_status forward(void) {
    size_t count;
    static float *logits;
    if (logits == NULL) logits = (float *)malloc((size_t)64 * 152000 * sizeof(float));
    if (logits == NULL) return SFT_OUT_OF_MEMORY;
    return sft_model_forward(model, 1, 64, wide_ids, NULL, logits, (size_t)64 * 152000, &count);
}

static sft_status generate(void) {
    sft_generation_options options;
    sft_generation *made = NULL;
    sft_status status = sft_generation_options_init(&options, sizeof options);
    options.max_new_tokens = 8;
    options.num_return_sequences = 2;
    options.do_sample = 1;
    if (status == SFT_OK) status = sft_model_generate(model, ids, 200, &options, &made);
    sft_generation_free(made);
    return status;
}

static sft_status session(void) {
    sft_session *made;
    sft_generation *answer = NULL;
    sft_message message;
    sft_status status = sft_session_create(model, tokenizer, NULL, sizeof(sft_message), 0, SFT_TEMPLATE_CHATML, &made);
    if (status == SFT_OK) status = sft_session_send(made, "2+2", SFT_ZSTRING, NULL, &answer);
    if (status == SFT_OK) status = sft_session_get_message(made, 1, &message, sizeof message);
    sft_generation_free(answer);
    sft_session_free(made);
    return status;
}

static sft_status create_adamw(void) {
    sft_trainer *made;
    sft_status status = sft_trainer_create_adamw(model, NULL, NULL, &made);
    sft_trainer_free(made);
    return status;
}

static sft_status step_sgd(void) { return sft_train_step(sgd, batch, NULL, 0); }
static sft_status step_adamw(void) { return sft_train_step(adamw, batch, NULL, 0); }
static sft_status evaluate(void) { return sft_evaluate(sgd, batch, NULL, 0); }

static sft_status evaluate_dataset(void) { return sft_evaluate_dataset(sgd, small_dataset, NULL, NULL, 0); }

static sft_status losses(void) {
    static float values[1 << 16];
    static double rows[64];
    size_t count;
    sft_status status = sft_token_losses(sgd, batch, values, 1 << 16, &count);
    return status == SFT_OK ? sft_row_losses(sgd, batch, rows, 64, &count) : status;
}

static sft_status norms(void) {
    static double values[4096];
    size_t count;
    return sft_gradient_norms(sgd, batch, values, 4096, &count);
}

static sft_status save_state(void) {
    char path[128];
    snprintf(path, sizeof path, "%s/state", place);
    return sft_trainer_save_state(adamw, path, SFT_ZSTRING);
}

static sft_status load_state(void) {
    char path[128];
    snprintf(path, sizeof path, "%s/before", place);
    return sft_trainer_load_state(adamw, path, SFT_ZSTRING);
}

static sft_status make_run(void) {
    sft_run *made;
    sft_run_step step;
    sft_status status = sft_run_create(sgd, dataset, NULL, &made);
    if (status == SFT_OK) status = sft_run_next(made, &step, sizeof step);
    sft_run_free(made);
    return status;
}

static sft_status draw(void) {
    size_t size;
    sft_status status = sft_run_svg(run, "Loss", SFT_ZSTRING, NULL, 0, &size);
    return status == SFT_BUFFER_TOO_SMALL ? SFT_OK : status;
}

static sft_status draw_own(void) {
    size_t size;
    static double many[1 << 15];
    sft_status status = sft_loss_curve_svg(many, 1 << 15, NULL, NULL, 0, "Loss", SFT_ZSTRING, NULL, 0, &size);
    return status == SFT_BUFFER_TOO_SMALL ? SFT_OK : status;
}

static sft_status parameters(void) {
    sft_parameter parameter;
    static float *values;
    size_t count;
    if (values == NULL) values = (float *)malloc((size_t)1 << 27);
    if (values == NULL) return SFT_OUT_OF_MEMORY;
    sft_status status = sft_model_get_parameter(model, 0, &parameter, sizeof parameter);
    if (status == SFT_OK) status = sft_model_read_parameter(model, 0, values, 1 << 25, &count);
    return status == SFT_OK ? sft_model_write_parameter(model, 0, values, count) : status;
}

static sft_status summary(void) {
    size_t size;
    sft_status status = sft_tokenizer_summary(tokenizer, NULL, 0, &size);
    return status == SFT_BUFFER_TOO_SMALL ? SFT_OK : status;
}

static const struct entry {
    const char *name;
    sft_status (*call)(void);
} entries[] = {
    {"sft_tokenizer_open", open_tokenizer},
    {"sft_tokenizer_encode: words", encode_words},
    {"sft_tokenizer_encode: one long word", encode_letters},
    {"sft_tokenizer_encode: to be normalized", encode_marks},
    {"sft_tokenizer_encode_texts", encode_texts},
    {"sft_tokenizer_decode", decode},
    {"sft_tokenizer_decode: not UTF-8", decode_broken},
    {"sft_tokenizer_summary", summary},
    {"sft_decoder_append", stream},
    {"sft_render_chat_template", render},
    {"sft_apply_chat_template", apply},
    {"sft_preprocess: many conversations", preprocess},
    {"sft_preprocess: a long one", preprocess_long},
    {"sft_encode_batch: many texts", encode_batch},
    {"sft_encode_batch: min_columns", encode_wide},
    {"sft_batch_create", batch_from_arrays},
    {"sft_dataset_create", create_dataset},
    {"sft_dataset_open", open_dataset},
    {"sft_model_open: float32", open_float32},
    {"sft_model_open: bfloat16", open_bfloat16},
    {"sft_model_open: int8", open_int8},
    {"sft_model_clone", clone},
    {"sft_model_save", save},
    {"sft_model_forward", forward},
    {"sft_model_generate", generate},
    {"sft_session_send", session},
    {"sft_trainer_create_adamw", create_adamw},
    {"sft_train_step: SGD", step_sgd},
    {"sft_train_step: AdamW", step_adamw},
    {"sft_evaluate", evaluate},
    {"sft_evaluate_dataset", evaluate_dataset},
    {"sft_token_losses, sft_row_losses", losses},
    {"sft_gradient_norms", norms},
    {"sft_trainer_save_state", save_state},
    {"sft_trainer_load_state", load_state},
    {"sft_run_next", make_run},
    {"sft_run_svg", draw},
    {"sft_loss_curve_svg", draw_own},
    {"sft_model_read_parameter, _write_parameter", parameters},
};

/* ---- How --------------------------------------------------------------------------------------------------------- */

static size_t address_space(void) {
    size_t pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL || fscanf(file, "%zu", &pages) != 1) pages = 0;
    if (file != NULL) fclose(file);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static void limit_address_space(size_t size) {
    struct rlimit limit;
    getrlimit(RLIMIT_AS, &limit);
    limit.rlim_cur = size == 0 || size > limit.rlim_max ? limit.rlim_max : size;
    setrlimit(RLIMIT_AS, &limit);
}

enum { FINE = 0, REFUSED = 1, WRONG = 2 };

/* In a process of its own: the call with `more` bytes beyond what is mapped, and once more with all there is. */
static int try_with(const struct entry *entry, size_t more) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        alarm(120);
        malloc_trim(0);
        limit_address_space(address_space() + more);
        sft_status status = entry->call();
        limit_address_space(0);
        int result = status == SFT_OK ? FINE : status == SFT_OUT_OF_MEMORY ? REFUSED : WRONG;
        if (result == WRONG) printf("%s with %zu KB: %s\n", entry->name, more >> 10, sft_last_error());
        if (result == REFUSED && entry->call() != SFT_OK) {
            printf("%s after %zu KB, with memory again: %s\n", entry->name, more >> 10, sft_last_error());
            result = WRONG;
        }
        fflush(stdout);
        _exit(result);
    }
    int state = 0;
    waitpid(child, &state, 0);
    if (WIFEXITED(state) && WEXITSTATUS(state) != WRONG) return WEXITSTATUS(state);
    if (!WIFEXITED(state)) printf("%s with %zu KB: signal %d\n", entry->name, more >> 10, WTERMSIG(state));
    return WRONG;
}

static void sweep(const struct entry *entry, int is_long) {
    size_t tries = 0, refused = 0, more = 0, step = (size_t)(is_long ? 192 : 4096) << 10;
    for (int fine = 0; fine < 2; tries++) {
        int result = try_with(entry, more);
        CHECK(result != WRONG);
        if (result == WRONG) return;
        refused += result == REFUSED;
        fine = result == FINE ? fine + 1 : 0;
        if (more > (size_t)4 << 30) break;
        if (more >= 16 * step) step = more / (is_long ? 48 : 3);
        more += tries < 4 ? step / 8 : step;
    }
    printf("%-45s %4zu limits, %4zu refused\n", entry->name, tries, refused);
}

/* ---- What it is tried on ----------------------------------------------------------------------------------------- */

static void fill(char *text, size_t size, const char *pattern) {
    size_t length = strlen(pattern);
    for (size_t i = 0; i + length <= size; i += length) memcpy(text + i, pattern, length);
    memset(text + size / length * length, ' ', size - size / length * length);
}

static void prepare(int is_long) {
    const char *contents[] = {"2+2", "It is four, as far as anybody knows.", "Why?", "It follows from the axioms."};
    const size_t two = 2;
    char path[128];
    text_size = (size_t)(is_long ? 33 : 3) << 20;
    conversation_count = is_long ? 100000 : 4000;
    words = (char *)malloc(text_size);
    letters = (char *)malloc(text_size);
    marks = (char *)malloc(text_size);
    fill(words, text_size, "The quick brown fox, 12 of them, jumps over naïve dogs. ");
    fill(letters, text_size, "abracadabra");
    fill(marks, text_size / 4, "e\xcc\x81 a\xcc\x88\xcc\xa3 ");
    id_count = text_size / 8;
    ids = (int32_t *)malloc(id_count * sizeof(int32_t));
    for (size_t i = 0; i < id_count; i++) ids[i] = (int32_t)(i % 200);
    wide_ids = (int64_t *)malloc(text_size);
    wide_labels = (int64_t *)malloc(text_size);
    for (size_t i = 0; i < text_size / 8; i++) wide_labels[i] = wide_ids[i] = (int64_t)(i % 100);
    messages = (sft_message *)malloc(2 * conversation_count * sizeof(sft_message));
    message_counts = (size_t *)malloc(conversation_count * sizeof(size_t));
    texts = (sft_text *)malloc(conversation_count * sizeof(sft_text));
    snprintf(path, sizeof path, "%s/data.jsonl", place);
    FILE *file = fopen(path, "w");
    for (size_t i = 0; i < conversation_count; i++) {
        const char *user = contents[i % 2 * 2], *assistant = contents[i % 2 * 2 + 1];
        sft_message question = SFT_MESSAGE("user", user), answer = SFT_MESSAGE("assistant", assistant);
        sft_text text = SFT_TEXT(assistant);
        messages[2 * i] = question;
        messages[2 * i + 1] = answer;
        texts[i] = text;
        message_counts[i] = 2;
        fprintf(file, "{\"messages\": [{\"role\": \"user\", \"content\": \"%s\"}, {\"role\": \"assistant\", \"content\": "
                "\"%s\"}]}\n", user, assistant);
    }
    fclose(file);

    OK(sft_set_thread_count(1)); /* a forked child has no other threads */
    OK(sft_tokenizer_open(directory, SFT_ZSTRING, &tokenizer));
    OK(sft_model_open(directory, SFT_ZSTRING, NULL, &model));
    OK(sft_trainer_create_sgd(model, NULL, NULL, &sgd));
    OK(sft_trainer_create_adamw(model, NULL, NULL, &adamw));
    OK(sft_trainer_set_lr(sgd, 1e-6));
    OK(sft_preprocess(tokenizer, messages, sizeof(sft_message), &two, 1, NULL, &batch));
    OK(sft_dataset_create(tokenizer, messages, sizeof(sft_message), message_counts, conversation_count, NULL, NULL, &dataset));
    OK(sft_dataset_create(tokenizer, messages, sizeof(sft_message), message_counts, 20, NULL, NULL, &small_dataset));
    OK(sft_run_create(sgd, dataset, NULL, &run));
    sft_run_step step;
    OK(sft_run_next(run, &step, sizeof step));
    snprintf(path, sizeof path, "%s/before", place);
    OK(sft_trainer_save_state(adamw, path, SFT_ZSTRING));
}

int main(int argc, char **argv) {
    CHECK(argc >= 2);
    directory = argv[1];
    int is_long = argc > 2 && strcmp(argv[2], "long") == 0;
    const char *only = argc > 2 + is_long ? argv[2 + is_long] : "";
    if (address_space() > (size_t)1 << 40) { /* a sanitizer's shadow; its allocator aborts by itself */
        printf("not under a sanitizer\n");
        return 0;
    }
    strcpy(place, "/tmp/qwensft-memory-XXXXXX");
    CHECK(mkdtemp(place) != NULL);
    prepare(is_long);
    for (size_t i = 0; i < sizeof entries / sizeof entries[0]; i++)
        if (strstr(entries[i].name, only) != NULL) sweep(&entries[i], is_long);
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", place);
    CHECK(system(command) == 0);
    return finish();
}
