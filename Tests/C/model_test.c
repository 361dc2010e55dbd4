/* Sections 5, 7 and 9: model, training, parameters. */
#include "check.h"

#include <math.h>
#include <stdlib.h>

static const sft_message messages[] = {
    SFT_MESSAGE("system", "You are a helpful assistant."),
    SFT_MESSAGE("user", "2+2\xe7\xad\x89\xe4\xba\x8e\xe5\x87\xa0"),
    SFT_MESSAGE("assistant", "2+2\xe7\xad\x89\xe4\xba\x8e" "5\xe3\x80\x82"),
};

typedef struct progress {
    uint64_t done, total, limit;
    int calls;
} progress;

static int32_t note_progress(void *user_data, uint64_t done, uint64_t total) {
    progress *seen = (progress *)user_data;
    seen->done = done;
    seen->total = total;
    seen->calls++;
    return seen->limit > 0 && done >= seen->limit;
}

static void test_open(const char *directory) {
    sft_model *model;
    sft_model_options options;
    FAILS(sft_model_open("/nowhere", SFT_ZSTRING, NULL, &model), SFT_NOT_FOUND, "/nowhere");
    CHECK(model == NULL);
    OK(sft_model_options_init(&options, sizeof options));
    options.dtype = 77;
    FAILS(sft_model_open(directory, SFT_ZSTRING, &options, &model), SFT_INVALID_ARGUMENT,
          "'dtype' is 77, expected an SFT dtype constant");
    options.dtype = SFT_DTYPE_AUTO; /* which is what the files are, where they come with the source */
    sft_model_info kept;
    OK(sft_model_open(directory, SFT_ZSTRING, &options, &model));
    OK(sft_model_get_info(model, &kept, sizeof kept));
    CHECK(kept.dtype == SFT_BFLOAT16);
    sft_model_free(model);
    options.dtype = 0;
    options.quantization = 7;
    FAILS(sft_model_open(directory, SFT_ZSTRING, &options, &model), SFT_INVALID_ARGUMENT,
          "'quantization' is 7, expected an SFT_QUANTIZATION constant");
    options.quantization = 0;
    progress seen = {0, 0, 0, 0};
    options.on_progress = note_progress;
    options.user_data = &seen;
    OK(sft_model_open(directory, SFT_ZSTRING, &options, &model));
    CHECK(seen.calls > 3 && seen.done == seen.total && seen.total > 100000);
    sft_model_free(model);
    seen.limit = seen.total / 2;
    FAILS(sft_model_open(directory, SFT_ZSTRING, &options, &model), SFT_CANCELLED, "cancelled while the weights were read");
    CHECK(model == NULL && seen.done < seen.total);

    /* In 8 bits a model answers, and is not trained. */
    OK(sft_model_options_init(&options, sizeof options));
    options.quantization = SFT_QUANTIZATION_INT8;
    OK(sft_model_open(directory, SFT_ZSTRING, &options, &model));
    sft_model_info info;
    sft_generation *generation;
    sft_trainer *trainer;
    const int32_t id = 1;
    OK(sft_model_get_info(model, &info, sizeof info));
    CHECK(info.quantization == SFT_QUANTIZATION_INT8);
    OK(sft_model_generate(model, &id, 1, NULL, &generation));
    sft_generation_free(generation);
    const int64_t ids[] = {1, 2};
    sft_batch *batch;
    OK(sft_batch_create(1, 2, ids, ids, NULL, NULL, &batch));
    OK(sft_trainer_create_sgd(model, NULL, NULL, &trainer));
    FAILS(sft_train_step(trainer, batch, NULL, 0), SFT_UNSUPPORTED, "opened in int8, not with full weights; only an adapter can be trained on it");
    sft_trainer_free(trainer);
    sft_batch_free(batch);
    sft_model_free(model);
    const sft_quantization others[] = {SFT_QUANTIZATION_LOSSLESS, SFT_QUANTIZATION_INT6, SFT_QUANTIZATION_INT4};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        options.quantization = others[i];
        OK(sft_model_open(directory, SFT_ZSTRING, &options, &model));
        OK(sft_model_get_info(model, &info, sizeof info));
        CHECK(info.quantization == others[i]);
        OK(sft_model_generate(model, &id, 1, NULL, &generation));
        sft_generation_free(generation);
        sft_model_free(model);
    }
}

/* An adapter is added, trained, saved, loaded, set, merged and deleted; the weights stay as they are until it is merged. */
static void test_adapters(const char *directory, const char *place) {
    char name[16];
    const int64_t ids[] = {1, 2, 3, 4, 5, 6};
    sft_model_options options;
    sft_model *model, *clone;
    sft_batch *batch;
    sft_trainer *trainer;
    sft_step_metrics base, trained, again;
    size_t count, size;
    OK(sft_batch_create(1, 6, ids, ids, NULL, NULL, &batch));
    OK(sft_model_options_init(&options, sizeof options));
    const sft_quantization bases[] = {SFT_QUANTIZATION_NONE, SFT_QUANTIZATION_INT4};
    for (size_t i = 0; i < 2; i++) {
        options.quantization = bases[i];
        OK(sft_model_open(directory, SFT_ZSTRING, &options, &model));
        OK(sft_model_add_adapter(model, "default", SFT_ZSTRING, "{\"r\": 4, \"lora_alpha\": 8}", SFT_ZSTRING, 3));
        OK(sft_model_count_adapters(model, &count));
        CHECK(count == 1);
        OK(sft_model_get_active_adapter(model, name, sizeof name, &size));
        CHECK(size == 7 && strcmp(name, "default") == 0);
        OK(sft_trainer_create_adamw(model, NULL, NULL, &trainer));
        OK(sft_trainer_set_lr(trainer, 1e-2));
        OK(sft_train_step(trainer, batch, &base, sizeof base));
        for (int step = 0; step < 5; step++) OK(sft_train_step(trainer, batch, NULL, 0));
        OK(sft_evaluate(trainer, batch, &trained, sizeof trained));
        CHECK(trained.loss < base.loss && base.has_grad_norm);
        /* Its gradients, by the names of PEFT's files. */
        sft_parameter parameter;
        double norms[512], squares = 0;
        size_t parameters = sft_trainer_parameter_count(trainer);
        CHECK(parameters > 0 && parameters <= 512 && parameters % 2 == 0);
        OK(sft_trainer_get_parameter(trainer, 0, &parameter, sizeof parameter));
        CHECK_TEXT(parameter.name, "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight");
        CHECK(parameter.rank == 2 && parameter.is_trainable);
        FAILS(sft_trainer_get_parameter(trainer, parameters, &parameter, sizeof parameter), SFT_INVALID_ARGUMENT,
              "the trainer has");
        OK(sft_gradient_norms(trainer, batch, norms, 512, &count));
        CHECK(count == parameters);
        for (size_t p = 0; p < count; p++) squares += norms[p] * norms[p];
        OK(sft_train_step(trainer, batch, &base, sizeof base));
        CHECK(fabs(sqrt(squares) / base.grad_norm - 1) < 1e-5);
        OK(sft_evaluate(trainer, batch, &trained, sizeof trained));
        OK(sft_model_save_adapter(model, "default", SFT_ZSTRING, place, SFT_ZSTRING));
        OK(sft_model_clone(model, &clone));
        sft_trainer_free(trainer);
        OK(sft_model_delete_adapter(model, "default", SFT_ZSTRING));
        OK(sft_model_get_active_adapter(model, name, sizeof name, &size));
        CHECK(size == 0);
        OK(sft_model_load_adapter(model, "b", SFT_ZSTRING, place, SFT_ZSTRING));
        OK(sft_model_get_adapter_name(model, 0, name, sizeof name, &size));
        CHECK(size == 1 && name[0] == 'b');
        OK(sft_trainer_create_sgd(model, NULL, NULL, &trainer));
        OK(sft_evaluate(trainer, batch, &again, sizeof again));
        CHECK(again.loss == trained.loss);
        OK(sft_model_set_adapter(model, NULL, 0));
        FAILS(sft_evaluate(trainer, batch, &again, sizeof again), SFT_INVALID_ARGUMENT, "adapter 'b' set, and now no adapter is");
        sft_trainer_free(trainer);
        if (bases[i] == SFT_QUANTIZATION_NONE) {
            OK(sft_model_merge_adapter(model, "b", SFT_ZSTRING));
            OK(sft_model_count_adapters(model, &count));
            CHECK(count == 0);
            OK(sft_trainer_create_sgd(model, NULL, NULL, &trainer));
            OK(sft_evaluate(trainer, batch, &again, sizeof again));
            CHECK(fabs(again.loss / trained.loss - 1) < 1e-5);
            sft_trainer_free(trainer);
        } else {
            FAILS(sft_model_merge_adapter(model, "b", SFT_ZSTRING), SFT_UNSUPPORTED, "cannot be merged");
        }
        OK(sft_trainer_create_sgd(clone, NULL, NULL, &trainer));
        OK(sft_evaluate(trainer, batch, &again, sizeof again));
        CHECK(again.loss == trained.loss);
        sft_trainer_free(trainer);
        sft_model_free(clone);
        FAILS(sft_model_set_adapter(model, "x", SFT_ZSTRING), SFT_INVALID_ARGUMENT, "no adapter 'x'");
        FAILS(sft_model_add_adapter(model, "x", SFT_ZSTRING, "{\"rank\": 4}", SFT_ZSTRING, 0), SFT_INVALID_ARGUMENT,
              "'rank' is not known");
        FAILS(sft_model_add_adapter(model, "x", SFT_ZSTRING, "{\"use_dora\": true}", SFT_ZSTRING, 0), SFT_UNSUPPORTED,
              "use_dora");
        FAILS(sft_model_add_adapter(model, "x", SFT_ZSTRING, "{\"trainable_token_indices\": [3, 100000]}", SFT_ZSTRING, 0),
              SFT_INVALID_ARGUMENT, "100000 is not in the model's vocabulary");
        /* Rows of tokens come after A and B. */
        OK(sft_model_add_adapter(model, "t", SFT_ZSTRING,
                                 "{\"target_modules\": [\"q_proj\"], \"trainable_token_indices\": {\"embed_tokens\": [3, 7]}}",
                                 SFT_ZSTRING, 0));
        OK(sft_trainer_create_sgd(model, NULL, NULL, &trainer));
        parameters = sft_trainer_parameter_count(trainer);
        OK(sft_trainer_get_parameter(trainer, parameters - 1, &parameter, sizeof parameter));
        CHECK_TEXT(parameter.name, "base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta");
        CHECK(parameter.rank == 2 && parameter.shape[0] == 2);
        OK(sft_train_step(trainer, batch, NULL, 0));
        sft_trainer_free(trainer);
        FAILS(sft_model_save_adapter_gguf(model, "t", SFT_ZSTRING, "t.gguf", SFT_ZSTRING), SFT_UNSUPPORTED, "merge it");
        OK(sft_model_delete_adapter(model, "t", SFT_ZSTRING));
        FAILS(sft_model_load_adapter(model, "x", SFT_ZSTRING, directory, SFT_ZSTRING), SFT_NOT_FOUND, "adapter_config.json");
        sft_model_free(model);
    }
    sft_batch_free(batch);
}

static void test_forward(sft_model *model) {
    sft_model_info info;
    OK(sft_model_get_info(model, &info, sizeof info));
    CHECK(info.layers > 0 && info.weights > 1000 && info.dtype == SFT_FLOAT32);

    const int64_t ids[] = {1, 2, 3, 4, 5, 0}, mask[] = {1, 1, 1, 1, 1, 0}, bad[] = {1, 2, 3, 4, 5, 99999999};
    size_t capacity = 6 * info.vocabulary_size, count;
    float *logits = (float *)malloc(capacity * sizeof *logits), *again = (float *)malloc(capacity * sizeof *again);
    OK(sft_model_forward(model, 2, 3, ids, mask, logits, capacity, &count));
    CHECK(count == capacity && isfinite(logits[capacity - 1]));
    /* A row does not depend on the other, nor on its padding. */
    OK(sft_model_forward(model, 1, 2, ids + 3, NULL, again, capacity, &count));
    CHECK(count == 2 * info.vocabulary_size);
    float difference = 0;
    for (size_t i = 0; i < count; i++) difference = fmaxf(difference, fabsf(logits[capacity / 2 + i] - again[i]));
    CHECK(difference < 1e-4f);

    FAILS(sft_model_forward(model, 2, 3, ids, mask, logits, capacity - 1, &count), SFT_BUFFER_TOO_SMALL, "elements");
    CHECK(count == capacity);
    FAILS(sft_model_forward(model, 2, 3, bad, NULL, logits, capacity, &count), SFT_INVALID_ARGUMENT, "99999999");
    CHECK(count == 0);
    FAILS(sft_model_forward(model, 2, 3, NULL, NULL, logits, capacity, &count), SFT_INVALID_ARGUMENT,
          "argument 'input_ids' is NULL");
    FAILS(sft_model_forward(model, (size_t)-1 / 8, 3, ids, NULL, logits, capacity, &count), SFT_INVALID_ARGUMENT, "size");
    FAILS(sft_model_forward(model, 0, 0, ids, NULL, logits, capacity, &count), SFT_INVALID_ARGUMENT, "");
    free(logits);
    free(again);
}

static void test_training(sft_model *model, const sft_tokenizer *tokenizer) {
    sft_batch *batch;
    sft_trainer *sgd, *adamw;
    sft_step_metrics first, metrics;
    const size_t count = 3;
    OK(sft_preprocess(tokenizer, messages, sizeof(sft_message), &count, 1, NULL, &batch));
    OK(sft_trainer_create_sgd(model, NULL, NULL, &sgd));
    OK(sft_evaluate(sgd, batch, &first, sizeof first));
    CHECK(first.loss > 0 && first.supervised_tokens > 3 && first.has_grad_norm == 0 && first.seconds > 0);

    double norms[1024];
    size_t parameters = sft_model_parameter_count(model), norm_count;
    CHECK(parameters > 0 && parameters <= 1024);
    OK(sft_gradient_norms(sgd, batch, norms, 1024, &norm_count));
    CHECK(norm_count == parameters && norms[0] > 0);
    FAILS(sft_gradient_norms(sgd, batch, norms, 1, &norm_count), SFT_BUFFER_TOO_SMALL, "elements");
    CHECK(norm_count == parameters);

    OK(sft_train_step(sgd, batch, &metrics, sizeof metrics));
    CHECK(fabs(metrics.loss - first.loss) < 1e-5 * first.loss && metrics.supervised_tokens == first.supervised_tokens);
    OK(sft_evaluate(sgd, batch, &metrics, sizeof metrics));
    CHECK(metrics.loss < first.loss);
    OK(sft_trainer_create_adamw(model, NULL, NULL, &adamw));
    OK(sft_train_step(adamw, batch, &metrics, sizeof metrics));
    CHECK(metrics.has_grad_norm == 1 && metrics.grad_norm > 0);
    OK(sft_train_step(adamw, batch, NULL, 0));
    sft_trainer_free(adamw);

    /* Two batches are one step; a row alone costs what the batch costs. */
    const sft_batch *both[] = {batch, batch};
    double row_loss;
    size_t rows;
    OK(sft_evaluate(sgd, batch, &first, sizeof first));
    OK(sft_row_losses(sgd, batch, &row_loss, 1, &rows));
    CHECK(rows == 1 && fabs(row_loss - first.loss) < 1e-5 * first.loss);
    FAILS(sft_row_losses(sgd, batch, &row_loss, 0, &rows), SFT_BUFFER_TOO_SMALL, "elements");
    OK(sft_evaluate_accumulated(sgd, both, 2, &metrics, sizeof metrics));
    CHECK(fabs(metrics.loss - first.loss) < 1e-9 && metrics.supervised_tokens == 2 * first.supervised_tokens);
    OK(sft_train_step_accumulated(sgd, both, 2, &metrics, sizeof metrics));
    CHECK(fabs(metrics.loss - first.loss) < 1e-5 * first.loss && metrics.has_grad_norm);
    FAILS(sft_train_step_accumulated(sgd, both, 0, &metrics, sizeof metrics), SFT_INVALID_ARGUMENT, "'batches' is empty");
    FAILS(sft_train_step_accumulated(sgd, NULL, 2, &metrics, sizeof metrics), SFT_INVALID_ARGUMENT,
          "argument 'batches' is NULL");
    both[1] = NULL;
    FAILS(sft_train_step_accumulated(sgd, both, 2, &metrics, sizeof metrics), SFT_INVALID_ARGUMENT,
          "argument 'batch' is NULL");

    /* Weights stay as they were after a step that was refused. */
    sft_step_metrics before, after;
    OK(sft_evaluate(sgd, batch, &before, sizeof before));
    FAILS(sft_train_step(sgd, batch, &metrics, 3), SFT_INVALID_ARGUMENT, "'metrics': 3 is no possible size");
    const int64_t bad[] = {99999999, 99999999}, fine[] = {1, 2}, none[] = {-100, -100};
    sft_batch *other;
    OK(sft_batch_create(1, 2, bad, fine, NULL, NULL, &other));
    FAILS(sft_train_step(sgd, other, &metrics, sizeof metrics), SFT_INVALID_ARGUMENT, "99999999");
    sft_batch_free(other);
    other = NULL;
    sft_status status = sft_batch_create(1, 2, fine, none, NULL, NULL, &other);
    if (status == SFT_OK) status = sft_train_step(sgd, other, &metrics, sizeof metrics);
    FAILS(status, SFT_NO_SUPERVISED_TOKENS, "");
    sft_batch_free(other);
    OK(sft_evaluate(sgd, batch, &after, sizeof after));
    CHECK(before.loss == after.loss);

    sft_sgd_options options;
    sft_trainer *trainer;
    OK(sft_sgd_options_init(&options, sizeof options));
    CHECK(options.lr == 1e-3 && options.momentum == 0);
    options.lr = -1;
    FAILS(sft_trainer_create_sgd(model, &options, NULL, &trainer), SFT_INVALID_ARGUMENT, "lr must be");
    options.lr = NAN;
    FAILS(sft_trainer_create_sgd(model, &options, NULL, &trainer), SFT_INVALID_ARGUMENT, "lr must be");
    OK(sft_sgd_options_init(&options, sizeof options));
    options.nesterov = 1;
    FAILS(sft_trainer_create_sgd(model, &options, NULL, &trainer), SFT_INVALID_ARGUMENT, "nesterov");
    sft_adamw_options adamw_options;
    OK(sft_adamw_options_init(&adamw_options, sizeof adamw_options));
    CHECK(adamw_options.weight_decay == 0.01);
    adamw_options.beta1 = 1;
    FAILS(sft_trainer_create_adamw(model, &adamw_options, NULL, &trainer), SFT_INVALID_ARGUMENT, "beta1");
    CHECK(trainer == NULL);

    sft_trainer_free(sgd);
    sft_batch_free(batch);
}

static void test_parameters(sft_model *model) {
    sft_parameter parameter;
    OK(sft_model_get_parameter(model, 0, &parameter, sizeof parameter));
    CHECK_TEXT(parameter.name, "model.embed_tokens.weight");
    CHECK(parameter.rank == 2 && strlen(parameter.name) == parameter.name_size);
    size_t count, needed = parameter.shape[0] * parameter.shape[1];
    float *values = (float *)malloc(needed * sizeof *values);
    OK(sft_model_read_parameter(model, 0, values, needed, &count));
    CHECK(count == needed && isfinite(values[needed - 1]));
    FAILS(sft_model_read_parameter(model, 0, values, needed - 1, &count), SFT_BUFFER_TOO_SMALL, "elements");
    free(values);
    FAILS(sft_model_get_parameter(model, (size_t)-1, &parameter, sizeof parameter), SFT_INVALID_ARGUMENT,
          "'index' is 18446744073709551615, the model has");
    uint64_t total = 0;
    for (size_t i = 0; i < sft_model_parameter_count(model); i++) {
        OK(sft_model_get_parameter(model, i, &parameter, sizeof parameter));
        total += parameter.shape[0] * parameter.shape[1];
    }
    sft_model_info info;
    OK(sft_model_get_info(model, &info, sizeof info));
    CHECK(total == info.weights);
}

static void test_save(sft_model *model, const char *scratch) {
    sft_save_options options;
    OK(sft_save_options_init(&options, sizeof options));
    options.dtype = SFT_FLOAT32;
    OK(sft_model_save(model, scratch, SFT_ZSTRING, &options));
    sft_model *loaded;
    OK(sft_model_open(scratch, SFT_ZSTRING, NULL, &loaded));
    sft_parameter parameter;
    OK(sft_model_get_parameter(model, 1, &parameter, sizeof parameter));
    size_t count, needed = parameter.shape[0] * parameter.shape[1];
    float *a = (float *)malloc(needed * sizeof *a), *b = (float *)malloc(needed * sizeof *b);
    OK(sft_model_read_parameter(model, 1, a, needed, &count));
    OK(sft_model_read_parameter(loaded, 1, b, needed, &count));
    CHECK(memcmp(a, b, needed * sizeof *a) == 0);
    free(a);
    free(b);
    sft_model_free(loaded);

    /* A cancelled save leaves what was there. */
    progress seen = {0, 0, 0, 0};
    options.on_progress = note_progress;
    options.user_data = &seen;
    OK(sft_model_save(model, scratch, SFT_ZSTRING, &options));
    CHECK(seen.done == seen.total && seen.total > 100000);
    seen.limit = seen.total / 2;
    FAILS(sft_model_save(model, scratch, SFT_ZSTRING, &options), SFT_CANCELLED, "cancelled");
    OK(sft_model_open(scratch, SFT_ZSTRING, NULL, &loaded));
    sft_model_free(loaded);
    CHECK(sft_model_save(model, "/proc/nothing/here", SFT_ZSTRING, NULL) != SFT_OK);
    OK(sft_model_check_destination(model, scratch, SFT_ZSTRING, NULL));
    OK(sft_model_check_destination(model, scratch, SFT_ZSTRING, &options));
    CHECK(sft_model_check_destination(model, "/proc/nothing/here", SFT_ZSTRING, NULL) != SFT_OK);
    FAILS(sft_model_check_destination(model, "", 0, NULL), SFT_INVALID_ARGUMENT, "argument 'directory' is empty");
    FAILS(sft_model_check_destination(NULL, scratch, SFT_ZSTRING, NULL), SFT_INVALID_ARGUMENT, "model");
    OK(sft_model_open(scratch, SFT_ZSTRING, NULL, &loaded));
    sft_model_free(loaded);
    FAILS(sft_model_save(model, "", 0, NULL), SFT_INVALID_ARGUMENT, "argument 'directory' is empty");
}

/* The model as one file, which opens as a directory does and holds its tokenizer. */
static void test_gguf(sft_model *model, sft_tokenizer *tokenizer, const char *scratch) {
    char path[4200], modelfile[4200];
    const char *const files[] = {path, modelfile};
    sft_gguf_options options;
    snprintf(path, sizeof path, "%s/model.gguf", scratch);
    snprintf(modelfile, sizeof modelfile, "%s/Modelfile", scratch);
    for (size_t i = 0; i < 2; i++) remove(files[i]);
    OK(sft_gguf_options_init(&options, sizeof options));
    CHECK(options.type == SFT_GGUF_DEFAULT && options.writes_modelfile == 0);
    options.type = 9;
    FAILS(sft_model_save_gguf(model, path, SFT_ZSTRING, &options), SFT_INVALID_ARGUMENT, "'type' is 9, expected an SFT_GGUF constant");
    options.type = SFT_GGUF_F32;
    options.writes_modelfile = 1;
    progress seen = {0, 0, 0, 0};
    options.on_progress = note_progress;
    options.user_data = &seen;
    OK(sft_model_save_gguf(model, path, SFT_ZSTRING, &options));
    CHECK(seen.done == seen.total && seen.total > 100000);
    FILE *file = fopen(modelfile, "r");
    CHECK(file != NULL);
    if (file != NULL) fclose(file);
    sft_model *loaded;
    sft_tokenizer *own;
    OK(sft_model_open(path, SFT_ZSTRING, NULL, &loaded));
    OK(sft_tokenizer_open(path, SFT_ZSTRING, &own));
    int32_t a[64], b[64];
    size_t a_count, b_count;
    OK(sft_apply_chat_template(tokenizer, messages, sizeof messages[0], 2, NULL, a, 64, &a_count));
    OK(sft_apply_chat_template(own, messages, sizeof messages[0], 2, NULL, b, 64, &b_count));
    CHECK(a_count == b_count && memcmp(a, b, a_count * sizeof a[0]) == 0);
    for (size_t i = 0; i < sft_model_parameter_count(model); i += 7) {
        sft_parameter parameter;
        size_t count, needed;
        OK(sft_model_get_parameter(model, i, &parameter, sizeof parameter));
        needed = parameter.shape[0] * parameter.shape[1];
        float *x = (float *)malloc(needed * sizeof *x), *y = (float *)malloc(needed * sizeof *y);
        OK(sft_model_read_parameter(model, i, x, needed, &count));
        OK(sft_model_read_parameter(loaded, i, y, needed, &count));
        CHECK(memcmp(x, y, needed * sizeof *x) == 0);
        free(x);
        free(y);
    }
    sft_tokenizer_free(own);
    sft_model_free(loaded);

    seen.limit = 1;
    FAILS(sft_model_save_gguf(model, path, SFT_ZSTRING, &options), SFT_CANCELLED, "cancelled");
    OK(sft_model_open(path, SFT_ZSTRING, NULL, &loaded));
    FAILS(sft_model_save_adapter_gguf(loaded, "a", 1, path, SFT_ZSTRING), SFT_INVALID_ARGUMENT, "no adapter 'a'");
    OK(sft_model_add_adapter(loaded, "a", 1, NULL, 0, 0));
    OK(sft_model_save_adapter_gguf(loaded, "a", 1, path, SFT_ZSTRING));
    sft_model_free(loaded);
    FAILS(sft_model_open(path, SFT_ZSTRING, NULL, &loaded), SFT_UNSUPPORTED, "'general.type' is 'adapter', not 'model'");
    CHECK(sft_model_save_gguf(model, "/proc/nothing/here", SFT_ZSTRING, NULL) != SFT_OK);
    FAILS(sft_model_save_gguf(model, "", 0, NULL), SFT_INVALID_ARGUMENT, "argument 'path' is empty");
    FAILS(sft_model_save_gguf(NULL, path, SFT_ZSTRING, NULL), SFT_INVALID_ARGUMENT, "model");
    for (size_t i = 0; i < 2; i++) remove(files[i]);
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    sft_tokenizer *tokenizer;
    sft_model *model;
    char scratch[4096];
    snprintf(scratch, sizeof scratch, "%s.saved", argv[0]);
    OK(sft_tokenizer_open(argv[1], SFT_ZSTRING, &tokenizer));
    OK(sft_model_open(argv[1], SFT_ZSTRING, NULL, &model));
    test_open(argv[1]);
    test_forward(model);
    test_training(model, tokenizer);
    test_parameters(model);
    test_save(model, scratch);
    test_gguf(model, tokenizer, scratch);
    snprintf(scratch, sizeof scratch, "%s.adapter", argv[0]);
    test_adapters(argv[1], scratch);
    sft_model_free(model);
    sft_tokenizer_free(tokenizer);
    return finish();
}
