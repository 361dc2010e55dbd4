/* Sections 2 and 3: text, ids, chat template. */
#include "check.h"

#include <stdlib.h>

static const sft_message conversation[] = {
    SFT_MESSAGE("system", "You are a helpful assistant."),
    SFT_MESSAGE("user", "Hi"),
};

static void test_open(void) {
    sft_tokenizer *tokenizer = (sft_tokenizer *)&conversation;
    FAILS(sft_tokenizer_open("/nowhere", SFT_ZSTRING, &tokenizer), SFT_NOT_FOUND, "/nowhere");
    CHECK(tokenizer == NULL);
    FAILS(sft_tokenizer_open(NULL, 0, &tokenizer), SFT_INVALID_ARGUMENT, "argument 'directory' is empty");
    FAILS(sft_tokenizer_open(NULL, 3, &tokenizer), SFT_INVALID_ARGUMENT, "argument 'directory' is NULL");
    FAILS(sft_tokenizer_open(NULL, SFT_ZSTRING, &tokenizer), SFT_INVALID_ARGUMENT, "argument 'directory' is NULL");
    FAILS(sft_tokenizer_open("", SFT_ZSTRING, &tokenizer), SFT_INVALID_ARGUMENT, "argument 'directory' is empty");
    FAILS(sft_tokenizer_open("a\0b", 3, &tokenizer), SFT_INVALID_ARGUMENT, "argument 'directory' holds a NUL byte");
    FAILS(sft_tokenizer_open("a\xff", SFT_ZSTRING, &tokenizer), SFT_INVALID_ARGUMENT,
          "argument 'directory' is not UTF-8 at byte 1");
    FAILS(sft_tokenizer_open("x", SFT_ZSTRING, NULL), SFT_INVALID_ARGUMENT, "argument 'tokenizer' is NULL");
}

static void test_encode(const sft_tokenizer *tokenizer) {
    const char text[] = "2+2=4 \xe5\x87\xa0<|im_end|>";
    int32_t ids[64], one;
    size_t count, size;
    char back[128];
    OK(sft_tokenizer_encode(tokenizer, text, SFT_ZSTRING, 0, ids, 64, &count));
    CHECK(count > 3);
    OK(sft_tokenizer_token_to_id(tokenizer, "<|im_end|>", SFT_ZSTRING, &one));
    CHECK(one >= 0 && ids[count - 1] == one);
    OK(sft_tokenizer_decode(tokenizer, ids, count, 0, back, sizeof back, &size));
    CHECK_TEXT(back, text);
    OK(sft_tokenizer_decode(tokenizer, ids, count, 1, back, sizeof back, &size));
    CHECK_TEXT(back, "2+2=4 \xe5\x87\xa0");

    size_t as_tokens = count;
    OK(sft_tokenizer_encode(tokenizer, text, sizeof text - 1, 1, ids, 64, &count));
    CHECK(count > as_tokens && ids[count - 1] != one);
    OK(sft_tokenizer_decode(tokenizer, ids, count, 1, back, sizeof back, &size));
    CHECK_TEXT(back, text);

    /* A NUL is a character. */
    OK(sft_tokenizer_encode(tokenizer, "a\0b", 3, 0, ids, 64, &count));
    OK(sft_tokenizer_decode(tokenizer, ids, count, 0, back, sizeof back, &size));
    CHECK(size == 3 && memcmp(back, "a\0b", 4) == 0);

    OK(sft_tokenizer_encode(tokenizer, NULL, 0, 0, NULL, 0, &count));
    CHECK(count == 0);
    FAILS(sft_tokenizer_encode(tokenizer, "\xe5\x87", 2, 0, ids, 64, &count), SFT_INVALID_ARGUMENT,
          "argument 'text' is not UTF-8 at byte 0");
    FAILS(sft_tokenizer_encode(tokenizer, NULL, 1, 0, ids, 64, &count), SFT_INVALID_ARGUMENT, "argument 'text' is NULL");
    FAILS(sft_tokenizer_encode(tokenizer, "a", 1, 7, ids, 64, &count), SFT_INVALID_ARGUMENT,
          "'split_special_tokens' is 7, expected 0 or 1");
    FAILS(sft_tokenizer_encode(tokenizer, "a", 1, 0, NULL, 64, &count), SFT_INVALID_ARGUMENT, "argument 'ids' is NULL");
    FAILS(sft_tokenizer_encode(tokenizer, "a", 1, 0, ids, 64, NULL), SFT_INVALID_ARGUMENT, "argument 'count' is NULL");
    FAILS(sft_tokenizer_encode(tokenizer, "a", (size_t)-2, 0, ids, 64, &count), SFT_INVALID_ARGUMENT,
          "the size given for 'text' is no possible size");
}

static void test_encode_texts(const sft_tokenizer *tokenizer) {
    const sft_text texts[] = {SFT_TEXT("2+2=4"), {NULL, 0}, {"a<|im_end|>", 11}, {"a\0b", 3}};
    int32_t ids[32], alone[32];
    size_t offsets[5], count, part;
    OK(sft_tokenizer_encode_texts(tokenizer, texts, 4, 0, ids, 32, &count, offsets));
    CHECK(offsets[0] == 0 && offsets[1] == offsets[2] && offsets[4] == count);
    for (int i = 0; i < 4; i++) {
        OK(sft_tokenizer_encode(tokenizer, texts[i].data, texts[i].size, 0, alone, 32, &part));
        CHECK(part == offsets[i + 1] - offsets[i] && memcmp(alone, ids + offsets[i], part * sizeof *ids) == 0);
    }
    size_t needed = count;
    ids[0] = -5;
    offsets[1] = 77;
    FAILS(sft_tokenizer_encode_texts(tokenizer, texts, 4, 0, ids, needed - 1, &count, offsets), SFT_BUFFER_TOO_SMALL, "elements");
    CHECK(count == needed && ids[0] == -5 && offsets[1] == 77);
    OK(sft_tokenizer_encode_texts(tokenizer, texts, 4, 0, ids, needed, &count, offsets));
    OK(sft_tokenizer_encode_texts(tokenizer, NULL, 0, 0, NULL, 0, &count, offsets));
    CHECK(count == 0 && offsets[0] == 0);
    OK(sft_tokenizer_encode_texts(tokenizer, texts + 2, 1, 0, ids, 32, &part, offsets));
    OK(sft_tokenizer_encode_texts(tokenizer, texts + 2, 1, 1, ids, 32, &count, offsets));
    CHECK(count > part && offsets[1] == count);

    /* Of many texts that are wrong, on any number of threads, the first one is named. */
    enum { many = 2000 };
    sft_text *all = (sft_text *)calloc(many, sizeof *all);
    size_t *ends = (size_t *)malloc((many + 1) * sizeof *ends);
    for (int i = 0; i < many; i++) {
        all[i].data = i == 700 || i > 900 ? "some text that is \xff" : "some text that is good";
        all[i].size = SFT_ZSTRING;
    }
    FAILS(sft_tokenizer_encode_texts(tokenizer, all, many, 0, NULL, 0, &count, ends), SFT_INVALID_ARGUMENT,
          "argument 'texts[700]' is not UTF-8 at byte 18");
    CHECK(count == 0);
    free(all);
    free(ends);
    FAILS(sft_tokenizer_encode_texts(tokenizer, texts, 4, 0, ids, 32, &count, NULL), SFT_INVALID_ARGUMENT,
          "argument 'offsets' is NULL");
    FAILS(sft_tokenizer_encode_texts(tokenizer, texts, 4, 0, ids, 32, NULL, offsets), SFT_INVALID_ARGUMENT,
          "argument 'count' is NULL");
    FAILS(sft_tokenizer_encode_texts(tokenizer, texts, 4, 3, ids, 32, &count, offsets), SFT_INVALID_ARGUMENT,
          "'split_special_tokens' is 3, expected 0 or 1");
}

static void test_capacity(const sft_tokenizer *tokenizer) {
    int32_t ids[8] = {-5, -5, -5, -5, -5, -5, -5, -5};
    size_t count = 99, size = 99;
    FAILS(sft_tokenizer_encode(tokenizer, "<|im_end|><|im_end|>", SFT_ZSTRING, 0, ids, 1, &count), SFT_BUFFER_TOO_SMALL,
          "the result has 2 elements, the capacity is 1");
    CHECK(count == 2 && ids[0] == -5);
    FAILS(sft_tokenizer_encode(tokenizer, "<|im_end|><|im_end|>", SFT_ZSTRING, 0, NULL, 0, &count),
          SFT_BUFFER_TOO_SMALL, NULL);
    CHECK(count == 2);
    OK(sft_tokenizer_encode(tokenizer, "<|im_end|><|im_end|>", SFT_ZSTRING, 0, ids, 2, &count));
    CHECK(count == 2 && ids[0] == ids[1] && ids[2] == -5);

    char text[32] = "untouched";
    FAILS(sft_tokenizer_decode(tokenizer, ids, 1, 0, text, 9, &size), SFT_BUFFER_TOO_SMALL, "10 elements");
    CHECK(size == 10);
    CHECK_TEXT(text, "untouched");
    text[10] = '!';
    OK(sft_tokenizer_decode(tokenizer, ids, 1, 0, text, 10, &size)); /* just enough: no NUL */
    CHECK(size == 10 && memcmp(text, "<|im_end|>!", 11) == 0);
    OK(sft_tokenizer_decode(tokenizer, ids, 1, 0, text, 11, &size));
    CHECK_TEXT(text, "<|im_end|>");
}

static void test_decode(const sft_tokenizer *tokenizer) {
    char text[32];
    size_t size = 99;
    int32_t id = 99;
    const int32_t bad[] = {0, -1}, large[] = {2147483647};
    FAILS(sft_tokenizer_decode(tokenizer, bad, 2, 0, text, 32, &size), SFT_INVALID_ARGUMENT,
          "ids[1] is -1, expected a token id");
    CHECK(size == 0);
    OK(sft_tokenizer_decode(tokenizer, large, 1, 0, text, 32, &size));
    CHECK(size == 0);
    OK(sft_tokenizer_token_to_id(tokenizer, "no such token", SFT_ZSTRING, &id));
    CHECK(id == -1);
    FAILS(sft_tokenizer_id_to_token(tokenizer, 2147483647, text, 32, &size), SFT_INVALID_ARGUMENT,
          "id 2147483647 has no token");
    FAILS(sft_tokenizer_id_to_token(tokenizer, -3, text, 32, &size), SFT_INVALID_ARGUMENT, "id -3 has no token");
    FAILS(sft_tokenizer_token_to_id(tokenizer, "a", 1, NULL), SFT_INVALID_ARGUMENT, "argument 'id' is NULL");
}

static void test_info(const sft_tokenizer *tokenizer) {
    sft_tokenizer_info info;
    OK(sft_tokenizer_get_info(tokenizer, &info, sizeof info));
    CHECK(info.vocabulary_size > 256 && info.count > info.vocabulary_size && info.eos_token_id >= 0);
    /* A program compiled against a longer struct finds 0 in what this library does not know. */
    struct { sft_tokenizer_info known; size_t unknown; } longer;
    longer.unknown = 7;
    OK(sft_tokenizer_get_info(tokenizer, &longer.known, sizeof longer));
    CHECK(longer.known.count == info.count && longer.unknown == 0);
    FAILS(sft_tokenizer_get_info(tokenizer, &info, 0), SFT_INVALID_ARGUMENT, "'info': 0 is no possible size");
    FAILS(sft_tokenizer_get_info(tokenizer, NULL, sizeof info), SFT_INVALID_ARGUMENT, "argument 'info' is NULL");
}

static void test_chat_template(const sft_tokenizer *tokenizer) {
    char text[512];
    int32_t ids[256], whole[256];
    size_t size, count, whole_count;
    sft_chat_options options;
    OK(sft_chat_options_init(&options, sizeof options));
    options.add_generation_prompt = 1;
    OK(sft_render_chat_template(tokenizer, conversation, sizeof(sft_message), 2, &options, text, sizeof text, &size));
    CHECK_TEXT(text, "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
                     "<|im_start|>assistant\n");
    OK(sft_apply_chat_template(tokenizer, conversation, sizeof(sft_message), 2, &options, ids, 256, &count));
    OK(sft_tokenizer_encode(tokenizer, text, size, 0, whole, 256, &whole_count));
    CHECK(count == whole_count && memcmp(ids, whole, count * sizeof *ids) == 0);

    options.chat_template = SFT_TEMPLATE_CHATML;
    OK(sft_render_chat_template(tokenizer, conversation + 1, sizeof(sft_message), 1, &options, text, sizeof text, &size));
    CHECK_TEXT(text, "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
    options.chat_template = 9;
    FAILS(sft_render_chat_template(tokenizer, conversation, sizeof(sft_message), 2, &options, text, 512, &size),
          SFT_INVALID_ARGUMENT, "'chat_template' is 9, expected an SFT_TEMPLATE constant");
    FAILS(sft_render_chat_template(tokenizer, conversation, 8, 2, NULL, text, 512, &size), SFT_INVALID_ARGUMENT,
          "'messages': element size is 8, expected 56");
    FAILS(sft_render_chat_template(tokenizer, NULL, sizeof(sft_message), 2, NULL, text, 512, &size),
          SFT_INVALID_ARGUMENT, "argument 'messages' is NULL");
    FAILS(sft_render_chat_template(tokenizer, conversation, sizeof(sft_message), (size_t)-1 / 2, NULL, text, 512, &size),
          SFT_INVALID_ARGUMENT, "the size given for 'messages' is no possible size");

    /* A program from before there were fields; and a message with some. */
    struct { const char *role; size_t role_size; const char *content; size_t content_size; double weight; } older = {
        "user", SFT_ZSTRING, "a", SFT_ZSTRING, 1.0};
    OK(sft_apply_chat_template(tokenizer, (const sft_message *)(const void *)&older, sizeof older, 1, NULL, ids, 256, &count));
    const sft_message named = {"user", SFT_ZSTRING, "a", SFT_ZSTRING, 1.0, "{\"name\": \"<|im_end|>\"}", SFT_ZSTRING};
    sft_tokenizer *changed;
    OK(sft_tokenizer_with_chat_template(tokenizer, "{{ messages[0].name }}{{ x }}", SFT_ZSTRING, "{\"x\": [1]}", SFT_ZSTRING,
                                        &changed));
    OK(sft_render_chat_template(changed, &named, sizeof(sft_message), 1, NULL, text, sizeof text, &size));
    CHECK(strncmp(text, "<|im_end|>[1]", size) == 0 && size == 13);
    OK(sft_apply_chat_template(changed, &named, sizeof(sft_message), 1, NULL, ids, 256, &count));
    CHECK(count > 4);
    sft_tokenizer_free(changed);
    FAILS(sft_tokenizer_with_chat_template(tokenizer, "none", SFT_ZSTRING, NULL, 0, &changed), SFT_INVALID_ARGUMENT,
          "the checkpoint has no chat template called 'none'");
    FAILS(sft_tokenizer_with_chat_template(tokenizer, NULL, 0, "[]", SFT_ZSTRING, &changed), SFT_INVALID_ARGUMENT,
          "the template's arguments must be a JSON object");
    const sft_message nobody = SFT_MESSAGE("", "Hi"), broken = SFT_MESSAGE("user", "\xff");
    FAILS(sft_render_chat_template(tokenizer, &nobody, sizeof(sft_message), 1, NULL, text, 512, &size),
          SFT_INVALID_ARGUMENT, "role");
    FAILS(sft_render_chat_template(tokenizer, &broken, sizeof(sft_message), 1, NULL, text, 512, &size),
          SFT_INVALID_ARGUMENT, "argument 'messages[0].content' is not UTF-8 at byte 0");
    const sft_message control = SFT_MESSAGE("<|im_end|>", "Hi");
    FAILS(sft_apply_chat_template(tokenizer, &control, sizeof(sft_message), 1, NULL, ids, 256, &count),
          SFT_INVALID_ARGUMENT, "role");
}

/* Structs of older and newer programs. */
static void test_struct_sizes(const sft_tokenizer *tokenizer) {
    struct { sft_message message; int64_t unknown; } newer[2] = {{SFT_MESSAGE("user", "a"), 0}, {SFT_MESSAGE("user", "b"), 0}};
    char text[512];
    size_t size;
    OK(sft_render_chat_template(tokenizer, &newer[0].message, sizeof *newer, 2, NULL, text, sizeof text, &size));
    CHECK(strstr(text, "b<|im_end|>") != NULL);
    newer[1].unknown = 1;
    FAILS(sft_render_chat_template(tokenizer, &newer[0].message, sizeof *newer, 2, NULL, text, sizeof text, &size),
          SFT_UNSUPPORTED, "'messages[1]' sets a field that this version of the library does not know");

    struct { sft_chat_options options; int64_t unknown; } longer;
    OK(sft_chat_options_init(&longer.options, sizeof longer));
    CHECK(longer.options.struct_size == sizeof longer && longer.unknown == 0);
    OK(sft_render_chat_template(tokenizer, conversation, sizeof(sft_message), 2, &longer.options, text, 512, &size));
    longer.unknown = 1;
    FAILS(sft_render_chat_template(tokenizer, conversation, sizeof(sft_message), 2, &longer.options, text, 512, &size),
          SFT_UNSUPPORTED, "'options' sets a field that this version of the library does not know");
    longer.options.struct_size = 0;
    FAILS(sft_render_chat_template(tokenizer, conversation, sizeof(sft_message), 2, &longer.options, text, 512, &size),
          SFT_INVALID_ARGUMENT, "'options': 0 is no possible struct_size; use its _init function");
    OK(sft_chat_options_init(&longer.options, 2 * sizeof(size_t))); /* up to split_special_tokens */
    longer.options.add_generation_prompt = 1;
    longer.options.chat_template = 77; /* behind the end */
    OK(sft_render_chat_template(tokenizer, conversation, sizeof(sft_message), 2, &longer.options, text, 512, &size));
    longer.options.struct_size = sizeof longer.options;
    FAILS(sft_render_chat_template(tokenizer, conversation, sizeof(sft_message), 2, &longer.options, text, 512, &size),
          SFT_INVALID_ARGUMENT, "'chat_template' is 77");
    FAILS(sft_chat_options_init(NULL, 24), SFT_INVALID_ARGUMENT, "argument 'options' is NULL");
    FAILS(sft_chat_options_init(&longer.options, 3), SFT_INVALID_ARGUMENT, "3 is no possible size");
}

static void test_added_tokens(const sft_tokenizer *tokenizer) {
    sft_tokenizer_info info;
    sft_added_token token;
    int32_t end;
    int found = 0;
    OK(sft_tokenizer_get_info(tokenizer, &info, sizeof info));
    CHECK(info.added_tokens == info.count - info.vocabulary_size);
    OK(sft_tokenizer_token_to_id(tokenizer, "<|im_end|>", SFT_ZSTRING, &end));
    for (size_t i = 0; i < info.added_tokens; i++) {
        OK(sft_tokenizer_get_added_token(tokenizer, i, &token, sizeof token));
        found += token.id == end && token.is_special;
    }
    CHECK(found == 1);
    FAILS(sft_tokenizer_get_added_token(tokenizer, (size_t)-1, &token, sizeof token), SFT_INVALID_ARGUMENT,
          "'index' is 18446744073709551615, the tokenizer has");
    CHECK(token.id == 0);
    FAILS(sft_tokenizer_get_added_token(tokenizer, 0, NULL, sizeof token), SFT_INVALID_ARGUMENT,
          "argument 'token' is NULL");
}

static void test_decoder(const sft_tokenizer *tokenizer) {
    const char *text = "a\xf0\x9f\x91\xa9 \xe7\xad\x89<|im_end|>";
    int32_t ids[64];
    size_t count, size;
    char piece[64], all[256] = "";
    sft_decoder *decoder;
    OK(sft_tokenizer_encode(tokenizer, text, SFT_ZSTRING, 0, ids, 64, &count));
    OK(sft_decoder_create(tokenizer, 0, &decoder));
    for (size_t i = 0; i < count; i++) {
        sft_status status = sft_decoder_append(decoder, ids[i], NULL, 0, &size);
        if (status == SFT_OK) continue; /* it completes no character, and has been taken */
        CHECK(status == SFT_BUFFER_TOO_SMALL);
        OK(sft_decoder_append(decoder, ids[i], piece, sizeof piece, &size));
        CHECK(strlen(piece) == size);
        strcat(all, piece);
    }
    OK(sft_decoder_finish(decoder, piece, sizeof piece, &size));
    CHECK(size == 0);
    CHECK_TEXT(all, text);
    FAILS(sft_decoder_append(decoder, -1, piece, sizeof piece, &size), SFT_INVALID_ARGUMENT, "'id' is -1");
    sft_decoder_free(decoder);
    FAILS(sft_decoder_append(NULL, 1, piece, sizeof piece, &size), SFT_INVALID_ARGUMENT, "argument 'decoder' is NULL");
    FAILS(sft_decoder_create(tokenizer, 2, &decoder), SFT_INVALID_ARGUMENT, "'skip_special_tokens' is 2, expected 0 or 1");
    CHECK(decoder == NULL);
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    sft_tokenizer *tokenizer;
    test_open();
    OK(sft_tokenizer_open(argv[1], SFT_ZSTRING, &tokenizer));
    test_encode(tokenizer);
    test_encode_texts(tokenizer);
    test_capacity(tokenizer);
    test_decode(tokenizer);
    test_info(tokenizer);
    test_added_tokens(tokenizer);
    test_decoder(tokenizer);
    test_chat_template(tokenizer);
    test_struct_sizes(tokenizer);
    sft_tokenizer_free(tokenizer);
    return finish();
}
