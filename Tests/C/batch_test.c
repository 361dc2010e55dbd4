/* Section 4: batches. */
#include "check.h"

static const sft_message messages[] = {
    SFT_MESSAGE("user", "Hi"), SFT_MESSAGE("assistant", "Hello, how are you?"),
    SFT_MESSAGE("user", "Bye"), SFT_MESSAGE("assistant", "Bye"),
};
static const size_t counts[] = {2, 2};

static void test_preprocess(const sft_tokenizer *tokenizer) {
    sft_batch *batch;
    sft_batch_view view;
    OK(sft_preprocess(tokenizer, messages, sizeof(sft_message), counts, 2, NULL, &batch));
    OK(sft_batch_get_view(batch, &view, sizeof view));
    CHECK(view.rows == 2 && view.columns > 10);
    CHECK(view.labels[0] == view.input_ids[0] && view.labels[1] == -100);
    size_t real = 0;
    for (size_t i = 0; i < view.columns; i++) real += (size_t)view.attention_mask[view.columns + i];
    CHECK(real > 8 && real < view.columns);
    CHECK(view.attention_mask[view.columns + real] == 0 && view.labels[view.columns + real] == -100);
    sft_batch_free(batch);
    sft_batch_free(NULL);
}

/* A program that was compiled with an older header has shorter messages. */
static void test_older_messages(const sft_tokenizer *tokenizer) {
    struct { const char *role; size_t role_size; const char *content; size_t content_size; double weight; } older[4];
    sft_batch *batch, *expected;
    sft_batch_view view, expected_view;
    for (int i = 0; i < 4; i++) memcpy(&older[i], &messages[i], sizeof older[i]);
    OK(sft_preprocess(tokenizer, (const sft_message *)(const void *)older, sizeof older[0], counts, 2, NULL, &batch));
    OK(sft_preprocess(tokenizer, messages, sizeof(sft_message), counts, 2, NULL, &expected));
    OK(sft_batch_get_view(batch, &view, sizeof view));
    OK(sft_batch_get_view(expected, &expected_view, sizeof expected_view));
    CHECK(view.columns == expected_view.columns);
    CHECK(memcmp(view.input_ids, expected_view.input_ids, view.rows * view.columns * sizeof *view.input_ids) == 0);
    sft_batch_free(batch);
    sft_batch_free(expected);
    FAILS(sft_preprocess(tokenizer, messages, sizeof(sft_message) - 4, counts, 2, NULL, &batch), SFT_INVALID_ARGUMENT,
          "'messages': element size is 52, expected 56");
}

static void test_options(const sft_tokenizer *tokenizer) {
    sft_batch *batch;
    sft_batch_view view;
    sft_preprocess_options options;
    OK(sft_preprocess_options_init(&options, sizeof options));
    CHECK(options.label_policy == SFT_LABELS_QWEN && options.split_special_tokens == 1 && options.max_length == 0);
    for (int32_t policy = SFT_LABELS_QWEN; policy <= SFT_LABELS_ALL; policy++) {
        options.label_policy = policy;
        OK(sft_preprocess(tokenizer, messages, sizeof(sft_message), counts, 2, &options, &batch));
        sft_batch_free(batch);
    }
    options.label_policy = SFT_LABELS_ALL;
    options.max_length = 6;
    OK(sft_preprocess(tokenizer, messages, sizeof(sft_message), counts, 2, &options, &batch));
    OK(sft_batch_get_view(batch, &view, sizeof view));
    CHECK(view.columns == 6 && view.conversations[0] == 0 && view.conversations[1] == 1);
    sft_batch_free(batch);
    options.context_length = 6;
    OK(sft_preprocess(tokenizer, messages, sizeof(sft_message), counts, 2, &options, &batch));
    sft_batch_free(batch);
    options.context_length = 5;
    FAILS(sft_preprocess(tokenizer, messages, sizeof(sft_message), counts, 2, &options, &batch), SFT_TOO_LONG,
          "row 0: 6 tokens are more than the model's context of 5");
    options.context_length = 0;

    options.label_policy = SFT_LABELS_ASSISTANT;
    FAILS(sft_preprocess(tokenizer, messages, sizeof(sft_message), counts, 2, &options, &batch),
          SFT_NO_SUPERVISED_TOKENS, "");
    CHECK(batch == NULL);
    options.label_policy = SFT_LABELS_GENERATION;
    FAILS(sft_preprocess(tokenizer, messages, sizeof(sft_message), counts, 2, &options, &batch), SFT_UNSUPPORTED,
          "generation");
    options.label_policy = 7;
    FAILS(sft_preprocess(tokenizer, messages, sizeof(sft_message), counts, 2, &options, &batch), SFT_INVALID_ARGUMENT,
          "'label_policy' is 7, expected an SFT_LABELS constant");
    options.label_policy = 0;
    options.max_length = (size_t)-1;
    FAILS(sft_preprocess(tokenizer, messages, sizeof(sft_message), counts, 2, &options, &batch), SFT_INVALID_ARGUMENT,
          "max_length");
    options.max_length = 0;
    options.add_default_system = 2;
    FAILS(sft_preprocess(tokenizer, messages, sizeof(sft_message), counts, 2, &options, &batch), SFT_INVALID_ARGUMENT,
          "'add_default_system' is 2, expected 0, 1 or -1");
}

static void test_bad_conversations(const sft_tokenizer *tokenizer) {
    sft_batch *batch;
    FAILS(sft_preprocess(tokenizer, messages, sizeof(sft_message), counts, 0, NULL, &batch), SFT_INVALID_ARGUMENT, "");
    FAILS(sft_preprocess(tokenizer, messages, sizeof(sft_message), NULL, 2, NULL, &batch), SFT_INVALID_ARGUMENT,
          "argument 'message_counts' is NULL");
    const size_t none[] = {2, 0}, impossible[] = {2, (size_t)-1};
    FAILS(sft_preprocess(tokenizer, messages, sizeof(sft_message), none, 2, NULL, &batch), SFT_INVALID_ARGUMENT, "");
    FAILS(sft_preprocess(tokenizer, messages, sizeof(sft_message), impossible, 2, NULL, &batch), SFT_INVALID_ARGUMENT,
          "message_counts[1]");
    sft_message forgotten[] = {SFT_MESSAGE("user", "Hi"), SFT_MESSAGE("assistant", "Hello")};
    forgotten[0].weight = forgotten[1].weight = 0;
    FAILS(sft_preprocess(tokenizer, forgotten, sizeof(sft_message), counts, 1, NULL, &batch), SFT_NO_SUPERVISED_TOKENS, "");
    forgotten[0].weight = -1;
    FAILS(sft_preprocess(tokenizer, forgotten, sizeof(sft_message), counts, 1, NULL, &batch), SFT_INVALID_ARGUMENT, "weight");
}

static void test_create(void) {
    sft_batch *batch;
    sft_batch_view view;
    const int64_t ids[] = {5, 6, 7, 8, 9, 0}, labels[] = {-100, 6, 7, 8, 9, -100}, mask[] = {1, 1, 1, 1, 1, 0};
    const float weights[] = {0, 1, 0.5f, 1, 1, 0};
    OK(sft_batch_create(2, 3, ids, labels, mask, weights, &batch));
    OK(sft_batch_get_view(batch, &view, sizeof view));
    CHECK(view.rows == 2 && view.columns == 3 && memcmp(view.labels, labels, sizeof labels) == 0);
    CHECK(memcmp(view.attention_mask, mask, sizeof mask) == 0 && view.token_weights[2] == 0.5f);
    CHECK(view.input_ids != ids);
    sft_batch_free(batch);
    OK(sft_batch_create(2, 3, ids, labels, NULL, NULL, &batch));
    OK(sft_batch_get_view(batch, &view, sizeof view));
    CHECK(view.attention_mask[5] == 1 && view.token_weights == NULL);
    FAILS(sft_batch_get_view(batch, NULL, sizeof view), SFT_INVALID_ARGUMENT, "argument 'view' is NULL");
    sft_batch_free(batch);

    const int64_t hole[] = {1, 0, 1, 1, 1, 1}, two[] = {2, 1, 1, 1, 1, 1}, minus[] = {5, -6, 7, 8, 9, 0};
    const float negative[] = {0, -1, 0, 0, 0, 0};
    FAILS(sft_batch_create(2, 3, ids, labels, hole, NULL, &batch), SFT_INVALID_ARGUMENT, "row 0, position 2: a 1 after 1s and 0s");
    FAILS(sft_batch_create(2, 3, ids, labels, two, NULL, &batch), SFT_INVALID_ARGUMENT, "mask");
    FAILS(sft_batch_create(2, 3, minus, labels, mask, NULL, &batch), SFT_INVALID_ARGUMENT, "-6");
    FAILS(sft_batch_create(2, 3, ids, minus, mask, NULL, &batch), SFT_INVALID_ARGUMENT, "-6");
    FAILS(sft_batch_create(2, 3, ids, labels, mask, negative, &batch), SFT_INVALID_ARGUMENT, "weight");
    FAILS(sft_batch_create(0, 3, ids, labels, mask, NULL, &batch), SFT_INVALID_ARGUMENT, "");
    FAILS(sft_batch_create(2, 3, NULL, labels, mask, NULL, &batch), SFT_INVALID_ARGUMENT, "argument 'input_ids' is NULL");
    FAILS(sft_batch_create(2, 3, ids, NULL, mask, NULL, &batch), SFT_INVALID_ARGUMENT, "argument 'labels' is NULL");
    FAILS(sft_batch_create((size_t)-1 / 4, 9, ids, labels, mask, NULL, &batch), SFT_INVALID_ARGUMENT,
          "'rows' times 'columns' is no possible size");
    CHECK(batch == NULL);
}

static void test_encode(const sft_tokenizer *tokenizer) {
    const sft_text texts[] = {SFT_TEXT("Hello, world!"), {"ab", 1}, SFT_TEXT("")};
    sft_encode_options options;
    sft_batch *batch;
    sft_batch_view view;
    OK(sft_encode_batch(tokenizer, texts, 3, NULL, &batch));
    OK(sft_batch_get_view(batch, &view, sizeof view));
    int32_t ids[64];
    size_t count, real = 0;
    OK(sft_tokenizer_encode(tokenizer, "Hello, world!", SFT_ZSTRING, 0, ids, 64, &count));
    CHECK(view.rows == 3 && view.columns == count && view.token_weights == NULL);
    for (size_t i = 0; i < count; i++) CHECK(view.input_ids[i] == ids[i] && view.attention_mask[i] == 1);
    for (size_t i = 0; i < 3 * count; i++) {
        real += view.attention_mask[i] == 1;
        CHECK(view.labels[i] == -100);
    }
    CHECK(real == count + 1);
    sft_batch_free(batch);

    OK(sft_encode_options_init(&options, sizeof options));
    CHECK(options.max_length == 0 && options.pad_to_multiple_of == 1 && options.split_special_tokens == 0);
    options.max_length = 3;
    options.min_columns = 5;
    options.pad_to_multiple_of = 4;
    OK(sft_encode_batch(tokenizer, texts, 3, &options, &batch));
    OK(sft_batch_get_view(batch, &view, sizeof view));
    CHECK(view.columns == 8 && view.attention_mask[2] == 1 && view.attention_mask[3] == 0);
    sft_batch_free(batch);

    const sft_text bad[] = {SFT_TEXT("a"), {NULL, 1}};
    FAILS(sft_encode_batch(tokenizer, bad, 2, NULL, &batch), SFT_INVALID_ARGUMENT, "argument 'texts[1]' is NULL");
    FAILS(sft_encode_batch(tokenizer, NULL, 2, NULL, &batch), SFT_INVALID_ARGUMENT, "argument 'texts' is NULL");
    FAILS(sft_encode_batch(tokenizer, texts, 0, NULL, &batch), SFT_INVALID_ARGUMENT, "the batch holds no text");
    options.pad_to_multiple_of = 0;
    FAILS(sft_encode_batch(tokenizer, texts, 3, &options, &batch), SFT_INVALID_ARGUMENT,
          "pad_to_multiple_of is no possible number of columns");
    options.pad_to_multiple_of = 1;
    options.min_columns = (size_t)-1;
    FAILS(sft_encode_batch(tokenizer, texts, 3, &options, &batch), SFT_INVALID_ARGUMENT, "min_columns");
    options.min_columns = (size_t)-1 / 2;
    FAILS(sft_encode_batch(tokenizer, texts, 3, &options, &batch), SFT_INVALID_ARGUMENT, "no possible size");
    CHECK(batch == NULL);
}

static void note_warning(void *user_data, const char *message, size_t size) {
    snprintf((char *)user_data, 256, "%.*s", (int)size, message);
}

static void test_warning(const sft_tokenizer *tokenizer) {
    const sft_message messages[] = {SFT_MESSAGE("user", "2+2"), SFT_MESSAGE("assistant", "4 it is, as far as I know")};
    const size_t count = 2;
    char warning[256] = "";
    sft_preprocess_options options;
    sft_batch *batch;
    OK(sft_preprocess_options_init(&options, sizeof options));
    options.max_length = 20;
    OK(sft_set_warning_callback(note_warning, warning));
    OK(sft_preprocess(tokenizer, messages, sizeof(sft_message), &count, 1, &options, &batch));
    CHECK_TEXT(warning, "1 of 1 conversations were cut to 20 tokens; the rest of them is not learned");
    sft_batch_free(batch);
    warning[0] = 0;
    OK(sft_set_warning_callback(NULL, NULL));
    OK(sft_preprocess(tokenizer, messages, sizeof(sft_message), &count, 1, &options, &batch));
    CHECK_TEXT(warning, "");
    sft_batch_free(batch);
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    sft_tokenizer *tokenizer;
    OK(sft_tokenizer_open(argv[1], SFT_ZSTRING, &tokenizer));
    test_preprocess(tokenizer);
    test_older_messages(tokenizer);
    test_options(tokenizer);
    test_bad_conversations(tokenizer);
    test_create();
    test_encode(tokenizer);
    test_warning(tokenizer);
    sft_tokenizer_free(tokenizer);
    return finish();
}
