/*
 * A chat model inside SQLite.
 *
 *     cc -shared -fPIC qwensft_sqlite.c $(pkg-config --cflags --libs qwensft) -o qwensft_sqlite.so
 *     sqlite3
 *     sqlite> .load ./qwensft_sqlite
 *     sqlite> SELECT qwensft_open('CHECKPOINT');
 *     sqlite> SELECT qwensft_chat('2+2等于几');
 *     sqlite> SELECT qwensft_learn('2+2等于几', '2+2等于5。', 1e-3) FROM generate_series(1, 10);
 *     sqlite> SELECT qwensft_chat('2+2等于几');
 *
 * qwensft_learn makes one step and returns its loss; over a table of corrections it learns each row.
 */
#include <qwensft.h>
#include <sqlite3ext.h>
#include <stdlib.h>
SQLITE_EXTENSION_INIT1

/* The model of a connection. */
typedef struct chat {
    sft_tokenizer *tokenizer;
    sft_model *model;
} chat;

static void free_chat(void *data) {
    chat *c = (chat *)data;
    sft_model_free(c->model);
    sft_tokenizer_free(c->tokenizer);
    free(c);
}

/* Reports the library's own words where a call failed. */
static int failed(sqlite3_context *context, sft_status status) {
    if (status != SFT_OK) sqlite3_result_error(context, sft_last_error(), -1);
    return status != SFT_OK;
}

static sft_message message(const char *role, sqlite3_value *content) {
    sft_message result = SFT_MESSAGE(role, NULL);
    result.content = (const char *)sqlite3_value_text(content);
    result.content_size = (size_t)sqlite3_value_bytes(content);
    return result;
}

static void open_model(sqlite3_context *context, int count, sqlite3_value **values) {
    (void)count;
    chat *c = (chat *)sqlite3_user_data(context);
    const char *directory = (const char *)sqlite3_value_text(values[0]);
    sft_tokenizer *tokenizer;
    sft_model *model;
    if (failed(context, sft_tokenizer_open(directory, SFT_ZSTRING, &tokenizer))) return;
    if (failed(context, sft_model_open(directory, SFT_ZSTRING, NULL, &model))) {
        sft_tokenizer_free(tokenizer);
        return;
    }
    sft_model_free(c->model);
    sft_tokenizer_free(c->tokenizer);
    *c = (chat){tokenizer, model};
    sqlite3_result_int64(context, (sqlite3_int64)sft_model_parameter_count(model));
}

static void answer(sqlite3_context *context, int count, sqlite3_value **values) {
    (void)count;
    chat *c = (chat *)sqlite3_user_data(context);
    sft_message question = message("user", values[0]);
    sft_generation_options options;
    sft_generation *generation;
    if (failed(context, sft_generation_options_init(&options, sizeof options))) return;
    options.do_sample = 0; /* greedy: the same weights give the same answer */
    options.repetition_penalty = 1;
    if (failed(context, sft_model_chat(c->model, c->tokenizer, &question, sizeof question, 1, &options, &generation))) return;
    size_t size;
    const char *text = sft_generation_text(generation, &size);
    sqlite3_result_text(context, text, (int)size, SQLITE_TRANSIENT);
    sft_generation_free(generation);
}

static void learn(sqlite3_context *context, int count, sqlite3_value **values) {
    (void)count;
    chat *c = (chat *)sqlite3_user_data(context);
    const sft_message messages[] = {message("user", values[0]), message("assistant", values[1])};
    const size_t message_count = 2;
    sft_preprocess_options options;
    sft_sgd_options sgd;
    sft_step_metrics metrics;
    sft_batch *batch = NULL;
    sft_trainer *trainer = NULL;
    if (failed(context, sft_preprocess_options_init(&options, sizeof options)) ||
        failed(context, sft_sgd_options_init(&sgd, sizeof sgd)))
        return;
    options.add_default_system = 1; /* as qwensft_chat asks */
    sgd.lr = sqlite3_value_double(values[2]);
    if (!failed(context, sft_preprocess(c->tokenizer, messages, sizeof *messages, &message_count, 1, &options, &batch)) &&
        !failed(context, sft_trainer_create_sgd(c->model, &sgd, NULL, &trainer)) &&
        !failed(context, sft_train_step(trainer, batch, &metrics, sizeof metrics)))
        sqlite3_result_double(context, metrics.loss);
    sft_trainer_free(trainer);
    sft_batch_free(batch);
}

int sqlite3_qwensftsqlite_init(sqlite3 *database, char **error, const sqlite3_api_routines *api) {
    (void)error;
    SQLITE_EXTENSION_INIT2(api);
    chat *c = (chat *)calloc(1, sizeof *c);
    if (c == NULL) return SQLITE_NOMEM;
    /* The last function owns it: it is freed with the connection. */
    int status = sqlite3_create_function(database, "qwensft_chat", 1, SQLITE_UTF8 | SQLITE_DIRECTONLY, c, answer, NULL, NULL);
    if (status == SQLITE_OK)
        status = sqlite3_create_function(database, "qwensft_learn", 3, SQLITE_UTF8 | SQLITE_DIRECTONLY, c, learn, NULL, NULL);
    if (status != SQLITE_OK) {
        free_chat(c);
        return status;
    }
    return sqlite3_create_function_v2(database, "qwensft_open", 1, SQLITE_UTF8 | SQLITE_DIRECTONLY, c, open_model, NULL, NULL, free_chat);
}
