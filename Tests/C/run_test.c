/* Section 8: datasets, runs, the loss curve; and two threads at one model. */
#include "check.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>

static const sft_message messages[] = {
    SFT_MESSAGE("user", "2+2"), SFT_MESSAGE("assistant", "5"), SFT_MESSAGE("user", "hi"),
    SFT_MESSAGE("user", "3+3"), SFT_MESSAGE("assistant", "7"),
};
static const size_t counts[] = {2, 1, 2};

static sft_dataset *make_dataset(const sft_tokenizer *tokenizer) {
    sft_preprocess_options options;
    sft_dataset_options how;
    sft_dataset *dataset;
    sft_dataset_info info;
    OK(sft_preprocess_options_init(&options, sizeof options));
    options.label_policy = SFT_LABELS_ASSISTANT;
    FAILS(sft_dataset_create(tokenizer, messages, sizeof(sft_message), counts, 3, &options, NULL, &dataset),
          SFT_NO_SUPERVISED_TOKENS, "row 1: no token is supervised");
    OK(sft_dataset_options_init(&how, sizeof how));
    how.drops_unusable = 3;
    FAILS(sft_dataset_create(tokenizer, messages, sizeof(sft_message), counts, 3, &options, &how, &dataset),
          SFT_INVALID_ARGUMENT, "'drops_unusable' is 3, expected 0 or 1");
    CHECK(dataset == NULL);
    how.drops_unusable = 1;
    OK(sft_dataset_create(tokenizer, messages, sizeof(sft_message), counts, 3, &options, &how, &dataset));
    OK(sft_dataset_get_info(dataset, &info, sizeof info));
    CHECK(info.conversations == 2 && info.without_target == 1 && info.too_long == 0 && info.truncated == 0);
    CHECK(info.supervised_tokens == 4 && info.tokens > 20);
    return dataset;
}

static void test_open(const sft_tokenizer *tokenizer, const char *scratch) {
    sft_dataset *dataset;
    sft_dataset_info info;
    FAILS(sft_dataset_open(tokenizer, "/nowhere.jsonl", SFT_ZSTRING, NULL, NULL, &dataset), SFT_NOT_FOUND, "/nowhere.jsonl");
    FILE *file = fopen(scratch, "w");
    fputs("{\"messages\": [{\"role\": \"user\", \"content\": \"2+2\"}]}\n\n{\"messages\": 7}\n", file);
    fclose(file);
    FAILS(sft_dataset_open(tokenizer, scratch, SFT_ZSTRING, NULL, NULL, &dataset), SFT_INVALID_FILE, ".jsonl:3:");
    CHECK(dataset == NULL);
    file = fopen(scratch, "w");
    fputs("{\"messages\": [{\"role\": \"user\", \"content\": \"2+2\"}]}\n", file);
    fclose(file);
    OK(sft_dataset_open(tokenizer, scratch, SFT_ZSTRING, NULL, NULL, &dataset));
    OK(sft_dataset_get_info(dataset, &info, sizeof info));
    CHECK(info.conversations == 1);
    sft_dataset_free(dataset);
}

/* JSON Lines that come from a function in pieces of so many bytes. */
struct source {
    const char *text;
    size_t piece;
};

static int64_t read_source(void *user_data, char *buffer, size_t capacity) {
    struct source *source = (struct source *)user_data;
    size_t size = strlen(source->text);
    if (source->piece == 0) return -1;
    if (size > source->piece) size = source->piece;
    if (size > capacity) size = capacity;
    memcpy(buffer, source->text, size);
    source->text += size;
    return (int64_t)size;
}

static int64_t read_too_much(void *user_data, char *buffer, size_t capacity) {
    (void)user_data;
    (void)buffer;
    return (int64_t)capacity + 1;
}

static const char rows[] = "{\"question\": \"2+2\", \"answer\": \"4\"}\n{\"question\": \"3+3\", \"answer\": \"6\"}\n"
                           "{\"question\": \"2+2\", \"answer\": \"4\"}\n{\"question\": \"<|im_end|>\", \"answer\": \"\"}";

static void test_read(const sft_tokenizer *tokenizer) {
    struct source source = {rows, 7};
    sft_dataset_options how;
    sft_dataset *dataset, *training, *validation;
    sft_dataset_info info, parts[2];
    sft_dataset_role role;
    sft_batch *batch;
    sft_batch_view view;
    char text[1000];
    size_t lines[4], count, size;
    OK(sft_dataset_read(tokenizer, read_source, &source, NULL, NULL, &dataset));
    OK(sft_dataset_get_info(dataset, &info, sizeof info));
    CHECK(info.read == 4 && info.conversations == 4 && info.rows == 4 && info.duplicates == 1 && info.control_tokens == 1);
    CHECK(info.roles == 2 && info.shortest <= info.median && info.median <= info.percentile_95);
    CHECK(info.percentile_95 <= info.longest && info.shortest * 4 <= info.tokens && info.longest * 4 >= info.tokens);
    OK(sft_dataset_lines(dataset, SFT_PART_KEPT, lines, 4, &count));
    CHECK(count == 4 && lines[0] == 0 && lines[3] == 3);
    OK(sft_dataset_lines(dataset, SFT_PART_DUPLICATES, lines, 4, &count));
    CHECK(count == 1 && lines[0] == 2);
    OK(sft_dataset_lines(dataset, SFT_PART_CONTROL_TOKENS, lines, 4, &count));
    CHECK(count == 1 && lines[0] == 3);
    OK(sft_dataset_lines(dataset, SFT_PART_TOO_LONG, lines, 4, &count));
    CHECK(count == 0);
    FAILS(sft_dataset_lines(dataset, SFT_PART_KEPT, lines, 3, &count), SFT_BUFFER_TOO_SMALL, "4 elements");
    FAILS(sft_dataset_lines(dataset, 9, lines, 4, &count), SFT_INVALID_ARGUMENT, "'part' is 9, expected an SFT_PART");
    OK(sft_dataset_get_role(dataset, 1, &role, sizeof role));
    CHECK_TEXT(role.name, "assistant");
    CHECK(role.name_size == 9 && role.messages == 4);
    FAILS(sft_dataset_get_role(dataset, 2, &role, sizeof role), SFT_INVALID_ARGUMENT, "the dataset has 2 roles");
    OK(sft_dataset_describe(dataset, text, sizeof text, &size));
    CHECK(strncmp(text, "conversations: 4 of 4 conversations (prompt_completion (prompt=question, completion=answer))", 90) == 0);
    CHECK(strstr(text, "\n  1 equal to an earlier one (row 2)\n") != NULL && size == strlen(text));

    FAILS(sft_dataset_batch(dataset, lines, 0, &batch), SFT_INVALID_ARGUMENT, "a batch of 0 rows");
    lines[0] = 3;
    lines[1] = 0;
    OK(sft_dataset_batch(dataset, lines, 2, &batch));
    OK(sft_batch_get_view(batch, &view, sizeof view));
    CHECK(view.rows == 2);
    sft_batch_free(batch);
    lines[1] = 4;
    FAILS(sft_dataset_batch(dataset, lines, 2, &batch), SFT_INVALID_ARGUMENT, "there is no conversation 4 among 4");

    OK(sft_dataset_split(dataset, 0.25, 7, &training, &validation));
    OK(sft_dataset_get_info(training, &parts[0], sizeof parts[0]));
    OK(sft_dataset_get_info(validation, &parts[1], sizeof parts[1]));
    CHECK(parts[0].conversations == 3 && parts[1].conversations == 1);
    CHECK(parts[0].tokens + parts[1].tokens == info.tokens);
    sft_dataset_free(training);
    sft_dataset_free(validation);
    OK(sft_dataset_split(dataset, 0, 7, &training, &validation));
    CHECK(validation == NULL && training != NULL);
    sft_dataset_free(training);
    FAILS(sft_dataset_split(dataset, 1, 7, &training, &validation), SFT_INVALID_ARGUMENT, "the share for validation is 1.0");
    sft_dataset_free(dataset);

    OK(sft_dataset_options_init(&how, sizeof how));
    how.columns = "prompt=question,completion=answer";
    how.columns_size = SFT_ZSTRING;
    how.format = SFT_FORMAT_PROMPT_COMPLETION;
    how.limit = 2;
    source.text = rows;
    OK(sft_dataset_read(tokenizer, read_source, &source, NULL, &how, &dataset));
    OK(sft_dataset_get_info(dataset, &info, sizeof info));
    CHECK(info.read == 2);
    sft_dataset_free(dataset);
    how.limit = 0;
    how.is_strict = 1;
    source.text = rows;
    FAILS(sft_dataset_read(tokenizer, read_source, &source, NULL, &how, &dataset), SFT_INVALID_FILE,
          "conversations: 1 equal to an earlier one (row 2); 1 with control tokens in a text, where they are text (row 3)");
    how.format = SFT_FORMAT_ALPACA;
    source.text = rows;
    FAILS(sft_dataset_read(tokenizer, read_source, &source, NULL, &how, &dataset), SFT_INVALID_ARGUMENT,
          "row 0: format 'alpaca' needs 'instruction', 'output'; found 'question', 'answer'");
    how.format = 9;
    FAILS(sft_dataset_read(tokenizer, read_source, &source, NULL, &how, &dataset), SFT_INVALID_ARGUMENT,
          "'format' is 9, expected an SFT_FORMAT constant");
    how.format = SFT_FORMAT_DETECT;
    how.columns = "question";
    FAILS(sft_dataset_read(tokenizer, read_source, &source, NULL, &how, &dataset), SFT_INVALID_ARGUMENT,
          "the map 'question' is not of the form");
    source.piece = 0;
    FAILS(sft_dataset_read(tokenizer, read_source, &source, NULL, NULL, &dataset), SFT_CANCELLED, "gave up");
    FAILS(sft_dataset_read(tokenizer, read_too_much, NULL, NULL, NULL, &dataset), SFT_INVALID_ARGUMENT, "bytes where");
    FAILS(sft_dataset_read(tokenizer, NULL, NULL, NULL, NULL, &dataset), SFT_INVALID_ARGUMENT, "'read' is NULL");
    CHECK(dataset == NULL);
}

static void test_run(sft_model *model, const sft_dataset *dataset, const char *state) {
    sft_trainer *trainer;
    sft_run *run, *second;
    sft_run_options options;
    sft_run_step step, last;
    sft_step_metrics metrics;
    double losses[16];
    size_t count, size, steps = 0;
    OK(sft_trainer_create_sgd(model, NULL, NULL, &trainer));
    OK(sft_run_options_init(&options, sizeof options));
    CHECK(options.epochs == 1 && options.batch_size == 8 && options.max_batch_tokens == 4096 && options.shuffles == 1);
    options.epochs = 3;
    options.batch_size = 1;
    options.schedule = SFT_SCHEDULE_LINEAR;
    OK(sft_run_create(trainer, dataset, &options, &run));
    OK(sft_run_evaluate(run, dataset, &metrics, sizeof metrics));
    sft_step_metrics alone;
    OK(sft_evaluate_dataset(trainer, dataset, &options, &alone, sizeof alone));
    CHECK(alone.loss == metrics.loss && alone.supervised_tokens == 4 && !alone.has_grad_norm);
    OK(sft_evaluate_dataset(trainer, dataset, NULL, NULL, 0));
    FAILS(sft_evaluate_dataset(trainer, NULL, NULL, NULL, 0), SFT_INVALID_ARGUMENT, "argument 'dataset' is NULL");
    memset(&last, 0, sizeof last);
    for (;; last = step, steps++) {
        OK(sft_run_next(run, &step, sizeof step));
        if (step.step == 0) break;
        CHECK(step.step == steps + 1 && step.total_steps == 6 && step.epoch == steps / 2 && step.conversations == 1);
        CHECK(isfinite(step.loss) && step.lr <= 1e-3 && !step.is_refused);
    }
    CHECK(steps == 6 && last.lr < 2e-4);
    OK(sft_run_losses(run, losses, 16, &count));
    CHECK(count == 6 && losses[5] == last.loss);
    FAILS(sft_run_losses(run, losses, 2, &count), SFT_BUFFER_TOO_SMALL, "elements");

    static char svg[1 << 16], same[1 << 16];
    FAILS(sft_run_save_report(run, "/proc/none/run.html", SFT_ZSTRING, "Run", SFT_ZSTRING), SFT_NOT_FOUND, "/proc/none");
    OK(sft_run_svg(run, "A <run>", SFT_ZSTRING, svg, sizeof svg, &size));
    CHECK(strncmp(svg, "<svg ", 5) == 0 && strstr(svg, "A &lt;run") != NULL && strlen(svg) == size);
    const size_t evaluation_step = 0;
    OK(sft_loss_curve_svg(losses, 6, &evaluation_step, &metrics.loss, 1, "A <run>", SFT_ZSTRING, same, sizeof same, &size));
    CHECK_TEXT(same, svg);
    const size_t bad_step = (size_t)-1;
    FAILS(sft_loss_curve_svg(losses, 6, &bad_step, losses, 1, "", 0, same, sizeof same, &size), SFT_INVALID_ARGUMENT,
          "evaluation_steps[0]");
    FAILS(sft_loss_curve_svg(NULL, 6, NULL, NULL, 0, "", 0, same, sizeof same, &size), SFT_INVALID_ARGUMENT,
          "argument 'losses' is NULL");

    OK(sft_run_save_state(run, state, SFT_ZSTRING));
    OK(sft_run_create(trainer, dataset, &options, &second));
    OK(sft_run_load_state(second, state, SFT_ZSTRING));
    OK(sft_run_next(second, &step, sizeof step));
    CHECK(step.step == 0);
    sft_run_free(second);
    options.batch_size = 2;
    OK(sft_run_create(trainer, dataset, &options, &second));
    FAILS(sft_run_load_state(second, state, SFT_ZSTRING), SFT_INVALID_ARGUMENT,
          "was saved by another run: batch_size was 1 and is 2");
    sft_run_free(second);
    options.schedule = 9;
    FAILS(sft_run_create(trainer, dataset, &options, &second), SFT_INVALID_ARGUMENT,
          "'schedule' is 9, expected an SFT_SCHEDULE constant");
    options.schedule = 0;
    options.epochs = 0;
    FAILS(sft_run_create(trainer, dataset, &options, &second), SFT_INVALID_ARGUMENT, "epochs must be above 0");
    FAILS(sft_run_next(run, &step, 3), SFT_INVALID_ARGUMENT, "'step': 3 is no possible size");
    sft_trainer_free(trainer);
    OK(sft_run_next(run, &step, sizeof step));
    sft_run_free(run);
}

static sft_trainer *recipe_trainer(sft_model *model) {
    sft_trainer *trainer;
    sft_adamw_options adamw;
    sft_sgd_options sgd;
    sft_trainer_options options;
    OK(sft_recipe_init(model, &adamw, sizeof adamw, &sgd, sizeof sgd, &options, sizeof options));
    CHECK(adamw.lr == 1e-5 && adamw.weight_decay == 0.01 && sgd.lr == 1e-3);
    CHECK(options.max_grad_norm == 1 && options.decays_vectors == 0 && options.struct_size == sizeof options);
    FAILS(sft_recipe_init(model, &adamw, 3, NULL, 0, NULL, 0), SFT_INVALID_ARGUMENT, "'adamw': 3 is no possible size");
    FAILS(sft_recipe_init(NULL, NULL, 0, NULL, 0, NULL, 0), SFT_INVALID_ARGUMENT, "argument 'model' is NULL");
    adamw.lr = 1e-3;
    OK(sft_trainer_create_adamw(model, &adamw, &options, &trainer));
    return trainer;
}

/* A run that is watched over: events in order, a snapshot, a checkpoint, the result. */
static void test_events(sft_model *model, const sft_tokenizer *tokenizer, const sft_dataset *dataset, const char *output) {
    sft_trainer *trainer = recipe_trainer(model);
    sft_run *run, *again;
    sft_run_options options;
    sft_run_event event;
    sft_run_info info;
    const sft_text prompts[] = {SFT_TEXT("2+2")};
    char seen[64] = "";
    char json[1 << 14];
    size_t size, count = 0;
    OK(sft_run_options_init(&options, sizeof options));
    CHECK(options.epochs == 1 && options.keep_last == 1 && options.max_refused_steps == 5 && options.max_answer_tokens == 64);
    options.epochs = 1.5;
    options.batch_size = 1;
    options.validation = dataset;
    options.tokenizer = tokenizer;
    options.prompts = prompts;
    options.prompt_count = 1;
    options.max_answer_tokens = 4;
    options.probes_forgetting = 1;
    options.output = output;
    options.output_size = SFT_ZSTRING;
    options.save_every = 1;
    options.stopped = 9;
    FAILS(sft_run_create(trainer, dataset, &options, &run), SFT_INVALID_ARGUMENT, "'stopped' is 9");
    options.stopped = SFT_STOPPED_RUN_OVERWRITE;
    OK(sft_run_create(trainer, dataset, &options, &run));
    OK(sft_run_get_info(run, &info, sizeof info));
    CHECK(info.step == 0 && info.total_steps == 3 && info.steps_per_epoch == 2 && info.best_step == 0 && !info.has_ended);
    FAILS(sft_run_roll_back(run), SFT_INVALID_ARGUMENT, "there is no snapshot to roll back to");
    FAILS(sft_run_next_event(run, &event, 3), SFT_INVALID_ARGUMENT, "'event': 3 is no possible size");
    for (int rolled_back = 0;;) {
        OK(sft_run_next_event(run, &event, sizeof event));
        if (event.kind == SFT_RUN_EVENT_NONE) break;
        CHECK(count < sizeof seen - 1 && event.total_steps == 3);
        seen[count++] = "0SEAWDX"[event.kind];
        if (event.kind == SFT_RUN_EVENT_STEP) {
            CHECK(event.conversations == 1 && isfinite(event.loss) && event.has_grad_norm && event.lr == 1e-3);
            CHECK(isfinite(event.seconds_left));
        }
        if (event.kind == SFT_RUN_EVENT_EVALUATION) CHECK(isfinite(event.loss) && event.supervised_tokens > 0);
        if (event.kind == SFT_RUN_EVENT_ANSWER) CHECK(event.text != NULL && strcmp(event.prompt, "2+2") == 0);
        if (event.kind == SFT_RUN_EVENT_SAVED) {
            CHECK(strstr(event.text, "step-") != NULL && strlen(event.text) == event.text_size);
            if (event.step == 1 && !rolled_back) {
                OK(sft_run_snapshot(run));
                OK(sft_run_set_lr(run, 5e-4));
                OK(sft_run_next_event(run, &event, sizeof event));
                CHECK(event.kind == SFT_RUN_EVENT_STEP && event.step == 2 && event.lr == 5e-4);
                OK(sft_run_roll_back(run));
                rolled_back = 1;
                /* Stopped here, another would be in its way; and it could go on. */
                options.stopped = SFT_STOPPED_RUN_REFUSE;
                FAILS(sft_run_create(trainer, dataset, &options, &again), SFT_INVALID_ARGUMENT, "was stopped after step 1");
            }
        }
        if (event.kind == SFT_RUN_EVENT_ENDED) CHECK_TEXT(event.text, "completed");
    }
    /* Evaluation, general questions, answer; two steps and their checkpoint; the same at the end of the epoch; the rest. The
     * checkpoint of step 1 is saved again after going back. */
    CHECK(strncmp(seen, "EEASD", 5) == 0 && seen[count - 1] == 'X');
    OK(sft_run_history(run, json, sizeof json, &size));
    CHECK(strstr(json, "\"steps\":{\"step\":[1,2,3]") != NULL && strlen(json) == size);
    CHECK(strstr(json, "\"data\":[\"validation\",\"general\",") != NULL);
    OK(sft_run_get_info(run, &info, sizeof info));
    CHECK(info.step == 3 && info.has_ended && info.best_step > 0 && isfinite(info.best_loss) && info.lr == 1e-3);
    OK(sft_run_end(run));
    OK(sft_run_save_result(run, output, SFT_ZSTRING, SFT_FLOAT32));
    FAILS(sft_run_save_result(run, output, SFT_ZSTRING, 77), SFT_INVALID_ARGUMENT, "'dtype' is 77");
    sft_run_free(run);

    /* A place that cannot be written is told before the first step. */
    options.output = "/proc/none/output";
    options.output_size = SFT_ZSTRING;
    FAILS(sft_run_create(trainer, dataset, &options, &run), SFT_NOT_FOUND, "/proc/none");
    /* All else is looked at first: checking the place makes directories. */
    options.epochs = -1;
    FAILS(sft_run_create(trainer, dataset, &options, &run), SFT_INVALID_ARGUMENT, "epochs must be above 0");
    options.epochs = 1.5;
    options.stopped = 9;
    FAILS(sft_run_create(trainer, dataset, &options, &run), SFT_INVALID_ARGUMENT, "'stopped' is 9");
    options.stopped = SFT_STOPPED_RUN_OVERWRITE;
    options.output = output;

    /* Stopped and gone on with. */
    options.probes_forgetting = 0;
    options.stopped = SFT_STOPPED_RUN_REFUSE;
    OK(sft_run_create(trainer, dataset, &options, &run));
    sft_run_step step;
    OK(sft_run_next(run, &step, sizeof step));
    OK(sft_run_save_checkpoint(run));
    sft_run_free(run);
    options.stopped = SFT_STOPPED_RUN_RESUME;
    options.seed = 7;
    FAILS(sft_run_create(trainer, dataset, &options, &run), SFT_INVALID_ARGUMENT, "shuffled with seed 0 and is shuffled with seed 7");
    options.seed = 0;
    options.validation = NULL;
    OK(sft_run_create(trainer, dataset, &options, &run));
    OK(sft_run_next(run, &step, sizeof step));
    CHECK(step.step == 2);
    options.stopped = SFT_STOPPED_RUN_OVERWRITE;
    OK(sft_run_create(trainer, dataset, &options, &again));
    sft_run_free(again);
    sft_run_free(run);
    options.output = NULL;
    OK(sft_run_create(trainer, dataset, &options, &run));
    FAILS(sft_run_save_checkpoint(run), SFT_INVALID_ARGUMENT, "has no directory");
    sft_run_free(run);
    sft_trainer_free(trainer);
}

static int32_t cancel(void *user_data, uint64_t done, uint64_t total) {
    CHECK(done <= total && total > 0);
    return *(int32_t *)user_data;
}

static void test_cancel(sft_model *model, const sft_dataset *dataset) {
    int32_t wanted = 1;
    sft_trainer_options options;
    sft_trainer *trainer;
    sft_run *run;
    sft_run_step step;
    size_t count;
    OK(sft_trainer_options_init(&options, sizeof options));
    options.on_progress = cancel;
    options.user_data = &wanted;
    OK(sft_trainer_create_sgd(model, NULL, &options, &trainer));
    OK(sft_run_create(trainer, dataset, NULL, &run));
    FAILS(sft_run_next(run, &step, sizeof step), SFT_CANCELLED, "cancelled");
    OK(sft_run_losses(run, NULL, 0, &count));
    CHECK(count == 0 && step.step == 0);
    wanted = 0;
    OK(sft_run_next(run, &step, sizeof step));
    CHECK(step.step == 1 && step.total_steps == 1);
    sft_run_free(run);
    sft_trainer_free(trainer);
}

typedef struct contender {
    sft_trainer *trainer;
    const sft_batch *batch;
    int done, busy, other;
} contender;

static void *contend(void *argument) {
    contender *self = (contender *)argument;
    for (int i = 0; i < 60; i++) {
        sft_step_metrics metrics;
        sft_status status = sft_train_step(self->trainer, self->batch, &metrics, sizeof metrics);
        if (status == SFT_OK && isfinite(metrics.loss)) self->done++;
        else if (status == SFT_BUSY && strcmp(sft_last_error(), "the model is in use on another thread") == 0) self->busy++;
        else self->other++;
    }
    return NULL;
}

/* Two threads step at once: every step is done whole or refused. */
static void test_busy(sft_model *model, const sft_tokenizer *tokenizer) {
    sft_batch *batch;
    sft_trainer *trainer;
    pthread_t threads[2];
    contender contenders[2];
    memset(contenders, 0, sizeof contenders);
    OK(sft_preprocess(tokenizer, messages, sizeof(sft_message), counts, 1, NULL, &batch));
    OK(sft_trainer_create_sgd(model, NULL, NULL, &trainer));
    for (int i = 0; i < 2; i++) {
        contenders[i].trainer = trainer;
        contenders[i].batch = batch;
        CHECK(pthread_create(&threads[i], NULL, contend, &contenders[i]) == 0);
    }
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    CHECK(contenders[0].done + contenders[1].done > 0);
    CHECK(contenders[0].other + contenders[1].other == 0);
    printf("two threads: %d steps done, %d refused as busy\n", contenders[0].done + contenders[1].done,
           contenders[0].busy + contenders[1].busy);
    sft_trainer_free(trainer);
    sft_batch_free(batch);
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    sft_tokenizer *tokenizer;
    sft_model *model;
    char file[4096], state[4096], output[4096];
    snprintf(file, sizeof file, "%s.jsonl", argv[0]);
    snprintf(state, sizeof state, "%s.state", argv[0]);
    snprintf(output, sizeof output, "%s.output", argv[0]);
    OK(sft_tokenizer_open(argv[1], SFT_ZSTRING, &tokenizer));
    OK(sft_model_open(argv[1], SFT_ZSTRING, NULL, &model));
    sft_dataset *dataset = make_dataset(tokenizer);
    test_open(tokenizer, file);
    test_read(tokenizer);
    test_run(model, dataset, state);
    test_events(model, tokenizer, dataset, output);
    test_cancel(model, dataset);
    test_busy(model, tokenizer);
    sft_dataset_free(dataset);
    sft_model_free(model);
    sft_tokenizer_free(tokenizer);
    return finish();
}
