/*
 * A chat that learns from being corrected, all in one process.
 *
 *     correction CHECKPOINT [LEARNING_RATE]
 *
 * Every line of the input is said to the model. A line that begins with "!" is what it should have answered to the line
 * before: the model is trained on that, and a new conversation begins, so that the next answer comes from its weights and
 * not from what was said before.
 *
 *     > 2+2等于几
 *     2+2等于4。
 *     > !2+2等于5。
 *     (learned in 7 steps, loss 2.1873 -> 0.0412)
 *     > 2+2等于几
 *     2+2等于5。
 *
 *     cc correction.c $(pkg-config --cflags --libs qwensft) -o correction
 */
#include <qwensft.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_STEPS = 30 };
static const double WELL_LEARNED = 0.05; /* nats a token; further steps would only wear down everything else */

static void check(sft_status status) {
    if (status == SFT_OK) return;
    fprintf(stderr, "correction: %s (%s)\n", sft_last_error(), sft_status_name(status));
    exit(1);
}

static int32_t print_piece(void *user_data, const sft_piece *piece) {
    (void)user_data;
    fwrite(piece->text, 1, piece->text_size, stdout);
    fflush(stdout);
    return 0;
}

/* Says the question to the model and prints the answer as it comes. */
static void ask(sft_session *session, const char *question) {
    sft_generation_options options;
    check(sft_generation_options_init(&options, sizeof options));
    options.do_sample = 0; /* greedy: the same weights give the same answer */
    options.repetition_penalty = 1;
    options.on_piece = print_piece;

    sft_generation *answer;
    check(sft_session_send(session, question, SFT_ZSTRING, &options, &answer));
    printf("\n");
    sft_generation_free(answer);
}

/* The session's conversation as a batch, of which the last answer is to be learned. What it begins with is what the model
 * was asked: the session's messages are all that the model saw, the default system prompt included. */
static sft_batch *lesson(const sft_session *session, const sft_tokenizer *tokenizer) {
    const size_t count = sft_session_message_count(session);
    sft_message *messages = (sft_message *)calloc(count, sizeof(sft_message));
    if (messages == NULL) {
        fprintf(stderr, "correction: no memory\n");
        exit(1);
    }
    for (size_t i = 0; i < count; i++) check(sft_session_get_message(session, i, &messages[i], sizeof messages[i]));

    sft_preprocess_options options;
    check(sft_preprocess_options_init(&options, sizeof options));
    options.label_policy = SFT_LABELS_LAST_ASSISTANT;
    sft_batch *batch;
    check(sft_preprocess(tokenizer, messages, sizeof(sft_message), &count, 1, &options, &batch));
    free(messages);
    return batch;
}

/* Trains the model to give `answer` where it gave its last one. */
static void learn(sft_trainer *trainer, const sft_tokenizer *tokenizer, sft_session *session, const char *answer) {
    if (sft_session_replace_answer(session, answer, SFT_ZSTRING) != SFT_OK) {
        printf("(there is no answer to correct yet)\n");
        return;
    }
    sft_batch *batch = lesson(session, tokenizer);
    sft_step_metrics metrics;
    double first = 0;
    int step = 0;
    do {
        check(sft_train_step(trainer, batch, &metrics, sizeof metrics));
        if (step++ == 0) first = metrics.loss;
    } while (metrics.loss > WELL_LEARNED && step < MOST_STEPS);
    printf("(learned in %d steps, loss %.4f -> %.4f)\n", step, first, metrics.loss);
    sft_batch_free(batch);
    check(sft_session_reset(session));
}

int main(int argc, char **argv) {
    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: correction CHECKPOINT [LEARNING_RATE]\n");
        return 2;
    }
    sft_tokenizer *tokenizer;
    sft_model *model;
    sft_trainer *trainer;
    sft_session *session;
    sft_sgd_options sgd;
    check(sft_tokenizer_open(argv[1], SFT_ZSTRING, &tokenizer));
    check(sft_model_open(argv[1], SFT_ZSTRING, NULL, &model));
    check(sft_sgd_options_init(&sgd, sizeof sgd));
    if (argc == 3) sgd.lr = atof(argv[2]);
    check(sft_trainer_create_sgd(model, &sgd, NULL, &trainer));

    check(sft_session_create(model, tokenizer, NULL, sizeof(sft_message), 0, SFT_TEMPLATE_CHECKPOINT, &session));

    static char line[16384];
    while (printf("> "), fflush(stdout), fgets(line, sizeof line, stdin) != NULL) {
        line[strcspn(line, "\r\n")] = '\0';
        if (line[0] == '!') learn(trainer, tokenizer, session, line + 1);
        else if (line[0] != '\0') ask(session, line);
    }
    printf("\n");
    sft_session_free(session);
    sft_trainer_free(trainer);
    sft_model_free(model);
    sft_tokenizer_free(tokenizer);
    return 0;
}
