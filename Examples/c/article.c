/*
 * Fine-tunes a chat model on one question and watches its answer change.
 *
 *     article CHECKPOINT [OUTPUT [LEARNING_RATE]]
 *
 * asks the model of a checkpoint directory a question, shows it another answer ten times, asks again, and with OUTPUT
 * saves the fine-tuned checkpoint there.
 *
 *     cc article.c $(pkg-config --cflags --libs qwensft) -o article
 */
#include <qwensft.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Ends the program with the library's own words where a call failed. */
static void check(sft_status status) {
    if (status == SFT_OK) return;
    fprintf(stderr, "article: %s (%s)\n", sft_last_error(), sft_status_name(status));
    exit(1);
}

static void *allocate(size_t count, size_t size) {
    void *memory = calloc(count > 0 ? count : 1, size);
    if (memory == NULL) {
        fprintf(stderr, "article: no memory\n");
        exit(1);
    }
    return memory;
}

static void show_warning(void *user_data, const char *message, size_t size) {
    (void)user_data;
    fprintf(stderr, "article: warning: %.*s\n", (int)size, message);
}

static void show_tokenizer(const sft_tokenizer *tokenizer) {
    size_t size;
    sft_status status = sft_tokenizer_summary(tokenizer, NULL, 0, &size);
    if (status != SFT_BUFFER_TOO_SMALL) check(status);
    char *text = (char *)allocate(size + 1, 1);
    check(sft_tokenizer_summary(tokenizer, text, size + 1, &size));
    printf("%s\n\n", text);
    free(text);
}

/* What the model answers to the first `count` messages. Greedy, so that it is the same answer every time. */
static void ask(sft_model *model, const sft_tokenizer *tokenizer, const sft_message *messages, size_t count) {
    sft_generation_options options;
    check(sft_generation_options_init(&options, sizeof options));
    options.do_sample = 0;
    options.repetition_penalty = 1;

    sft_generation *answer;
    check(sft_model_chat(model, tokenizer, messages, sizeof *messages, count, &options, &answer));
    printf("%s -> %s\n\n", messages[count - 1].content, sft_generation_text(answer, NULL));
    sft_generation_free(answer);
}

/* Every row of a batch: the id at each position, in brackets where it is not learned. */
static void show_labels(const sft_batch_view *batch) {
    printf("input_ids, labels, attention_mask: (%zu, %zu); [not learned]\n", batch->rows, batch->columns);
    for (size_t row = 0; row < batch->rows; row++) {
        for (size_t column = 0; column < batch->columns; column++) {
            size_t i = row * batch->columns + column;
            if (batch->attention_mask[i] == 0) break;
            printf(batch->labels[i] == -100 ? "[%lld] " : "%lld ", (long long)batch->input_ids[i]);
        }
        printf("\n");
    }
    printf("\n");
}

/* The likeliest next token after each position of the first row. */
static void show_predictions(sft_model *model, const sft_tokenizer *tokenizer, const sft_batch_view *batch) {
    sft_model_info info;
    check(sft_model_get_info(model, &info, sizeof info));
    size_t capacity = batch->rows * batch->columns * info.vocabulary_size, count;
    float *logits = (float *)allocate(capacity, sizeof *logits);
    check(sft_model_forward(model, batch->rows, batch->columns, batch->input_ids, batch->attention_mask, logits,
                            capacity, &count));
    printf("logits: (%zu, %zu, %zu)\n", batch->rows, batch->columns, info.vocabulary_size);

    int32_t *predicted = (int32_t *)allocate(batch->columns, sizeof *predicted);
    for (size_t column = 0; column < batch->columns; column++) {
        const float *row = logits + column * info.vocabulary_size;
        for (size_t id = 1; id < info.vocabulary_size; id++)
            if (row[id] > row[predicted[column]]) predicted[column] = (int32_t)id;
    }
    char text[4096];
    size_t size;
    check(sft_tokenizer_decode(tokenizer, predicted, batch->columns, 0, text, sizeof text, &size));
    printf("predicted: %.*s\n\n", (int)size, text);
    free(predicted);
    free(logits);
}

/* Steps, each on the whole batch. On a terminal the line of the last one stays and is written anew. */
static void train(sft_trainer *trainer, const sft_batch *batch, int steps) {
    int is_terminal = isatty(STDOUT_FILENO);
    for (int step = 1; step <= steps; step++) {
        sft_step_metrics metrics;
        check(sft_train_step(trainer, batch, &metrics, sizeof metrics));
        printf("%sstep %d of %d: loss %.6f over %llu tokens, %.2f s%s", is_terminal ? "\r\033[K" : "", step, steps,
               metrics.loss, (unsigned long long)metrics.supervised_tokens, metrics.seconds, is_terminal ? "" : "\n");
        fflush(stdout);
    }
    printf("%s\n", is_terminal ? "\n" : "");
}

int main(int argc, char **argv) {
    if (argc < 2 || argc > 4) {
        fprintf(stderr, "usage: article CHECKPOINT [OUTPUT [LEARNING_RATE]]\n");
        return 2;
    }
    check(sft_set_warning_callback(show_warning, NULL));

    sft_tokenizer *tokenizer;
    sft_model *model;
    check(sft_tokenizer_open(argv[1], SFT_ZSTRING, &tokenizer));
    check(sft_model_open(argv[1], SFT_ZSTRING, NULL, &model));
    show_tokenizer(tokenizer);

    /* Two conversations of three messages, one after the other. */
    const sft_message messages[] = {
        SFT_MESSAGE("system", "You are a helpful assistant."),
        SFT_MESSAGE("user", "2+2等于几"),
        SFT_MESSAGE("assistant", "2+2等于5。"),
        SFT_MESSAGE("system", "You are a helpful assistant."),
        SFT_MESSAGE("user", "2+2等于几"),
        SFT_MESSAGE("assistant", "2+2等于5。"),
    };
    const size_t message_counts[] = {3, 3};
    ask(model, tokenizer, messages, 2);

    sft_batch *batch;
    sft_batch_view view;
    check(sft_preprocess(tokenizer, messages, sizeof *messages, message_counts, 2, NULL, &batch));
    check(sft_batch_get_view(batch, &view, sizeof view));
    show_labels(&view);
    show_predictions(model, tokenizer, &view);

    sft_sgd_options sgd; /* torch's defaults: learning rate 1e-3 */
    check(sft_sgd_options_init(&sgd, sizeof sgd));
    if (argc == 4) sgd.lr = atof(argv[3]);
    sft_trainer *trainer;
    check(sft_trainer_create_sgd(model, &sgd, NULL, &trainer));
    train(trainer, batch, 10);
    ask(model, tokenizer, messages, 2);

    if (argc > 2) {
        check(sft_model_save(model, argv[2], SFT_ZSTRING, NULL));
        printf("saved to %s\n", argv[2]);
    }
    sft_trainer_free(trainer);
    sft_batch_free(batch);
    sft_model_free(model);
    sft_tokenizer_free(tokenizer);
    return 0;
}
