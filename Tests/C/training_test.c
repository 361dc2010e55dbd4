/* Sections 7 and 9: what a program that learns reaches for beside the steps themselves. */
#include "check.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>

static const sft_message conversations[] = {
    SFT_MESSAGE("user", "2+2\xe7\xad\x89\xe4\xba\x8e\xe5\x87\xa0"),
    SFT_MESSAGE("assistant", "2+2\xe7\xad\x89\xe4\xba\x8e" "4\xe3\x80\x82"),
    SFT_MESSAGE("user", "2+2\xe7\xad\x89\xe4\xba\x8e\xe5\x87\xa0"),
    SFT_MESSAGE("assistant", "2+2\xe7\xad\x89\xe4\xba\x8e" "5\xe3\x80\x82"),
};
static const size_t message_counts[] = {2, 2};

static sft_model *open_model(const char *directory) {
    sft_model *model;
    OK(sft_model_open(directory, SFT_ZSTRING, NULL, &model));
    return model;
}

/* The index of a parameter. */
static size_t find(const sft_model *model, const char *name, sft_parameter *parameter) {
    for (size_t i = 0; i < sft_model_parameter_count(model); i++) {
        OK(sft_model_get_parameter(model, i, parameter, sizeof *parameter));
        if (strcmp(parameter->name, name) == 0) return i;
    }
    CHECK(!"no such parameter");
    return 0;
}

static float *values_of(sft_model *model, size_t index, size_t *count) {
    float *values;
    FAILS(sft_model_read_parameter(model, index, NULL, 0, count), SFT_BUFFER_TOO_SMALL, "elements");
    values = (float *)malloc(*count * sizeof *values);
    OK(sft_model_read_parameter(model, index, values, *count, count));
    return values;
}

/* What a conversation costs, and where; weights that say how much. */
static void test_losses(const char *directory, const sft_batch *batch) {
    sft_model *model = open_model(directory);
    sft_trainer *trainer;
    sft_batch_view view;
    sft_step_metrics metrics;
    double rows[2], sum = 0;
    size_t count, learned = 0;
    OK(sft_trainer_create_sgd(model, NULL, NULL, &trainer));
    OK(sft_batch_get_view(batch, &view, sizeof view));
    size_t size = view.rows * view.columns, dearest = 0;
    float *tokens = (float *)malloc(size * sizeof *tokens), *weights = (float *)calloc(size, sizeof *weights);
    OK(sft_token_losses(trainer, batch, tokens, size, &count));
    CHECK(count == size);
    for (size_t i = 0; i < size; i++) {
        CHECK((view.labels[i] == -100) == (isnan(tokens[i]) != 0));
        if (view.labels[i] == -100) continue;
        sum += tokens[i];
        learned++;
        if (isnan(tokens[dearest]) || tokens[i] > tokens[dearest]) dearest = i;
    }
    OK(sft_evaluate(trainer, batch, &metrics, sizeof metrics));
    CHECK(metrics.supervised_tokens == learned && fabs(metrics.loss - sum / (double)learned) < 1e-5);
    OK(sft_row_losses(trainer, batch, rows, 2, &count));
    CHECK(count == 2 && rows[1] > rows[0] && fabs((rows[0] + rows[1]) / 2 - metrics.loss) < 1e-5);
    CHECK(dearest >= view.columns); /* the 5 of the second row */

    /* All the weight on one token: the loss is that token's. */
    sft_batch *weighted;
    weights[dearest] = 0.25f;
    OK(sft_batch_create(view.rows, view.columns, view.input_ids, view.labels, view.attention_mask, weights, &weighted));
    OK(sft_evaluate(trainer, weighted, &metrics, sizeof metrics));
    CHECK(metrics.supervised_tokens == 1 && fabs(metrics.loss - tokens[dearest]) < 1e-5);
    sft_batch_free(weighted);
    free(tokens);
    free(weights);
    sft_trainer_free(trainer);
    sft_model_free(model);
}

static void test_parameters(const char *directory, const sft_batch *batch) {
    sft_model *model = open_model(directory);
    sft_trainer *trainer;
    sft_parameter parameter;
    size_t matched, count, again_count;
    size_t frozen = find(model, "model.layers.0.mlp.up_proj.weight", &parameter);
    CHECK(parameter.rank == 2 && parameter.is_trainable);
    OK(sft_model_set_trainable(model, "model.layers.0.*", SFT_ZSTRING, 0, &matched));
    CHECK(matched == 12);
    FAILS(sft_model_set_trainable(model, "layers.*", SFT_ZSTRING, 0, &matched), SFT_INVALID_ARGUMENT,
          "no parameter's name matches 'layers.*'");
    CHECK(matched == 0);
    find(model, "model.layers.0.mlp.up_proj.weight", &parameter);
    CHECK(!parameter.is_trainable);
    size_t learned = find(model, "model.norm.weight", &parameter);
    CHECK(parameter.rank == 1 && parameter.shape[1] == 1);

    float *before = values_of(model, frozen, &count), *norm = values_of(model, learned, &again_count);
    OK(sft_trainer_create_adamw(model, NULL, NULL, &trainer));
    OK(sft_train_step(trainer, batch, NULL, 0));
    float *after = values_of(model, frozen, &count), *other = values_of(model, learned, &again_count);
    CHECK(memcmp(before, after, count * sizeof *before) == 0);
    CHECK(memcmp(norm, other, again_count * sizeof *norm) != 0);

    /* Replacing values, or refusing to. */
    OK(sft_model_write_parameter(model, learned, norm, again_count));
    norm[1] = INFINITY;
    FAILS(sft_model_write_parameter(model, learned, norm, again_count), SFT_NON_FINITE, "model.norm.weight: element 1 is inf");
    FAILS(sft_model_write_parameter(model, learned, norm, 1), SFT_INVALID_ARGUMENT, "model.norm.weight: 1 values");
    FAILS(sft_model_write_parameter(model, 9999, norm, 1), SFT_INVALID_ARGUMENT, "'index' is 9999");
    free(before);
    free(after);
    free(norm);
    free(other);
    sft_trainer_free(trainer);
    sft_model_free(model);
}

/* Two steps, and one step, a state in a file and another step, end with the same bits. */
static void test_state(const char *directory, const sft_batch *batch, const char *path) {
    float *values[2];
    size_t count = 0;
    for (int stops = 0; stops < 2; stops++) {
        sft_model *model = open_model(directory);
        sft_trainer *trainer;
        OK(sft_trainer_create_adamw(model, NULL, NULL, &trainer));
        OK(sft_trainer_set_lr(trainer, 1e-4));
        FAILS(sft_trainer_set_lr(trainer, -1), SFT_INVALID_ARGUMENT, "lr must be at least 0");
        OK(sft_train_step(trainer, batch, NULL, 0));
        if (stops) {
            OK(sft_trainer_save_state(trainer, path, SFT_ZSTRING));
            sft_trainer_free(trainer);
            OK(sft_trainer_create_adamw(model, NULL, NULL, &trainer));
            FAILS(sft_trainer_load_state(trainer, "/nowhere", SFT_ZSTRING), SFT_NOT_FOUND, "/nowhere");
            OK(sft_trainer_load_state(trainer, path, SFT_ZSTRING));
        }
        OK(sft_train_step(trainer, batch, NULL, 0));
        values[stops] = values_of(model, 1, &count);
        sft_trainer_free(trainer);
        sft_model_free(model);
    }
    CHECK(memcmp(values[0], values[1], count * sizeof *values[0]) == 0);
    free(values[0]);
    free(values[1]);
    remove(path);
}

typedef struct learner {
    sft_trainer *trainer;
    const sft_batch *batch;
    int steps;
} learner;

static void *learn(void *argument) {
    learner *it = (learner *)argument;
    for (int step = 0; step < 20; step++)
        if (sft_train_step(it->trainer, it->batch, NULL, 0) == SFT_OK) it->steps++;
    return NULL;
}

/* One thread trains, another chats with a clone, which stays what it was. */
static void test_clone(const char *directory, const sft_batch *batch) {
    sft_model *model = open_model(directory), *clone;
    sft_tokenizer *tokenizer;
    sft_generation *answer;
    sft_generation_options options;
    sft_sgd_options sgd;
    learner it = {NULL, batch, 0};
    pthread_t thread;
    OK(sft_tokenizer_open(directory, SFT_ZSTRING, &tokenizer));
    OK(sft_generation_options_init(&options, sizeof options));
    options.do_sample = 0;
    options.repetition_penalty = 1;
    OK(sft_model_clone(model, &clone));
    OK(sft_sgd_options_init(&sgd, sizeof sgd));
    sgd.lr = 1e-2;
    OK(sft_trainer_create_sgd(model, &sgd, NULL, &it.trainer));
    CHECK(pthread_create(&thread, NULL, learn, &it) == 0);
    for (int turn = 0; turn < 5; turn++) {
        OK(sft_model_chat(clone, tokenizer, conversations, sizeof(sft_message), 1, &options, &answer));
        CHECK_TEXT(sft_generation_text(answer, NULL), conversations[1].content);
        sft_generation_free(answer);
    }
    pthread_join(thread, NULL);
    CHECK(it.steps == 20);
    OK(sft_model_chat(model, tokenizer, conversations, sizeof(sft_message), 1, &options, &answer));
    CHECK_TEXT(sft_generation_text(answer, NULL), conversations[3].content);
    sft_generation_free(answer);
    sft_trainer_free(it.trainer);
    sft_model_free(clone);
    sft_model_free(model);
    sft_tokenizer_free(tokenizer);
}

/* What a clone has set aside comes back, and the trainer goes on from there. */
static void test_copy(const char *directory, const sft_batch *batch) {
    sft_model *model = open_model(directory), *before, *narrow, *small;
    sft_trainer *trainer;
    sft_step_metrics first, metrics;
    sft_model_options options;
    double lr = 1;
    uint64_t steps = 1;
    OK(sft_trainer_create_sgd(model, NULL, NULL, &trainer));
    OK(sft_trainer_get_lr(trainer, &lr));
    OK(sft_trainer_get_step_count(trainer, &steps));
    CHECK(lr == 1e-3 && steps == 0);
    OK(sft_trainer_set_lr(trainer, 1e-2));
    OK(sft_model_clone(model, &before));
    OK(sft_train_step(trainer, batch, &first, sizeof first));
    for (int step = 0; step < 4; step++) OK(sft_train_step(trainer, batch, NULL, 0));
    OK(sft_trainer_get_lr(trainer, &lr));
    OK(sft_trainer_get_step_count(trainer, &steps));
    CHECK(lr == 1e-2 && steps == 5);
    FAILS(sft_trainer_get_lr(trainer, NULL), SFT_INVALID_ARGUMENT, "argument 'lr' is NULL");
    FAILS(sft_trainer_get_step_count(NULL, &steps), SFT_INVALID_ARGUMENT, "argument 'trainer' is NULL");
    CHECK(steps == 0);

    OK(sft_model_copy_from(model, before));
    OK(sft_evaluate(trainer, batch, &metrics, sizeof metrics));
    CHECK(metrics.loss == first.loss);
    OK(sft_model_copy_from(model, model));

    OK(sft_model_options_init(&options, sizeof options));
    options.dtype = SFT_BFLOAT16;
    OK(sft_model_open(directory, SFT_ZSTRING, &options, &narrow));
    FAILS(sft_model_copy_from(model, narrow), SFT_INVALID_ARGUMENT,
          "the model keeps its weights in float32, the other in bfloat16");
    options.quantization = SFT_QUANTIZATION_INT8;
    OK(sft_model_open(directory, SFT_ZSTRING, &options, &small));
    FAILS(sft_model_copy_from(small, narrow), SFT_UNSUPPORTED, "int8");
    FAILS(sft_model_copy_from(model, NULL), SFT_INVALID_ARGUMENT, "argument 'source' is NULL");
    sft_trainer_free(trainer);
    sft_model_free(model);
    sft_model_free(before);
    sft_model_free(narrow);
    sft_model_free(small);
}

static void test_memory(const char *directory) {
    sft_memory_options options;
    sft_training_memory plain, memory;
    sft_model *model = open_model(directory);
    sft_model_info info;
    OK(sft_model_get_info(model, &info, sizeof info));
    OK(sft_estimate_training_memory(directory, SFT_ZSTRING, NULL, &plain, sizeof plain));
    CHECK(plain.weights >= 4 * info.weights && plain.weights < 4 * info.weights + 65536);
    CHECK(plain.gradients == 0 && plain.optimizer == 0 && plain.activations > 0);
    CHECK(plain.total == plain.weights + plain.activations && plain.available > 1000000);

    OK(sft_memory_options_init(&options, sizeof options));
    CHECK(options.tokens == 4096 && options.accumulation == 1 && options.optimizer == SFT_OPTIMIZER_SGD);
    options.optimizer = SFT_OPTIMIZER_ADAMW;
    options.dtype = SFT_BFLOAT16;
    options.clips_gradients = 1;
    options.tokens = 512;
    options.supervised_tokens = 100;
    OK(sft_estimate_training_memory(directory, SFT_ZSTRING, &options, &memory, sizeof memory));
    CHECK(memory.weights < plain.weights && memory.optimizer == 2 * memory.gradients && memory.gradients > 0);
    CHECK(memory.activations < plain.activations);
    options.recomputation = 1;
    OK(sft_estimate_training_memory(directory, SFT_ZSTRING, &options, &plain, sizeof plain));
    CHECK(plain.activations < memory.activations);

    /* An adapter on quantized weights; numbers of an optimizer in 8 bits. */
    sft_training_memory adapter, full;
    OK(sft_estimate_training_memory(directory, SFT_ZSTRING, &options, &full, sizeof full));
    options.optimizer = SFT_OPTIMIZER_ADAMW_8BIT;
    OK(sft_estimate_training_memory(directory, SFT_ZSTRING, &options, &memory, sizeof memory));
    CHECK(memory.optimizer * 3 < full.optimizer && memory.optimizer * 4 > full.optimizer);
    options.optimizer = SFT_OPTIMIZER_ADAMW;
    options.adapter = "{\"r\": 2}";
    options.adapter_size = SFT_ZSTRING;
    options.quantization = SFT_QUANTIZATION_INT8;
    OK(sft_estimate_training_memory(directory, SFT_ZSTRING, &options, &adapter, sizeof adapter));
    CHECK(adapter.weights < full.weights && adapter.gradients > 0 && adapter.gradients * 10 < full.gradients);
    CHECK(adapter.optimizer == 2 * adapter.gradients);
    options.adapter = "{\"rank\": 2}";
    FAILS(sft_estimate_training_memory(directory, SFT_ZSTRING, &options, &memory, sizeof memory), SFT_INVALID_ARGUMENT,
          "'rank' is not known");
    options.adapter = NULL;
    FAILS(sft_estimate_training_memory(directory, SFT_ZSTRING, &options, &memory, sizeof memory), SFT_UNSUPPORTED,
          "only an adapter can be trained");
    options.quantization = SFT_QUANTIZATION_NONE;

    options.optimizer = 4;
    FAILS(sft_estimate_training_memory(directory, SFT_ZSTRING, &options, &memory, sizeof memory), SFT_INVALID_ARGUMENT,
          "'optimizer' is 4, expected an SFT_OPTIMIZER constant");
    CHECK(memory.total == 0);
    options.optimizer = SFT_OPTIMIZER_SGD_MOMENTUM;
    options.tokens = 0;
    FAILS(sft_estimate_training_memory(directory, SFT_ZSTRING, &options, &memory, sizeof memory), SFT_INVALID_ARGUMENT,
          "'tokens' is 0, expected at least 1");
    FAILS(sft_estimate_training_memory("/nowhere", SFT_ZSTRING, NULL, &memory, sizeof memory), SFT_NOT_FOUND, "/nowhere");
    sft_model_free(model);
}

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    sft_tokenizer *tokenizer;
    sft_batch *both, *wrong;
    sft_preprocess_options options;
    char path[4096];
    OK(sft_tokenizer_open(argv[1], SFT_ZSTRING, &tokenizer));
    OK(sft_preprocess_options_init(&options, sizeof options));
    options.label_policy = SFT_LABELS_ASSISTANT;
    options.add_default_system = 1;
    OK(sft_preprocess(tokenizer, conversations, sizeof(sft_message), message_counts, 2, &options, &both));
    OK(sft_preprocess(tokenizer, conversations + 2, sizeof(sft_message), message_counts, 1, &options, &wrong));
    snprintf(path, sizeof path, "%s.state", argv[0]);
    test_losses(argv[1], both);
    test_parameters(argv[1], both);
    test_state(argv[1], both, path);
    test_clone(argv[1], wrong);
    test_copy(argv[1], both);
    test_memory(argv[1]);
    sft_batch_free(both);
    sft_batch_free(wrong);
    sft_tokenizer_free(tokenizer);
    return finish();
}
