/* Section 6: generation, answers, sessions. */
#include "check.h"

#include <math.h>
#include <stdlib.h>

static const sft_message messages[] = {
    SFT_MESSAGE("system", "You are a helpful assistant."),
    SFT_MESSAGE("user", "2+2\xe7\xad\x89\xe4\xba\x8e\xe5\x87\xa0"),
    SFT_MESSAGE("assistant", "2+2\xe7\xad\x89\xe4\xba\x8e" "5\xe3\x80\x82"),
};

static int32_t stop_at_once(void *user_data, const sft_piece *piece) {
    *(int32_t *)user_data = piece->id;
    return 1;
}

static int32_t call_again(void *user_data, const sft_piece *piece) {
    sft_model *model = (sft_model *)user_data;
    sft_generation *generation;
    FAILS(sft_model_generate(model, &piece->id, 1, NULL, &generation), SFT_BUSY, "the model is in use");
    return 0;
}

static void test_generation(sft_model *model, const sft_tokenizer *tokenizer) {
    sft_generation *generation, *same;
    sft_generation_options options;
    size_t count, same_count, size;
    OK(sft_generation_options_init(&options, sizeof options));
    CHECK(options.max_new_tokens == 512 && options.do_sample == -1 && options.on_piece == NULL);
    options.do_sample = 0;
    options.repetition_penalty = 1;
    options.max_new_tokens = 8;
    OK(sft_model_chat(model, tokenizer, messages, sizeof(sft_message), 2, &options, &generation));
    const int32_t *ids = sft_generation_ids(generation, &count);
    const char *text = sft_generation_text(generation, &size);
    CHECK(count >= 1 && count <= 8 && strlen(text) == size);

    /* chat is template, generate and decode. */
    int32_t prompt[256];
    size_t prompt_count;
    char decoded[256];
    sft_chat_options chat;
    OK(sft_chat_options_init(&chat, sizeof chat));
    chat.add_generation_prompt = 1;
    OK(sft_apply_chat_template(tokenizer, messages, sizeof(sft_message), 2, &chat, prompt, 256, &prompt_count));
    OK(sft_model_generate(model, prompt, prompt_count, &options, &same));
    const int32_t *same_ids = sft_generation_ids(same, &same_count);
    CHECK(same_count == count && memcmp(ids, same_ids, count * sizeof *ids) == 0);
    CHECK_TEXT(sft_generation_text(same, NULL), "");
    OK(sft_tokenizer_decode(tokenizer, same_ids, same_count, 1, decoded, sizeof decoded, &size));
    CHECK_TEXT(text, decoded);

    int32_t first = same_ids[0], seen = -1;
    sft_generation_free(same);
    options.on_piece = stop_at_once;
    options.user_data = &seen;
    OK(sft_model_generate(model, prompt, prompt_count, &options, &same));
    CHECK(seen == first && sft_generation_ids(same, &same_count)[0] == first && same_count == 1);
    sft_generation_free(same);
    options.on_piece = call_again;
    options.user_data = model;
    OK(sft_model_generate(model, prompt, prompt_count, &options, &same));
    sft_generation_free(same);
    sft_generation_free(generation);

    OK(sft_generation_options_init(&options, sizeof options));
    options.max_new_tokens = 8;
    options.do_sample = 1;
    options.temperature = 1.5f;
    options.has_seed = 1;
    options.seed = 3;
    OK(sft_model_generate(model, prompt, prompt_count, &options, &generation));
    OK(sft_model_generate(model, prompt, prompt_count, &options, &same));
    ids = sft_generation_ids(generation, &count);
    same_ids = sft_generation_ids(same, &same_count);
    CHECK(count == same_count && memcmp(ids, same_ids, count * sizeof *ids) == 0);
    sft_generation_free(generation);
    sft_generation_free(same);

    const int32_t bad = -7, large = 99999999;
    FAILS(sft_model_generate(model, &bad, 1, NULL, &generation), SFT_INVALID_ARGUMENT, "ids[0] is -7");
    FAILS(sft_model_generate(model, &large, 1, NULL, &generation), SFT_INVALID_ARGUMENT, "99999999");
    FAILS(sft_model_generate(model, NULL, 0, NULL, &generation), SFT_INVALID_ARGUMENT, "");
    FAILS(sft_model_chat(model, tokenizer, messages, sizeof(sft_message), 0, NULL, &generation), SFT_INVALID_ARGUMENT, "");
    CHECK(generation == NULL);
    options.temperature = 0;
    FAILS(sft_model_generate(model, prompt, 1, &options, &generation), SFT_INVALID_ARGUMENT, "temperature");
    options.temperature = -2;
    FAILS(sft_model_generate(model, prompt, 1, &options, &generation), SFT_INVALID_ARGUMENT, "temperature");
    options.temperature = 1;
    options.top_p = 1.5f;
    FAILS(sft_model_generate(model, prompt, 1, &options, &generation), SFT_INVALID_ARGUMENT, "top_p");
    options.top_p = 1;
    options.top_k = -2;
    FAILS(sft_model_generate(model, prompt, 1, &options, &generation), SFT_INVALID_ARGUMENT, "top_k");
    options.top_k = 0;
    options.repetition_penalty = 0;
    FAILS(sft_model_generate(model, prompt, 1, &options, &generation), SFT_INVALID_ARGUMENT, "repetition_penalty");
    options.repetition_penalty = 1;
    options.do_sample = 5;
    FAILS(sft_model_generate(model, prompt, 1, &options, &generation), SFT_INVALID_ARGUMENT, "do_sample");
}

typedef struct collected {
    char text[3][256];
    float log_probability;
} collected;

static int32_t collect(void *user_data, const sft_piece *piece) {
    collected *all = (collected *)user_data;
    strncat(all->text[piece->sample], piece->text, piece->text_size);
    all->log_probability = piece->log_probability;
    return 0;
}

static int32_t stop_from_elsewhere(void *user_data, const sft_piece *piece) {
    OK(sft_model_stop_generating((sft_model *)user_data));
    return piece->id < 0;
}

static void test_answers(sft_model *model, const sft_tokenizer *tokenizer) {
    sft_generation *generation;
    sft_generation_options options;
    sft_answer answer;
    collected pieces;
    memset(&pieces, 0, sizeof pieces);
    OK(sft_generation_options_init(&options, sizeof options));
    CHECK(options.num_return_sequences == 1 && options.min_p == -1 && options.stop_ids == NULL);
    options.max_new_tokens = 8;
    options.do_sample = 1;
    options.temperature = 3;
    options.min_p = 0.01f;
    options.has_seed = 1;
    options.num_return_sequences = 3;
    options.log_probabilities = 1;
    options.on_piece = collect;
    options.user_data = &pieces;
    OK(sft_model_chat(model, tokenizer, messages, sizeof(sft_message), 2, &options, &generation));
    CHECK(sft_generation_count(generation) == 3);
    for (size_t i = 0; i < 3; i++) {
        OK(sft_generation_get_answer(generation, i, &answer, sizeof answer));
        CHECK_TEXT(answer.text, pieces.text[i]);
        CHECK(answer.id_count > 0 && answer.prompt_tokens > 8 && answer.text_size == strlen(answer.text));
        CHECK(answer.finish_reason == SFT_FINISH_STOP_ID || answer.finish_reason == SFT_FINISH_LENGTH);
        for (size_t t = 0; t < answer.id_count; t++) CHECK(answer.log_probabilities[t] <= 0);
    }
    CHECK(answer.log_probabilities[answer.id_count - 1] == pieces.log_probability);
    FAILS(sft_generation_get_answer(generation, 3, &answer, sizeof answer), SFT_INVALID_ARGUMENT,
          "'index' is 3, the generation has 3 answers");
    CHECK(sft_generation_count(NULL) == 0);
    sft_generation_free(generation);

    /* Stop ids, stop strings, and a stop from elsewhere. */
    OK(sft_generation_options_init(&options, sizeof options));
    options.do_sample = 0;
    options.repetition_penalty = 1;
    const sft_text stop = SFT_TEXT("2\xe7\xad\x89");
    options.stop_strings = &stop;
    options.stop_string_count = 1;
    OK(sft_model_chat(model, tokenizer, messages, sizeof(sft_message), 2, &options, &generation));
    OK(sft_generation_get_answer(generation, 0, &answer, sizeof answer));
    CHECK_TEXT(answer.text, "2+");
    CHECK(answer.finish_reason == SFT_FINISH_STOP_STRING && answer.log_probabilities == NULL);
    const int32_t first = answer.ids[0];
    sft_generation_free(generation);
    FAILS(sft_model_generate(model, &first, 1, &options, &generation), SFT_INVALID_ARGUMENT,
          "stop_strings need a tokenizer");
    options.stop_string_count = 0;
    options.stop_ids = &first;
    options.stop_id_count = 1;
    OK(sft_model_chat(model, tokenizer, messages, sizeof(sft_message), 2, &options, &generation));
    OK(sft_generation_get_answer(generation, 0, &answer, sizeof answer));
    CHECK(answer.id_count == 1 && answer.finish_reason == SFT_FINISH_STOP_ID);
    sft_generation_free(generation);
    options.stop_id_count = 0;
    options.on_piece = stop_from_elsewhere;
    options.user_data = model;
    OK(sft_model_chat(model, tokenizer, messages, sizeof(sft_message), 2, &options, &generation));
    OK(sft_generation_get_answer(generation, 0, &answer, sizeof answer));
    CHECK(answer.id_count == 1 && answer.finish_reason == SFT_FINISH_CANCELLED);
    sft_generation_free(generation);

    const int32_t bad = -7;
    options.stop_ids = &bad;
    options.stop_id_count = 1;
    FAILS(sft_model_generate(model, &first, 1, &options, &generation), SFT_INVALID_ARGUMENT, "stop_ids[0] is -7");
    options.stop_id_count = 0;
    options.num_return_sequences = 0;
    FAILS(sft_model_generate(model, &first, 1, &options, &generation), SFT_INVALID_ARGUMENT, "num_return_sequences");
    options.num_return_sequences = 1;
    options.min_p = 1.5f;
    FAILS(sft_model_generate(model, &first, 1, &options, &generation), SFT_INVALID_ARGUMENT, "min_p");
    CHECK(generation == NULL);
}

static void test_session(sft_model *model, const sft_tokenizer *tokenizer) {
    sft_session *session;
    sft_generation *generation;
    sft_generation_options options;
    sft_answer answer;
    sft_message message;
    const sft_message no_role = SFT_MESSAGE("", "a");
    int32_t went_back;
    OK(sft_generation_options_init(&options, sizeof options));
    options.do_sample = 0;
    options.repetition_penalty = 1;
    FAILS(sft_session_create(model, tokenizer, NULL, sizeof(sft_message), 0, 9, &session), SFT_INVALID_ARGUMENT,
          "'chat_template' is 9");
    FAILS(sft_session_create(NULL, tokenizer, NULL, sizeof(sft_message), 0, 0, &session), SFT_INVALID_ARGUMENT,
          "argument 'model' is NULL");
    CHECK(session == NULL);
    OK(sft_session_create(model, tokenizer, messages, sizeof(sft_message), 1, SFT_TEMPLATE_CHECKPOINT, &session));
    for (int turn = 0; turn < 2; turn++) {
        OK(sft_session_send(session, messages[1].content, SFT_ZSTRING, &options, &generation));
        OK(sft_generation_get_answer(generation, 0, &answer, sizeof answer));
        OK(sft_session_get_message(session, 2 + 2 * (size_t)turn, &message, sizeof message));
        CHECK_TEXT(message.content, answer.text);
        CHECK_TEXT(message.role, "assistant");
        CHECK((answer.computed_prompt_tokens < answer.prompt_tokens) == (turn > 0));
        sft_generation_free(generation);
    }
    CHECK(sft_session_message_count(session) == 5 && sft_session_message_count(NULL) == 0);
    FAILS(sft_session_get_message(session, 5, &message, sizeof message), SFT_INVALID_ARGUMENT,
          "'index' is 5, the session has 5 messages");
    OK(sft_session_go_back(session, &went_back));
    CHECK(went_back == 1 && sft_session_message_count(session) == 3);
    OK(sft_session_reset(session));
    OK(sft_session_go_back(session, &went_back));
    CHECK(went_back == 0 && sft_session_message_count(session) == 1);
    FAILS(sft_session_replace_answer(session, "5", SFT_ZSTRING), SFT_INVALID_ARGUMENT, "does not end with an answer");
    OK(sft_session_append(session, messages + 1, sizeof(sft_message), 2));
    OK(sft_session_replace_answer(session, "five", 1));
    OK(sft_session_get_message(session, 2, &message, sizeof message));
    CHECK_TEXT(message.content, "f");
    FAILS(sft_session_append(session, NULL, sizeof(sft_message), 1), SFT_INVALID_ARGUMENT, "argument 'messages' is NULL");
    FAILS(sft_session_append(session, &no_role, sizeof(sft_message), 1), SFT_INVALID_ARGUMENT, "the role is empty");
    CHECK(sft_session_message_count(session) == 3);
    OK(sft_session_go_back(session, &went_back));
    CHECK(went_back == 1 && sft_session_message_count(session) == 1);
    OK(sft_session_stop(session));
    FAILS(sft_session_send(session, "a\xff", SFT_ZSTRING, &options, &generation), SFT_INVALID_ARGUMENT,
          "argument 'content' is not UTF-8 at byte 1");
    FAILS(sft_session_send(NULL, "a", 1, &options, &generation), SFT_INVALID_ARGUMENT, "argument 'session' is NULL");
    CHECK(generation == NULL);
    sft_session_free(session);
}

/* A batch of a session's messages begins with what the session asked, and goes on as it was answered. */
static void test_correction(sft_model *model, const sft_tokenizer *tokenizer) {
    sft_session *session;
    sft_generation *generation;
    sft_answer answer;
    sft_batch *batch;
    sft_batch_view view;
    sft_message said[8];
    sft_generation_options options;
    OK(sft_generation_options_init(&options, sizeof options));
    options.do_sample = 0;
    for (sft_chat_template chat_template = SFT_TEMPLATE_CHECKPOINT; chat_template <= SFT_TEMPLATE_CHATML; chat_template++) {
        sft_preprocess_options preprocess;
        OK(sft_preprocess_options_init(&preprocess, sizeof preprocess));
        preprocess.chat_template = chat_template;
        OK(sft_session_create(model, tokenizer, NULL, sizeof(sft_message), 0, chat_template, &session));
        CHECK(sft_session_message_count(session) == (chat_template == SFT_TEMPLATE_CHECKPOINT));
        OK(sft_session_send(session, "2+2", SFT_ZSTRING, &options, &generation));
        OK(sft_generation_get_answer(generation, 0, &answer, sizeof answer));
        const size_t count = sft_session_message_count(session);
        for (size_t i = 0; i < count; i++) OK(sft_session_get_message(session, i, &said[i], sizeof said[i]));
        OK(sft_preprocess(tokenizer, said, sizeof(sft_message), &count, 1, &preprocess, &batch));
        OK(sft_batch_get_view(batch, &view, sizeof view));
        /* The newline after the answer's <|im_end|> is of the template. */
        CHECK(view.columns == answer.prompt_tokens + answer.id_count + 1);
        int same = 1;
        for (size_t i = 0; i < answer.id_count; i++)
            same &= view.input_ids[answer.prompt_tokens + i] == answer.ids[i];
        CHECK(same);
        sft_batch_free(batch);
        sft_generation_free(generation);
        sft_session_free(session);
    }
}

static void test_names(void) {
    CHECK_TEXT(sft_finish_reason_name(SFT_FINISH_STOP_ID), "stop_id");
    CHECK_TEXT(sft_finish_reason_name(SFT_FINISH_CANCELLED), "cancelled");
    CHECK_TEXT(sft_finish_reason_name(5), "unknown finish reason");
    CHECK_TEXT(sft_finish_reason_name(-1), "unknown finish reason");
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    sft_tokenizer *tokenizer;
    sft_model *model;
    OK(sft_tokenizer_open(argv[1], SFT_ZSTRING, &tokenizer));
    OK(sft_model_open(argv[1], SFT_ZSTRING, NULL, &model));
    test_generation(model, tokenizer);
    test_answers(model, tokenizer);
    test_session(model, tokenizer);
    test_correction(model, tokenizer);
    test_names();
    sft_model_free(model);
    sft_tokenizer_free(tokenizer);
    return finish();
}
