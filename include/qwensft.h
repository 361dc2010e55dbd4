/*
 * qwensft.h - supervised fine-tuning of Qwen2-family chat models inside your program.
 *
 * A Hugging Face checkpoint directory goes in, a Hugging Face checkpoint directory comes out. In between the program
 * chats with the model, shows it conversations with the answers it should have given, and chats with it again. It all
 * happens in the calling process, on the CPU.
 *
 *
 * OBJECTS
 *
 *     directory ──► sft_tokenizer ──┐
 *     messages ─────────────────────┴─► sft_batch, sft_dataset ──┐
 *     directory ──► sft_model ──► sft_trainer ──► sft_run ◄──────┘
 *                       └──► sft_generation (what the model answered)
 *
 *     sft_tokenizer    text <-> token ids, and the checkpoint's chat template           immutable
 *     sft_decoder      text of ids that come one by one                                 changed by every id
 *     sft_batch        conversations as ids, labels and mask, padded to one length      immutable
 *     sft_model        the weights                                                      changed by its trainers
 *     sft_generation   the ids and the text of an answer                                immutable
 *     sft_session      a conversation, and what the model has computed of it            changed by every turn
 *     sft_trainer      an optimizer, its state and the model it trains                  changed by every step
 *     sft_dataset      conversations to make many batches of                            immutable
 *     sft_run          a trainer on its way through a dataset                           changed by every step
 *
 *
 * THREE RULES
 *
 * 1. Ownership. An object that a function hands out through a pointer to its type belongs to the caller, who gives it
 *    back with the _free of its type; NULL is fine there. Objects keep alive what they depend upon (a trainer its
 *    model), so they may be freed in any order. Pointers that a function lends out ("borrowed")
 *    are valid until the object they came from is freed, and are never passed to free(). The library keeps no pointer
 *    of the caller's after a call has returned, except callbacks and their user_data.
 *
 * 2. Errors. A function that can fail returns an sft_status: SFT_OK, which is 0, or the reason. sft_last_error() then
 *    says in one line what was wrong and where. Results are written through pointers; after a failure they are NULL
 *    or 0, and everything else is as it was before the call. No argument makes the library print, exit or abort, nor
 *    does a lack of memory, which is SFT_OUT_OF_MEMORY; what it cannot check is that a pointer leads to as much memory
 *    as the call says.
 *
 * 3. Threads. Every function may be called from every thread. An immutable object may be used by many threads at
 *    once. A model, together with its trainers and runs, does one thing at a time: a second call meanwhile returns
 *    SFT_BUSY at once; so does one to a decoder or session in use. An object must not be freed while another thread is
 *    passing it to a function.
 *    Callbacks are called on the thread that called the library, in the floating-point environment it had, and may use
 *    every object that is not in use. A callback must return: no C++ exception, longjmp or error of an interpreter may
 *    leave it. Where one does, memory of the call is lost and what it used is SFT_BUSY until the same thread calls the
 *    library again from where the callback cannot be running any more, or ends; the warning callback then says so. A
 *    signal handler must not leave a call at all.
 *
 *
 * CONVENTIONS
 *
 * Text is UTF-8 and is passed as pointer and size in bytes, so it may hold any character; the size SFT_ZSTRING says
 * that a NUL ends it. Paths and names are passed the same way. Bytes that are not UTF-8 are refused.
 *
 * Output of variable length is (out, capacity, &count): the caller's array, how many elements it can hold, and how
 * many the result has. Where capacity is too small the result is SFT_BUFFER_TOO_SMALL, out is left alone and count
 * still says how many are needed; (NULL, 0, &count) asks just that. Text written this way gets a NUL after it, which
 * is not counted, where there is room for one; borrowed text always has one.
 *
 * Options are a struct passed by pointer; NULL stands for the defaults. Fill in the defaults with its _init function,
 * which also sets struct_size, then change fields. Later versions append fields, and programs keep working unchanged.
 * For the same reason an array of messages and a struct of results are passed with sizeof one element. A value that
 * is out of range is refused by the field's name. The comment on a field of options begins with its default.
 *
 * Flags are int32_t, 0 or 1. Counts and sizes are size_t. Arrays of (rows, columns) are row-major without gaps.
 *
 *
 * A PROGRAM
 *
 *     #include <qwensft.h>
 *     #include <stdio.h>
 *
 *     #define TRY(call) if ((call) != SFT_OK) { fprintf(stderr, "%s\n", sft_last_error()); return 1; }
 *
 *     int main(int argc, char **argv) {
 *         const char *directory = argc > 1 ? argv[1] : ".";
 *         const sft_message conversation[] = {
 *             SFT_MESSAGE("system", "You are a helpful assistant."),
 *             SFT_MESSAGE("user", "2+2等于几"),
 *             SFT_MESSAGE("assistant", "2+2等于5。"),
 *         };
 *         const size_t message_count = 3;
 *         sft_tokenizer *tokenizer;
 *         sft_model *model;
 *         sft_trainer *trainer;
 *         sft_batch *batch;
 *         sft_generation *answer;
 *         sft_step_metrics metrics;
 *
 *         TRY(sft_tokenizer_open(directory, SFT_ZSTRING, &tokenizer));
 *         TRY(sft_model_open(directory, SFT_ZSTRING, NULL, &model));
 *         TRY(sft_preprocess(tokenizer, conversation, sizeof(sft_message), &message_count, 1, NULL, &batch));
 *         TRY(sft_trainer_create_sgd(model, NULL, NULL, &trainer));
 *         for (int step = 0; step < 10; step++) {
 *             TRY(sft_train_step(trainer, batch, &metrics, sizeof metrics));
 *             printf("step %d: loss %.4f\n", step + 1, metrics.loss);
 *         }
 *         TRY(sft_model_chat(model, tokenizer, conversation, sizeof(sft_message), 2, NULL, &answer));
 *         printf("%s\n", sft_generation_text(answer, NULL));
 *
 *         sft_generation_free(answer);
 *         sft_trainer_free(trainer);
 *         sft_batch_free(batch);
 *         sft_model_free(model);
 *         sft_tokenizer_free(tokenizer);
 *         return 0;
 *     }
 *
 *     cc program.c $(pkg-config --cflags --libs qwensft)
 *
 *
 * SECTIONS
 *
 *     1  Status and version        6  Generation
 *     2  Tokenizer                 7  Training
 *     3  Chat template             8  Runs over a dataset, and the loss curve
 *     4  Batch                     9  Parameters
 *     5  Model                    10  The process: threads, warnings
 */
#ifndef QWENSFT_H
#define QWENSFT_H

/* Tools that read declarations rather than compile them can be given this header with -E -P -DSFT_PLAIN: plain C99 then,
 * without includes and attributes (docs/c-api.md). */
#ifdef SFT_PLAIN
#define SFT_RESULT sft_status
#define SFT_ENUM enum
#else

#include <stddef.h>
#include <stdint.h>

/* An sft_status that must be looked at: compilers warn where it is dropped. */
#if defined(__cplusplus) && __cplusplus >= 201703L || defined(__STDC_VERSION__) && __STDC_VERSION__ >= 202311L
#define SFT_RESULT [[nodiscard]] sft_status
#elif defined(__GNUC__)
#define SFT_RESULT __attribute__((warn_unused_result)) sft_status
#else
#define SFT_RESULT sft_status
#endif

/* The constants of the type declared before them. That type is int32_t in every language, and so are the constants where
 * the language lets an enum say so. */
#if defined(__cplusplus) || defined(__STDC_VERSION__) && __STDC_VERSION__ >= 202311L
#define SFT_ENUM enum : int32_t
#elif defined(__clang__)
#define SFT_ENUM __extension__ enum : int32_t
#else
#define SFT_ENUM enum
#endif
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- 1. Status and version --------------------------------------------------------------------------------------- */

/* What a call came to. Each code is something a caller would act on differently; new ones may be appended. */
typedef int32_t sft_status;

SFT_ENUM {
    SFT_OK = 0,
    SFT_INVALID_ARGUMENT = 1,     /* an argument, option or message is not acceptable */
    SFT_NOT_FOUND = 2,            /* a file or directory does not exist */
    SFT_IO = 3,                   /* the operating system refused to read or write */
    SFT_INVALID_FILE = 4,         /* a file's content is broken or contradicts itself */
    SFT_UNSUPPORTED = 5,          /* well formed, but this version cannot do it */
    SFT_OUT_OF_MEMORY = 6,        /* memory could not be had */
    SFT_NO_SUPERVISED_TOKENS = 7, /* a conversation, or the batch, has no token to learn from */
    SFT_TOO_LONG = 8,             /* more tokens than the model's context or the length asked for */
    SFT_BUFFER_TOO_SMALL = 9,     /* the caller's array is too small; the count needed was written */
    SFT_NON_FINITE = 10,          /* a loss, gradient or weight is infinite or not a number; nothing was changed */
    SFT_CANCELLED = 11,           /* a callback asked to stop */
    SFT_BUSY = 12                 /* the object is in use by another call */
};

/* The message of the last call that failed on this thread: one line, what and where, for instance "model.safetensors:
 * tensor 'model.norm.weight' has shape [895], expected [896]". "" before the first failure. Never NULL; borrowed
 * until this thread's next call that fails. Lines longer than 1023 bytes are cut. Green threads that move between threads of
 * the system have to read it before they can move. */
const char *sft_last_error(void);

/* The constant's name, "SFT_OK" and so on; "unknown status" for any other number. Never NULL. */
const char *sft_status_name(sft_status status);

#define SFT_VERSION_MAJOR 0
#define SFT_VERSION_MINOR 2
#define SFT_VERSION_PATCH 0
#define SFT_VERSION (SFT_VERSION_MAJOR * 1000000 + SFT_VERSION_MINOR * 1000 + SFT_VERSION_PATCH)

/* SFT_VERSION and, as "0.2.0", its text: those of the library that is loaded, which may be newer than this header.
 * Programs work with every later library of the same major version (before 1.0: of the same minor version). */
uint32_t sft_version(void);
const char *sft_version_string(void);

/* ---- 2. Tokenizer ------------------------------------------------------------------------------------------------ */

/* A size that means: up to the NUL. */
#define SFT_ZSTRING ((size_t)-1)

/* A text in a list of texts. */
typedef struct sft_text {
    const char *data;
    size_t size;
} sft_text;

/* Initializes one from a string that ends with a NUL. */
#define SFT_TEXT(string) { (string), SFT_ZSTRING }

/* The tokenizer of a checkpoint: byte-level BPE with Qwen2's split pattern. Immutable. */
typedef struct sft_tokenizer sft_tokenizer;

/* Opens the tokenizer of a checkpoint directory: tokenizer.json, else vocab.json with merges.txt, else a .tiktoken
 * vocabulary; with tokenizer_config.json, special_tokens_map.json, added_tokens.json and chat_template.jinja where they
 * are. Or that of a GGUF file. A special token that is none of the tokens is not used, with a warning. */
SFT_RESULT sft_tokenizer_open(const char *directory, size_t directory_size, sft_tokenizer **tokenizer);

void sft_tokenizer_free(sft_tokenizer *tokenizer);

typedef struct sft_tokenizer_info {
    size_t vocabulary_size;  /* tokens without the added ones; 151643 for Qwen2 */
    size_t count;            /* tokens with the added ones */
    size_t model_max_length; /* how long its files want rows to be, in tokens; SIZE_MAX: they say nothing. The default of
                                max_length; the longest row that a model takes is its context_length */
    int32_t eos_token_id;    /* -1: none */
    int32_t pad_token_id;    /* -1: none */
    size_t added_tokens;     /* how many tokens are added ones */
} sft_tokenizer_info;

SFT_RESULT sft_tokenizer_get_info(const sft_tokenizer *tokenizer, sft_tokenizer_info *info, size_t info_size);

/* Text that describes the tokenizer to a person: sizes, special tokens, added tokens. */
SFT_RESULT sft_tokenizer_summary(const sft_tokenizer *tokenizer, char *text, size_t capacity, size_t *size);

/* Text to ids. Added tokens such as <|im_end|> that stand in the text become their ids, as in transformers; with
 * split_special_tokens they are text like any other, which is right for text of unknown origin. */
SFT_RESULT sft_tokenizer_encode(const sft_tokenizer *tokenizer, const char *text, size_t text_size,
                                int32_t split_special_tokens, int32_t *ids, size_t capacity, size_t *count);

/* Texts to ids without padding, on all of the library's threads where there is enough to do. The ids of text i are ids[offsets[i]]
 * up to, but not including, ids[offsets[i + 1]]: `offsets` has room for text_count + 1 numbers, and is written where ids is.
 * A capacity of all texts' bytes together is enough for text that Unicode normalization does not make longer. */
SFT_RESULT sft_tokenizer_encode_texts(const sft_tokenizer *tokenizer, const sft_text *texts, size_t text_count,
                                      int32_t split_special_tokens, int32_t *ids, size_t capacity, size_t *count,
                                      size_t *offsets);

/* Ids to text. An id without a token becomes nothing, bytes that form no UTF-8 become U+FFFD. skip_special_tokens
 * leaves out the added tokens that are marked as special. An id below 0 is refused. */
SFT_RESULT sft_tokenizer_decode(const sft_tokenizer *tokenizer, const int32_t *ids, size_t id_count,
                                int32_t skip_special_tokens, char *text, size_t capacity, size_t *size);

/* The id of a token, written as in the vocabulary file (an added token as it reads); -1 if there is none. */
SFT_RESULT sft_tokenizer_token_to_id(const sft_tokenizer *tokenizer, const char *token, size_t token_size, int32_t *id);

/* The reverse. SFT_INVALID_ARGUMENT if the id has no token. */
SFT_RESULT sft_tokenizer_id_to_token(const sft_tokenizer *tokenizer, int32_t id, char *token, size_t capacity,
                                     size_t *size);

/* A token that is matched as a whole; sft_tokenizer_id_to_token gives its text. */
typedef struct sft_added_token {
    int32_t id;
    int32_t is_special; /* a control token: left out where special tokens are skipped */
} sft_added_token;

/* Added token number `index` of the info's added_tokens, in the order of the ids. */
SFT_RESULT sft_tokenizer_get_added_token(const sft_tokenizer *tokenizer, size_t index, sft_added_token *token,
                                         size_t token_size);

/* Ids to text one by one, as they are generated. A character whose bytes stand in several tokens is handed out with the
 * last of them; all texts together are what sft_tokenizer_decode makes of all ids. */
typedef struct sft_decoder sft_decoder;

SFT_RESULT sft_decoder_create(const sft_tokenizer *tokenizer, int32_t skip_special_tokens, sft_decoder **decoder);

void sft_decoder_free(sft_decoder *decoder);

/* The characters that `id` completes; often a word, possibly none. After SFT_BUFFER_TOO_SMALL the id is still to come. */
SFT_RESULT sft_decoder_append(sft_decoder *decoder, int32_t id, char *text, size_t capacity, size_t *size);

/* What is incomplete as U+FFFD, when no more ids follow. The decoder is as new then. */
SFT_RESULT sft_decoder_finish(sft_decoder *decoder, char *text, size_t capacity, size_t *size);

/* ---- 3. Chat template -------------------------------------------------------------------------------------------- */

/* One message of a conversation. Set every field; SFT_MESSAGE does. */
typedef struct sft_message {
    const char *role; /* "system", "user", "assistant", ...: not empty, no control tokens */
    size_t role_size;
    const char *content;
    size_t content_size;
    double weight; /* 1; 0: nothing of this message is learned, whatever the label policy says; another number
                      multiplies the loss at what is learned of it */
    const char *fields; /* NULL, or more for the template to see as a JSON object:
                           {"tool_calls": [...], "reasoning_content": "..."}; in the first message of a
                           conversation also "tools", the functions that the model may call in it */
    size_t fields_size;
} sft_message;

/* Initializes a message from two strings that end with a NUL. */
#define SFT_MESSAGE(role, content) { (role), SFT_ZSTRING, (content), SFT_ZSTRING, 1.0, NULL, 0 }

/* Which template turns messages into text. */
typedef int32_t sft_chat_template;

SFT_ENUM {
    SFT_TEMPLATE_CHECKPOINT = 0, /* the checkpoint's own, ChatML where it has none */
    SFT_TEMPLATE_CHATML = 1      /* ChatML without a default system prompt, whatever the checkpoint has */
};

/* The same tokenizer with another chat template, or with arguments for it: whatever is done with the new one, training as well as
 * chat, uses them. Both tokenizers are to be freed.
 *
 * chat_template: the name of one of the checkpoint's ("tool_use"), "chatml", or a template in Jinja; NULL: the checkpoint's own
 * (the one called "tool_use", if there is one, where the arguments or a conversation hold tools). arguments: a JSON object of
 * variables that the template knows, such as {"tools": [...], "enable_thinking": false}; NULL: none. */
SFT_RESULT sft_tokenizer_with_chat_template(const sft_tokenizer *tokenizer, const char *chat_template,
                                            size_t chat_template_size, const char *arguments, size_t arguments_size,
                                            sft_tokenizer **changed);

typedef struct sft_chat_options {
    size_t struct_size;
    int32_t add_generation_prompt;   /* 0; 1: end with the opening of an assistant message, for the model to go on */
    int32_t split_special_tokens;    /* 1: control tokens inside a content are text; 0: they take effect */
    sft_chat_template chat_template; /* SFT_TEMPLATE_CHECKPOINT */
    int32_t reserved;                /* 0 */
} sft_chat_options;

SFT_RESULT sft_chat_options_init(sft_chat_options *options, size_t struct_size);

/* A conversation as the text that the model sees. */
SFT_RESULT sft_render_chat_template(const sft_tokenizer *tokenizer, const sft_message *messages, size_t message_size,
                                    size_t message_count, const sft_chat_options *options, char *text, size_t capacity,
                                    size_t *size);

/* A conversation as the ids that the model sees. They are made segment by segment (role, content, ...), as in
 * sft_preprocess, so that a content cannot reach into the control tokens around it. */
SFT_RESULT sft_apply_chat_template(const sft_tokenizer *tokenizer, const sft_message *messages, size_t message_size,
                                   size_t message_count, const sft_chat_options *options, int32_t *ids, size_t capacity,
                                   size_t *count);

/* ---- 4. Batch ---------------------------------------------------------------------------------------------------- */

/* Rows of token ids, what to learn at each, and which are real: three arrays of (rows, columns). Immutable. */
typedef struct sft_batch sft_batch;

/* Which tokens are learned. A label is the token's id, or -100 for "not learned"; the loss compares the label of a
 * position with what the model predicts at the position before.
 *
 * For each answer of the assistant the prompt is what the chat template writes of the messages before it, with the opening of an
 * answer; the answer is what the template adds when the message is there, up to and with the token that ends the turn (<|im_end|>). So
 * what is learned is what the model is asked for in chat, whatever the template is. A policy that has no meaning for a
 * template is SFT_UNSUPPORTED. */
typedef int32_t sft_label_policy;

SFT_ENUM {
    SFT_LABELS_QWEN = 0,              /* <|im_start|>, <|im_end|> and the last newline of every message, and the content
                                         of every role but system, user and tool: QwenLM's own policy, for ChatML only */
    SFT_LABELS_ASSISTANT = 1,         /* the assistant's answers */
    SFT_LABELS_ASSISTANT_CONTENT = 2, /* the assistant's answers without the token that ends them */
    SFT_LABELS_ASSISTANT_NEWLINE = 3, /* the assistant's answers and the newline after the token that ends them */
    SFT_LABELS_LAST_ASSISTANT = 4,    /* the last answer of the assistant */
    SFT_LABELS_ALL = 5,               /* everything but padding */
    SFT_LABELS_GENERATION = 6         /* what the template marks with {% generation %} */
};

typedef struct sft_preprocess_options {
    size_t struct_size;
    size_t max_length;               /* 0: the tokenizer's model_max_length; longer rows are cut on the right to this many
                                        tokens, with a warning */
    sft_label_policy label_policy;   /* SFT_LABELS_QWEN */
    int32_t split_special_tokens;    /* 1: control tokens inside a content are text; 0: they take effect */
    int32_t add_default_system;      /* whether a conversation without a system message begins with the template's, as in chat;
                                        0: no; 1: yes; -1: yes, except in sft_preprocess with SFT_LABELS_QWEN */
    sft_chat_template chat_template; /* SFT_TEMPLATE_CHECKPOINT */
    size_t context_length;           /* 0: not known, the model refuses what is too long when it meets it; otherwise the
                                        model's, and a longer row, cut or not, is SFT_TOO_LONG */
} sft_preprocess_options;

SFT_RESULT sft_preprocess_options_init(sft_preprocess_options *options, size_t struct_size);

/* Conversations to a batch, padded on the right to the longest row. A conversation is one row, or several that begin alike where the
 * template writes earlier answers differently from how they were given (Qwen3's leaves out their reasoning): each answer is
 * learned as it was given, and what rows have in common is computed once. `messages` holds the messages of all
 * conversations one after another, message_counts how many each of them has. A conversation without a supervised token
 * is SFT_NO_SUPERVISED_TOKENS, and the message names its row, counted from 0. */
SFT_RESULT sft_preprocess(const sft_tokenizer *tokenizer, const sft_message *messages, size_t message_size,
                          const size_t *message_counts, size_t conversation_count,
                          const sft_preprocess_options *options, sft_batch **batch);

typedef struct sft_encode_options {
    size_t struct_size;
    size_t max_length;            /* 0: rows are not cut; otherwise longer ones are, on the right */
    size_t min_columns;           /* 0; rows are padded to the longest, and to at least this many columns */
    size_t pad_to_multiple_of;    /* 1; and to a multiple of this many */
    int32_t split_special_tokens; /* 0: added tokens in a text become their ids; 1: they are text */
    int32_t reserved;             /* 0 */
} sft_encode_options;

SFT_RESULT sft_encode_options_init(sft_encode_options *options, size_t struct_size);

/* Texts to a batch without labels, one row each, padded on the right. An empty text is a row of padding; there is at
 * least one column. */
SFT_RESULT sft_encode_batch(const sft_tokenizer *tokenizer, const sft_text *texts, size_t text_count,
                            const sft_encode_options *options, sft_batch **batch);

/* A batch from arrays of one's own, which are copied. A label is -100 or an id. A row of the mask is 1s with 0s to the
 * right or the left of them; NULL: all 1. token_weights multiply the loss at a label, none is negative; NULL: all 1. */
SFT_RESULT sft_batch_create(size_t rows, size_t columns, const int64_t *input_ids, const int64_t *labels,
                            const int64_t *attention_mask, const float *token_weights, sft_batch **batch);

void sft_batch_free(sft_batch *batch);

/* The arrays of a batch, each of (rows, columns), borrowed. A batch holds its rows without padding: the arrays are made
 * when they are first asked for, which is where memory for them may be refused. */
typedef struct sft_batch_view {
    size_t rows;
    size_t columns;
    const int64_t *input_ids;
    const int64_t *labels;         /* -100: not learned */
    const int64_t *attention_mask; /* 1 at real tokens, 0 at padding */
    const float *token_weights;    /* NULL: 1 everywhere */
    const size_t *conversations;   /* for each row the number of the conversation, text or given row that it is made of */
} sft_batch_view;

SFT_RESULT sft_batch_get_view(const sft_batch *batch, sft_batch_view *view, size_t view_size);

/* ---- 5. Model ---------------------------------------------------------------------------------------------------- */

/* The weights of a Qwen2 or Qwen3 decoder. Changed by its trainers and by sft_model_write_parameter, by nothing else. */
typedef struct sft_model sft_model;

/* How weights are kept, in memory or in a file. */
typedef int32_t sft_dtype;

SFT_ENUM {
    SFT_DTYPE_DEFAULT = 0, /* float32 in memory; in a saved file the format of the files the model came from */
    SFT_FLOAT32 = 1,
    SFT_BFLOAT16 = 2,
    SFT_FLOAT16 = 3,
    SFT_DTYPE_AUTO = 4     /* as in the files: in memory bfloat16 where all matrices are, float32 where they are not */
};

/* Whether they are kept in fewer bits in memory, for faster answers. Such a model is not saved or changed, and
 * what is trained on it is an adapter. */
typedef int32_t sft_quantization;

SFT_ENUM {
    SFT_QUANTIZATION_NONE = 0,
    SFT_QUANTIZATION_INT8 = 1,     /* 8 bits and a scale for every 64 weights: half the memory of bfloat16 */
    SFT_QUANTIZATION_LOSSLESS = 2, /* bfloat16 in 12 bits: the same weights, three quarters of the memory */
    SFT_QUANTIZATION_INT6 = 3,     /* 6 bits and a scale for every 64 weights: two fifths of the memory of bfloat16, and
                                      faster answers with AVX-512 VBMI; with AVX2 level with 8 bits */
    SFT_QUANTIZATION_INT4 = 4      /* 4 bits and a scale for every 32 weights: under a third of the memory of bfloat16 and
                                      the least to read for a token; answers differ noticeably from the model's own */
};

/* Called during a long call with how much of it is done, and all of it: bytes where files are read or written.
 * Anything but 0 ends the call with SFT_CANCELLED. Must return (rule 3). */
typedef int32_t (*sft_progress_callback)(void *user_data, uint64_t done, uint64_t total);

typedef struct sft_model_options {
    size_t struct_size;
    sft_dtype dtype;                   /* SFT_DTYPE_DEFAULT; how weights are kept in memory */
    sft_quantization quantization;     /* SFT_QUANTIZATION_NONE; with another, dtype is not looked at */
    sft_progress_callback on_progress; /* NULL */
    void *user_data;                   /* passed to on_progress */
} sft_model_options;

SFT_RESULT sft_model_options_init(sft_model_options *options, size_t struct_size);

/* Opens a checkpoint directory: config.json, generation_config.json, and model.safetensors or its shards with
 * model.safetensors.index.json. Or a GGUF file, whose weights are widened where it has them in fewer bits (Q8_0, Q4_0, Q4_1,
 * Q5_0, Q5_1, Q4_K, Q5_K, Q6_K); other types are refused by name. Every tensor is checked against the configuration. */
SFT_RESULT sft_model_open(const char *directory, size_t directory_size, const sft_model_options *options,
                          sft_model **model);

void sft_model_free(sft_model *model);

/* A copy that changes independently, so that one thread can chat with it while another trains the original. Where the model has
 * adapters or its weights are quantized, both have the same weights in memory until one of them is to change its own: the copy
 * takes no more than its adapters. */
SFT_RESULT sft_model_clone(sft_model *model, sft_model **clone);

/* Takes over the weights and adapters of another model of the same sizes and dtype: puts back what a clone has set aside. Both keep
 * their trainers, which know nothing of it. */
SFT_RESULT sft_model_copy_from(sft_model *model, sft_model *source);

typedef struct sft_model_info {
    size_t hidden_size;
    size_t intermediate_size;
    size_t layers;
    size_t heads;
    size_t kv_heads;
    size_t head_dimension;
    size_t vocabulary_size; /* rows of the embedding and columns of the logits; may exceed the tokenizer's count */
    size_t context_length;  /* the most positions a sequence may have */
    uint64_t weights;       /* numbers in all parameters together, a tied matrix counted once */
    sft_dtype dtype;        /* how they are kept in memory */
    int32_t ties_word_embeddings;
    sft_quantization quantization;
    int32_t reserved;
} sft_model_info;

SFT_RESULT sft_model_get_info(const sft_model *model, sft_model_info *info, size_t info_size);

/* Logits of every position: `logits` receives (rows, columns, vocabulary_size) numbers. input_ids and attention_mask
 * are (rows, columns), the mask as in sft_batch_create. At padding they are 0. capacity is checked before anything is
 * computed. Neither training nor chatting needs this call. */
SFT_RESULT sft_model_forward(sft_model *model, size_t rows, size_t columns, const int64_t *input_ids,
                             const int64_t *attention_mask, float *logits, size_t capacity, size_t *count);

typedef struct sft_save_options {
    size_t struct_size;
    sft_dtype dtype;                   /* SFT_DTYPE_DEFAULT; how weights are written */
    int32_t reserved;                  /* 0 */
    sft_progress_callback on_progress; /* NULL */
    void *user_data;                   /* passed to on_progress */
} sft_save_options;

SFT_RESULT sft_save_options_init(sft_save_options *options, size_t struct_size);

/* Writes a checkpoint directory that transformers loads as well: the weights, and the tokenizer, template and documents
 * of the directory the model came from. It is written beside its final place and put there in one step, so a failure
 * leaves an older one whole; other files that are there stay. Where the directory cannot be exchanged (it is a mount
 * point, or holds directories) its files are replaced one by one, config.json last. If the last step fails, the
 * message says where the new checkpoint is. A weight that is not finite or too large for the dtype is SFT_NON_FINITE
 * before anything is written. Adapters are not part of it (sft_model_save_adapter, or sft_model_merge_adapter before):
 * where one is set, a warning says so. */
SFT_RESULT sft_model_save(sft_model *model, const char *directory, size_t directory_size,
                          const sft_save_options *options);

/* Whether sft_model_save could write to this directory with these options: everything but the weights is written and
 * removed again, and there must be room for the weights. Better known before hours of training than after them. Missing
 * parent directories are created; on_progress is not called. */
SFT_RESULT sft_model_check_destination(sft_model *model, const char *directory, size_t directory_size,
                                       const sft_save_options *options);

/* How matrices are written to a GGUF file; vectors are float32 in any case. */
typedef int32_t sft_gguf_type;

SFT_ENUM {
    SFT_GGUF_DEFAULT = 0, /* as the files had them that the model came from; of a GGUF file in fewer bits, Q8_0 */
    SFT_GGUF_F32 = 1,
    SFT_GGUF_BF16 = 2,
    SFT_GGUF_F16 = 3,
    SFT_GGUF_Q8_0 = 4     /* 8 bits and a scale for every 32 weights; float16 where rows are not made of 32s */
};

typedef struct sft_gguf_options {
    size_t struct_size;
    sft_gguf_type type;                /* SFT_GGUF_DEFAULT */
    int32_t writes_modelfile;          /* 0; 1: a file Modelfile for ollama is written beside it, and replaces one that is there */
    sft_progress_callback on_progress; /* NULL */
    void *user_data;                   /* passed to on_progress */
} sft_gguf_options;

SFT_RESULT sft_gguf_options_init(sft_gguf_options *options, size_t struct_size);

/* Writes the model as one GGUF file, which llama.cpp and what is built on it open: weights, tokenizer, chat template, and the ids
 * that end an answer. Adapters are not part of it. The path is that of a regular file, which stays whole until the new one is
 * complete. A weight that is not finite or too large for the type is SFT_NON_FINITE. */
SFT_RESULT sft_model_save_gguf(sft_model *model, const char *path, size_t path_size, const sft_gguf_options *options);

/* An adapter is a small change of the model's linear layers that is trained in place of the weights (LoRA): each becomes
 * W + scale * B * A, with A and B of few rows and columns, float32. A model may have several, by name, of which at most one
 * is set: it takes part in every answer, and a trainer made while it is set trains it and nothing else. Weights may be kept in
 * any format below it. It may also hold rows for a few tokens, in place of the embedding's. A trainer made for another one is
 * SFT_INVALID_ARGUMENT until that is set again; sessions compute their conversations anew.
 *
 * Adds one that changes nothing yet, and sets it. A name is that of a directory; "default" is PEFT's. `configuration` is
 * JSON with names, meaning and defaults of PEFT's LoraConfig, except that all linear layers are the default:
 *     {"r": 8, "lora_alpha": 16, "lora_dropout": 0.0, "target_modules": "all-linear", "use_rslora": false,
 *      "rank_pattern": {}, "alpha_pattern": {}, "layers_to_transform": null, "trainable_token_indices": null}
 * NULL: {}. target_modules is a list of names or ends of names, "all-linear", or a regular expression for whole names.
 * trainable_token_indices are ids of tokens whose rows of the embedding, and of the output matrix where the two are one, are
 * trained as well: so a base model learns <|im_end|>. {"embed_tokens": [ids], "lm_head": [ids]} is for an output matrix of its
 * own. The seed is that of A's starting values. */
SFT_RESULT sft_model_add_adapter(sft_model *model, const char *name, size_t name_size, const char *configuration,
                                 size_t configuration_size, uint64_t seed);

/* Loads one that PEFT or sft_model_save_adapter has written (adapter_config.json, adapter_model.safetensors; in the directory
 * or in its sub-directory of that name), and sets it. What is more than A and B of linear layers and rows of tokens (DoRA,
 * biases, embeddings, modules_to_save) is SFT_UNSUPPORTED by its name. One made on another base of the same sizes is a warning. */
SFT_RESULT sft_model_load_adapter(sft_model *model, const char *name, size_t name_size, const char *directory,
                                  size_t directory_size);

/* Writes one such that PEFT opens it: "default" to the directory itself, another to its sub-directory of that name. An older
 * one there is never mixed with the new one; it stays until the new one is complete, except where it has another configuration
 * and shares the directory with other files: a save that is killed there may leave none. */
SFT_RESULT sft_model_save_adapter(sft_model *model, const char *name, size_t name_size, const char *directory,
                                  size_t directory_size);

/* Writes one as a GGUF file of its own, which llama.cpp adds to its base (--lora): A and B in float32, with an alpha that gives every
 * layer the scale it has here. One with rows of tokens is SFT_UNSUPPORTED: merge it, and write the model. */
SFT_RESULT sft_model_save_adapter_gguf(sft_model *model, const char *name, size_t name_size, const char *path,
                                       size_t path_size);

/* Sets an adapter; (NULL, 0): none, and the model answers as without. Nothing is computed or copied. */
SFT_RESULT sft_model_set_adapter(sft_model *model, const char *name, size_t name_size);

/* Removes an adapter; where it was set, none is. */
SFT_RESULT sft_model_delete_adapter(sft_model *model, const char *name, size_t name_size);

/* Adds what an adapter does to the weights, float32 or bfloat16, and removes it: sft_model_save then writes a checkpoint that
 * needs no adapter. */
SFT_RESULT sft_model_merge_adapter(sft_model *model, const char *name, size_t name_size);

/* How many adapters there are; the name of number `index`, in the order they were added; and of the one that is set, "" for
 * none. */
SFT_RESULT sft_model_count_adapters(sft_model *model, size_t *count);
SFT_RESULT sft_model_get_adapter_name(sft_model *model, size_t index, char *name, size_t capacity, size_t *size);
SFT_RESULT sft_model_get_active_adapter(sft_model *model, char *name, size_t capacity, size_t *size);

/* ---- 6. Generation ----------------------------------------------------------------------------------------------- */

/* What a model answered. Immutable. */
typedef struct sft_generation sft_generation;

/* What one more token adds to an answer. */
typedef struct sft_piece {
    size_t sample;         /* which of num_return_sequences answers, from 0 */
    const char *text;      /* characters that are certain now, possibly none; borrowed for the call */
    size_t text_size;
    int32_t id;            /* the new id */
    float log_probability; /* of it; NaN unless asked for */
    int32_t is_reasoning;  /* 1: part of <think>...</think>, the marks included, where the vocabulary has these tokens */
    int32_t reserved;
} sft_piece;

/* Called with each new id; anything but 0 ends the generation after it. The model is busy meanwhile. Must return (rule 3). */
typedef int32_t (*sft_piece_callback)(void *user_data, const sft_piece *piece);

/* -1 stands for what the checkpoint's generation_config.json says. */
typedef struct sft_generation_options {
    size_t struct_size;
    size_t max_new_tokens;        /* 512 */
    int32_t do_sample;            /* -1; 0: always the likeliest token (greedy); 1: draw one */
    int32_t top_k;                /* -1; 0: off; draw among the k likeliest only */
    float temperature;            /* -1; above 0: logits are divided by it */
    float top_p;                  /* -1; above 0, at most 1: draw among the likeliest that together reach this much */
    float min_p;                  /* -1; 0: off; at most 1: draw among those at least this many times as likely as the first */
    float repetition_penalty;     /* -1; above 0; 1: off: ids seen before become less likely, as in transformers */
    int32_t has_seed;             /* 0: every call draws differently; 1: the same seed draws the same */
    int32_t log_probabilities;    /* 0; 1: keep the probability of every new id */
    uint64_t seed;
    size_t num_return_sequences;  /* 1; independent answers to the same prompt, which is computed once */
    const int32_t *stop_ids;      /* NULL; ids to end at, beside the checkpoint's */
    size_t stop_id_count;         /* 0 */
    const sft_text *stop_strings; /* NULL; texts to end before; sft_model_generate, which makes no text, refuses them */
    size_t stop_string_count;     /* 0 */
    sft_piece_callback on_piece;  /* NULL */
    void *user_data;              /* passed to on_piece */
} sft_generation_options;

SFT_RESULT sft_generation_options_init(sft_generation_options *options, size_t struct_size);

/* Continues a row of ids until a stop id of the checkpoint, max_new_tokens or the end of the context. */
SFT_RESULT sft_model_generate(sft_model *model, const int32_t *ids, size_t id_count,
                              const sft_generation_options *options, sft_generation **generation);

/* Answers a conversation: chat template with the opening of an assistant message, generation, text without special
 * tokens. Stops at <|im_end|> too. Where the conversation has no system message the template's default system prompt is
 * added, as transformers does; in training too, see add_default_system. */
SFT_RESULT sft_model_chat(sft_model *model, const sft_tokenizer *tokenizer, const sft_message *messages,
                          size_t message_size, size_t message_count, const sft_generation_options *options,
                          sft_generation **generation);

/* Ends the generation that is under way on another thread after its present token; without one, does nothing. */
SFT_RESULT sft_model_stop_generating(sft_model *model);

void sft_generation_free(sft_generation *generation);

/* The new ids, a stop id at the end included, borrowed; count may be NULL. NULL only if `generation` is. */
const int32_t *sft_generation_ids(const sft_generation *generation, size_t *count);

/* The answer of sft_model_chat as text, borrowed; size may be NULL. "" for sft_model_generate, which knows no
 * tokenizer. NULL only if `generation` is. */
const char *sft_generation_text(const sft_generation *generation, size_t *size);

/* Why an answer ends. */
typedef int32_t sft_finish_reason;

SFT_ENUM {
    SFT_FINISH_STOP_ID = 0,     /* at a stop id, the last of the ids */
    SFT_FINISH_STOP_STRING = 1, /* at a stop string; the text ends before it */
    SFT_FINISH_LENGTH = 2,      /* max_new_tokens were generated */
    SFT_FINISH_CONTEXT = 3,     /* the model's context is full */
    SFT_FINISH_CANCELLED = 4    /* the callback or another thread ended it */
};

/* "stop_id", "stop_string", "length", "context" or "cancelled"; "unknown finish reason" for any other number. Never NULL. */
const char *sft_finish_reason_name(sft_finish_reason reason);

/* All that is known of an answer; pointers are borrowed. */
typedef struct sft_answer {
    const int32_t *ids;
    size_t id_count;
    const char *text;
    size_t text_size;
    const float *log_probabilities;  /* of each id, natural logarithms, before penalty, temperature and choice; NULL
                                        unless asked for */
    size_t prompt_tokens;            /* ids that the answer continues, */
    size_t computed_prompt_tokens;   /* and how many of them were computed for it */
    sft_finish_reason finish_reason; /* SFT_FINISH_... */
    int32_t reserved;
    const char *content;             /* the text without reasoning (<think>) and calls of functions (<tool_call>) */
    size_t content_size;
    const char *reasoning;           /* NULL: there is none */
    size_t reasoning_size;
    const char *tool_calls;          /* a JSON list, as messages have them: [{"type": "function", "function": {"name": "f",
                                        "arguments": {...}}}]; NULL: none */
    size_t tool_calls_size;
} sft_answer;

/* How many answers there are: num_return_sequences, or fewer after a cancellation. 0 for NULL. */
size_t sft_generation_count(const sft_generation *generation);

/* Answer number `index`; sft_generation_ids and sft_generation_text are those of number 0. */
SFT_RESULT sft_generation_get_answer(const sft_generation *generation, size_t index, sft_answer *answer,
                                     size_t answer_size);

/* A conversation that remembers what the model has computed: a turn costs its own tokens, not those of all turns before.
 * Every answer is what sft_model_chat gives for the same messages, and after training everything is computed anew. */
typedef struct sft_session sft_session;

/* `messages` are what the conversation begins with: none, a system message, or turns from elsewhere. Where they do not
 * begin with a system message and the template has a default one, that is the conversation's first message. */
SFT_RESULT sft_session_create(sft_model *model, const sft_tokenizer *tokenizer, const sft_message *messages,
                              size_t message_size, size_t message_count, sft_chat_template chat_template,
                              sft_session **session);

void sft_session_free(sft_session *session);

/* Says something to the model and waits for its answer. Both become part of the conversation, also when the answer was
 * stopped; after a failure it is as before. A full context is SFT_TOO_LONG. num_return_sequences must be 1. */
SFT_RESULT sft_session_send(sft_session *session, const char *content, size_t content_size,
                            const sft_generation_options *options, sft_generation **generation);

/* Ends the answer that is under way on another thread; without one, does nothing. */
SFT_RESULT sft_session_stop(sft_session *session);

/* Adds messages without an answer from the model: turns that happened elsewhere. */
SFT_RESULT sft_session_append(sft_session *session, const sft_message *messages, size_t message_size,
                              size_t message_count);

/* Puts another text in the place of the last answer, which is the conversation's last message, and computes nothing. */
SFT_RESULT sft_session_replace_answer(sft_session *session, const char *content, size_t content_size);

/* Takes back the last question and what was answered to it; went_back, which may be NULL, says whether there was one. */
SFT_RESULT sft_session_go_back(sft_session *session, int32_t *went_back);

/* Begins the conversation anew. */
SFT_RESULT sft_session_reset(sft_session *session);

/* The conversation so far, with the system prompt that was in effect: all that the model saw of it. So the way to correct
 * an answer is sft_session_replace_answer, then sft_preprocess of these messages with the session's template: the batch
 * begins with the very ids that the answer was a continuation of. Role and content are borrowed until the message is no
 * longer part of the conversation. 0 for NULL. */
size_t sft_session_message_count(const sft_session *session);
SFT_RESULT sft_session_get_message(const sft_session *session, size_t index, sft_message *message, size_t message_size);

/* ---- 7. Training ------------------------------------------------------------------------------------------------- */

/* An optimizer with its state, and the model it trains. */
typedef struct sft_trainer sft_trainer;

/* Adds up `count` numbers over all ranks, in place, such that every rank gets the same bits: MPI_Allreduce with MPI_IN_PLACE,
 * MPI_FLOAT and MPI_SUM, or the like. Returns 0; anything else ends the step with SFT_IO. Must return (rule 3). */
typedef int32_t (*sft_all_reduce_callback)(void *user_data, float *values, size_t count);

/* How a trainer works, whatever its optimizer. */
typedef struct sft_trainer_options {
    size_t struct_size;
    double max_grad_norm;              /* 0: off; gradients are scaled down to this L2 norm */
    uint64_t seed;                     /* 0; of stochastic rounding */
    int32_t recomputation;             /* 0; 1: keep only the layers' inputs between forward and backward and compute
                                          the rest again: slower, and much less memory for long rows */
    int32_t shares_prefixes;           /* 1: a beginning that rows have in common is computed once; exact */
    int32_t decays_vectors;            /* 1: weight decay applies to norms and biases too, as in torch */
    int32_t rounds_stochastically;     /* 1: bfloat16 weights are rounded at random with the right mean, so that small
                                          updates are not lost; 0: to the nearest */
    sft_progress_callback on_progress; /* NULL; called after every layer of a step or an evaluation, in units that mean
                                          nothing else. The model is busy meanwhile, and as it was after SFT_CANCELLED.
                                          Where grad_norm is not formed, weights change during backward, and from then on
                                          the step is finished whatever the callback says */
    void *user_data;                   /* passed to on_progress and all_reduce; must live until the trainer and all its runs
                                          are freed */
    sft_all_reduce_callback all_reduce; /* NULL; with world_size above 1: several processes take every step together */
    size_t rank;                       /* 0; this process's number, below world_size */
    size_t world_size;                 /* 1; how many processes there are */
    size_t check_interval;             /* 100; ranks compare their weights at the first step and, unless they step by
                                          themselves, every so many steps */
    double loraplus_lr_ratio;          /* 1; how many times as fast an adapter's B learns as its A (LoRA+) */
    size_t local_steps;                /* 1; more: ranks take so many steps by themselves and then average their weights */
    double outer_lr;                   /* 1, and */
    double outer_momentum;             /* 0; of the step from one average to the next, as in DiLoCo (0.7 and 0.9); they need
                                          local_steps above 1 and 8 more bytes for each trained parameter */
} sft_trainer_options;

/* Several processes (world_size above 1, the same in all) train one model, each on rows of its own: a step on N ranks is the
 * step that one process takes on the batches of all of them, whatever their sizes, and loss, supervised_tokens and grad_norm
 * are those of all on every rank. All ranks begin with the same weights and options, which is checked, make the same steps in
 * the same order, and have the same bits in their weights afterwards. A rank may have nothing to learn in a step
 * (sft_train_step_accumulated may be called with batch_count 0); where none has, or where one of them fails or is cancelled, all of
 * them return the same status, and nothing has changed. Gradients have memory of their own then, as with max_grad_norm.
 * all_reduce is called on the thread that called the library, several times a step: for a few numbers, then for gradients,
 * 25 MB at a time. After it has failed, the trainer takes no more steps: make a new one, on every rank.
 * A rank whose model is SFT_BUSY says so to nobody: the others wait for it. Evaluations are each rank's own. A run (section 8)
 * gives every rank its part of each step's rows, batch_size being that of a rank. A state is the same on all ranks: one saves
 * it, all load it, with the same world_size.
 * With local_steps above 1 each rank takes its steps as a single process does, and loss, supervised_tokens and grad_norm are its
 * own. After local_steps of them, refused ones and those without a target included, every rank's weights are replaced by the mean
 * of all; optimizers keep their own memory. With outer_lr or outer_momentum the way from the last average to that mean is a
 * gradient instead, along which SGD with Nesterov's momentum goes, the same on all. A rank that ends between two averages (an
 * error, a cancellation) tells nobody: the others wait for it in all_reduce. A run averages after its last step, too; a loop of
 * your own takes a multiple of local_steps. A state can be saved, and a snapshot taken, right after an average only; a state
 * holds the optimizer's memory of the rank that saves it, and the outer momentum of all. */

SFT_RESULT sft_trainer_options_init(sft_trainer_options *options, size_t struct_size);

/* Stochastic gradient descent with torch's semantics, names and defaults. Without momentum (and max_grad_norm) it
 * needs no memory for gradients. */
typedef struct sft_sgd_options {
    size_t struct_size;
    double lr;           /* 1e-3, the learning rate */
    double momentum;     /* 0 */
    double dampening;    /* 0 */
    double weight_decay; /* 0 */
    int32_t nesterov;    /* 0 */
    int32_t reserved;    /* 0 */
} sft_sgd_options;

SFT_RESULT sft_sgd_options_init(sft_sgd_options *options, size_t struct_size);
SFT_RESULT sft_trainer_create_sgd(sft_model *model, const sft_sgd_options *optimizer,
                                  const sft_trainer_options *options, sft_trainer **trainer);

/* AdamW with torch's semantics, names and defaults. Keeps two numbers for every weight. */
typedef struct sft_adamw_options {
    size_t struct_size;
    double lr;           /* 1e-3, the learning rate */
    double beta1;        /* 0.9 */
    double beta2;        /* 0.999 */
    double eps;          /* 1e-8 */
    double weight_decay; /* 0.01 */
    int32_t state_bits;  /* 32; 8: the two numbers in 8 bits each, with a scale for every 256 weights, as AdamW8bit of
                            bitsandbytes; small parameters keep 32 */
    int32_t reserved;    /* 0 */
} sft_adamw_options;

SFT_RESULT sft_adamw_options_init(sft_adamw_options *options, size_t struct_size);
SFT_RESULT sft_trainer_create_adamw(sft_model *model, const sft_adamw_options *optimizer,
                                    const sft_trainer_options *options, sft_trainer **trainer);

void sft_trainer_free(sft_trainer *trainer);

/* Ends the step or the evaluation that is under way on another thread with SFT_CANCELLED, after its present layer and
 * unless it has begun to change weights; without one, does nothing. */
SFT_RESULT sft_trainer_stop(sft_trainer *trainer);

/* The learning rate of the next steps. */
SFT_RESULT sft_trainer_set_lr(sft_trainer *trainer, double lr);

/* The learning rate of the next step, and how many steps were taken (sft_trainer_load_state puts both back). */
SFT_RESULT sft_trainer_get_lr(const sft_trainer *trainer, double *lr);
SFT_RESULT sft_trainer_get_step_count(const sft_trainer *trainer, uint64_t *step_count);

typedef struct sft_step_metrics {
    double loss;               /* mean cross-entropy per supervised token before the update, in nats */
    double grad_norm;          /* L2 norm over all parameters, before max_grad_norm; 0 where has_grad_norm is 0 */
    double seconds;            /* of wall-clock time */
    uint64_t supervised_tokens;
    int32_t has_grad_norm;     /* 0 where no gradient memory was used: evaluation, and SGD as its comment says */
} sft_step_metrics;

/* One optimizer step on a batch: forward, loss, backward, update. metrics may be NULL.
 *
 * SFT_NON_FINITE: the loss or a gradient is not finite, or the step would make a weight or the optimizer's memory infinite or
 * NaN. The weights are left alone, with one exception: plain SGD without clipping writes each gradient straight into
 * its weight, and where only a later one turns out too large, the earlier ones have been written (sft_last_error says
 * so). No weight ever becomes infinite or NaN. sft_model_clone keeps a state to go back to; max_grad_norm makes every step
 * all or nothing. */
SFT_RESULT sft_train_step(sft_trainer *trainer, const sft_batch *batch, sft_step_metrics *metrics, size_t metrics_size);

/* One optimizer step on several batches: the same step as on one batch of all their rows, in the memory that the
 * largest takes. */
SFT_RESULT sft_train_step_accumulated(sft_trainer *trainer, const sft_batch *const *batches, size_t batch_count,
                                      sft_step_metrics *metrics, size_t metrics_size);

/* The loss of a batch; nothing is changed. */
SFT_RESULT sft_evaluate(sft_trainer *trainer, const sft_batch *batch, sft_step_metrics *metrics, size_t metrics_size);

/* The loss over several batches together; nothing is changed. */
SFT_RESULT sft_evaluate_accumulated(sft_trainer *trainer, const sft_batch *const *batches, size_t batch_count,
                                    sft_step_metrics *metrics, size_t metrics_size);

/* What each row of a batch costs the model: the mean cross-entropy of its labels in nats, NaN for a row without any. */
SFT_RESULT sft_row_losses(sft_trainer *trainer, const sft_batch *batch, double *losses, size_t capacity, size_t *count);

/* What each label of a batch costs the model: (rows, columns) cross-entropies in nats, NaN where nothing is learned. */
SFT_RESULT sft_token_losses(sft_trainer *trainer, const sft_batch *batch, float *losses, size_t capacity,
                            size_t *count);

/* A parameter: a matrix of (shape[0], shape[1]), or a vector of shape[0], then shape[1] is 1 and rank is 1. */
typedef struct sft_parameter {
    const char *name; /* as in the checkpoint, "model.layers.0.mlp.up_proj.weight"; borrowed from the model */
    size_t name_size;
    size_t rank;
    size_t shape[2];
    int32_t is_trainable; /* 0: frozen, training leaves it as it is */
    int32_t reserved;
} sft_parameter;

/* The parameters that a trainer changes, in the order of sft_gradient_norms: the model's, frozen ones included, or those of
 * the adapter, by their names in PEFT's files. 0 for NULL; the name is borrowed from the trainer. */
size_t sft_trainer_parameter_count(const sft_trainer *trainer);
SFT_RESULT sft_trainer_get_parameter(const sft_trainer *trainer, size_t index, sft_parameter *parameter,
                                     size_t parameter_size);

/* The L2 norm of the loss gradient of each of them on a batch; nothing is changed. For checking, not for speed: it needs
 * memory for every gradient. */
SFT_RESULT sft_gradient_norms(sft_trainer *trainer, const sft_batch *batch, double *norms, size_t capacity,
                              size_t *count);

/* Writes all that the next step depends on beside the weights (learning rate, the optimizer's memory, steps taken,
 * seed) to a file, and takes it up again in a trainer with the same optimizer on the same kind of model. Training goes
 * on as if it had never stopped where sft_model_save wrote the weights in the dtype they have in memory; by default it
 * writes that of the files they came from, which rounds float32 weights of a bfloat16 checkpoint.
 * The path is that of a regular file, which stays whole until the new one is complete. A state that cannot be loaded, be
 * it cut while it is read or hold what no optimizer computes, leaves the trainer as it was. */
SFT_RESULT sft_trainer_save_state(sft_trainer *trainer, const char *path, size_t path_size);
SFT_RESULT sft_trainer_load_state(sft_trainer *trainer, const char *path, size_t path_size);

/* An optimizer, as far as its memory goes. */
typedef int32_t sft_optimizer;

SFT_ENUM {
    SFT_OPTIMIZER_SGD = 0,
    SFT_OPTIMIZER_SGD_MOMENTUM = 1, /* a number for every weight */
    SFT_OPTIMIZER_ADAMW = 2,        /* two */
    SFT_OPTIMIZER_ADAMW_8BIT = 3    /* two, in 8 bits */
};

typedef struct sft_memory_options {
    size_t struct_size;
    size_t tokens;            /* 4096; of the largest batch: what max_batch_tokens of a run bounds */
    size_t supervised_tokens; /* 0: all of them are; otherwise how many */
    size_t accumulation;      /* 1; batches that make up one step */
    sft_dtype dtype;          /* SFT_DTYPE_DEFAULT; how weights are kept in memory; SFT_DTYPE_AUTO: as the
                                 configuration says of the files */
    sft_optimizer optimizer;  /* SFT_OPTIMIZER_SGD */
    int32_t clips_gradients;  /* 0; 1: max_grad_norm is set */
    int32_t recomputation;    /* 0; 1: as in sft_trainer_options */
    sft_quantization quantization; /* SFT_QUANTIZATION_NONE; with an adapter: that of the model */
    int32_t reserved;              /* 0 */
    const char *adapter;           /* NULL; the configuration of an adapter that is trained, as for sft_model_add_adapter */
    size_t adapter_size;
} sft_memory_options;

SFT_RESULT sft_memory_options_init(sft_memory_options *options, size_t struct_size);

/* In bytes. */
typedef struct sft_training_memory {
    uint64_t weights;
    uint64_t gradients;   /* 0 where they go straight into the weights */
    uint64_t optimizer;
    uint64_t activations; /* what forward leaves for backward, and logits */
    uint64_t total;
    uint64_t available;   /* what this process can have now without swapping; 0: the system does not say */
} sft_training_memory;

/* Whether training will fit: what it takes, estimated from the config.json of a checkpoint directory or the header of a
 * GGUF file, and what there is. Nothing else is opened. */
SFT_RESULT sft_estimate_training_memory(const char *directory, size_t directory_size, const sft_memory_options *options,
                                        sft_training_memory *memory, size_t memory_size);

/* ---- 8. Runs over a dataset, and the loss curve ------------------------------------------------------------------ */

/* Conversations as tokens and labels, to train on or to measure the loss on. Immutable. */
typedef struct sft_dataset sft_dataset;

/* How a row of data says what a conversation is. Every format may also have the keys "system", "tools" (functions that the model
 * may call, a list or its JSON text) and "weight" (multiplied to that of every message). */
typedef int32_t sft_data_format;

SFT_ENUM {
    SFT_FORMAT_DETECT = 0,           /* as the keys of the first row say */
    SFT_FORMAT_MESSAGES = 1,         /* {"messages": [{"role": "user", "content": "2+2"}, …]}, as OpenAI has it */
    SFT_FORMAT_SHAREGPT = 2,         /* {"conversations": [{"from": "human", "value": "2+2"}, …]} */
    SFT_FORMAT_ALPACA = 3,           /* {"instruction": "Add.", "input": "2+2", "output": "4", "history": [["1+1", "2"]]} */
    SFT_FORMAT_PROMPT_COMPLETION = 4 /* {"prompt": "2+2", "completion": "4"}, texts or lists of messages */
};

typedef struct sft_dataset_options {
    size_t struct_size;
    const char *columns; /* NULL; what the data calls its keys: "prompt=question,completion=answer" */
    size_t columns_size;
    size_t limit;           /* 0: all; so many conversations are read, the first ones */
    sft_data_format format; /* SFT_FORMAT_DETECT */
    int32_t drops_unusable; /* 0: a conversation that cannot be learned from, because nothing of it is supervised or it is longer
                               than the context, is refused by its line; 1: it is left out and counted */
    int32_t is_strict;      /* 0; 1: whatever is left out, cut or left aside is SFT_INVALID_FILE, once all is read */
    int32_t reserved;       /* 0 */
} sft_dataset_options;

SFT_RESULT sft_dataset_options_init(sft_dataset_options *options, size_t struct_size);

/* Conversations as in sft_preprocess. `data_options`, NULL for the defaults, has nothing to say of formats here. */
SFT_RESULT sft_dataset_create(const sft_tokenizer *tokenizer, const sft_message *messages, size_t message_size,
                              const size_t *message_counts, size_t conversation_count,
                              const sft_preprocess_options *options, const sft_dataset_options *data_options,
                              sft_dataset **dataset);

/* The same from a file: JSON Lines, one object a line, or a JSON array of objects, either of them as it is or compressed with gzip or
 * zstd (SFT_UNSUPPORTED where the system has no libz.so.1 or libzstd.so.1). A pipe or device (/dev/stdin) is read to its end.
 * The file may be larger than memory: tokens are in memory while they are few, else in a file without a name in /var/tmp. */
SFT_RESULT sft_dataset_open(const sft_tokenizer *tokenizer, const char *path, size_t path_size,
                            const sft_preprocess_options *options, const sft_dataset_options *data_options,
                            sft_dataset **dataset);

/* Gives the next bytes of what such a file holds: writes up to `capacity` of them to `buffer` and returns how many, 0 at the end; a
 * negative number ends everything with SFT_CANCELLED. Must return (rule 3). */
typedef int64_t (*sft_read_callback)(void *user_data, char *buffer, size_t capacity);

/* The same from a function, called during this call on its thread. Conversations are numbered from 0, as in a list. */
SFT_RESULT sft_dataset_read(const sft_tokenizer *tokenizer, sft_read_callback read, void *user_data,
                            const sft_preprocess_options *options, const sft_dataset_options *data_options,
                            sft_dataset **dataset);

void sft_dataset_free(sft_dataset *dataset);

/* What became of the conversations. */
typedef struct sft_dataset_info {
    size_t conversations;       /* that are there to learn from */
    size_t truncated;           /* of them, cut to max_length */
    size_t without_target;      /* left out, because nothing of them is supervised */
    size_t too_long;            /* left out, because they are longer than context_length */
    uint64_t tokens;
    uint64_t supervised_tokens;
    size_t read;                /* conversations in the data */
    size_t duplicates;          /* of those to learn from, equal in tokens and labels to one before them */
    size_t control_tokens;      /* conversations with a text that spells an added token, such as <|im_end|> */
    size_t rows;                /* one for each conversation, or more where the template writes earlier answers differently */
    size_t shortest;            /* tokens of a row */
    size_t median;
    size_t percentile_95;
    size_t longest;
    size_t roles;               /* how many sft_dataset_get_role describes */
} sft_dataset_info;

SFT_RESULT sft_dataset_get_info(const sft_dataset *dataset, sft_dataset_info *info, size_t info_size);

/* Which conversations sft_dataset_lines lists. */
typedef int32_t sft_dataset_part;

SFT_ENUM {
    SFT_PART_KEPT = 0, /* in the order of sft_dataset_batch */
    SFT_PART_TRUNCATED = 1,
    SFT_PART_WITHOUT_TARGET = 2,
    SFT_PART_TOO_LONG = 3,
    SFT_PART_DUPLICATES = 4,
    SFT_PART_CONTROL_TOKENS = 5
};

/* Where they are: lines from 1 in a file, numbers from 0 otherwise. */
SFT_RESULT sft_dataset_lines(const sft_dataset *dataset, sft_dataset_part part, size_t *lines, size_t capacity,
                             size_t *count);

/* Who speaks in the data, and how often. */
typedef struct sft_dataset_role {
    const char *name; /* borrowed from the dataset */
    size_t name_size;
    size_t messages;
} sft_dataset_role;

SFT_RESULT sft_dataset_get_role(const sft_dataset *dataset, size_t index, sft_dataset_role *role, size_t role_size);

/* All of it for a person to read, in lines; the format that was detected and keys that are not used are there, too. */
SFT_RESULT sft_dataset_describe(const sft_dataset *dataset, char *text, size_t capacity, size_t *size);

/* The conversations of these numbers, from 0, as a batch. */
SFT_RESULT sft_dataset_batch(const sft_dataset *dataset, const size_t *conversations, size_t count, sft_batch **batch);

/* Divides the conversations in two. Which goes where follows from its content and the seed alone; equal ones stay together.
 * share: of those for validation, between 0 and 1. 0: one in twenty, at most 500, and where there are fewer than 500 conversations
 * none: then *validation is NULL and *training holds all. Both share the memory of `dataset`, which may be freed first. */
SFT_RESULT sft_dataset_split(const sft_dataset *dataset, double share, uint64_t seed, sft_dataset **training,
                             sft_dataset **validation);

/* How the learning rate goes over a run, after the warm-up. */
typedef int32_t sft_schedule;

SFT_ENUM {
    SFT_SCHEDULE_CONSTANT = 0,
    SFT_SCHEDULE_LINEAR = 1, /* straight down to 0 at the end */
    SFT_SCHEDULE_COSINE = 2  /* down to 0 along half a cosine */
};

/* What becomes of a run that was stopped, where its checkpoints are in the place of those of a new one. */
typedef int32_t sft_stopped_run;

SFT_ENUM {
    SFT_STOPPED_RUN_REFUSE = 0,       /* an error says that it is there */
    SFT_STOPPED_RUN_OVERWRITE = 1,    /* it is removed */
    SFT_STOPPED_RUN_RESUME = 2,       /* it goes on; other data or options are an error that names them */
    SFT_STOPPED_RUN_RESUME_FORCED = 3 /* it goes on; other data or options are a warning that names them */
};

typedef struct sft_run_options {
    size_t struct_size;
    double epochs;           /* 1; how often every conversation is seen; 0.5: half of them, once */
    size_t batch_size;       /* 8; conversations that are computed together */
    size_t accumulation;     /* 1; batches that make up one step */
    size_t max_batch_tokens; /* 4096; larger batches are computed in parts, which changes rounding only; 0: they are not */
    size_t warmup_steps;     /* 0; steps over which the rate rises from 0 to the trainer's; 0: warmup_ratio says how many */
    uint64_t seed;           /* 0; of the order of the conversations */
    sft_schedule schedule;   /* SFT_SCHEDULE_CONSTANT */
    int32_t shuffles;        /* 1: every epoch has an order of its own; 0: that of the dataset */
    size_t max_steps;        /* 0; steps of the run, whatever epochs says; 0: as many as the epochs have */
    double warmup_ratio;     /* 0; the steps of the warm-up as a share of all, rounded up */
    size_t max_refused_steps; /* 5; so many refused steps one after another end the run */

    /* How the run is watched over. */
    const sft_dataset *validation;  /* NULL; its loss is measured before the first step, at intervals and after the last */
    const sft_tokenizer *tokenizer; /* NULL; for prompts and probes_forgetting */
    const sft_text *prompts;        /* NULL; what the model is asked before, at each evaluation and after */
    size_t prompt_count;            /* 0 */
    size_t max_answer_tokens;       /* 64; longest answer to them */
    size_t evaluate_every;          /* 0; steps between two evaluations; 0: one after each epoch */
    size_t patience;                /* 0; so many evaluations no better than the best end the run; 0: none do */
    double max_seconds;             /* 0; no step begins after so many seconds; 0: no limit */
    int32_t probes_forgetting;      /* 0; 1: the loss on a fixed general set is measured before and after */
    int32_t writes_last;            /* 0: the weights with the lowest loss on `validation` are the result; 1: the last ones */

    /* What it needs to go on after it was stopped or killed. */
    const char *output;         /* NULL; where the result is to be, which is checked when the run is made: checkpoints are kept in
                                   OUTPUT.partial beside it or, where it is a mount point or the current directory, in its
                                   directory "partial" */
    size_t output_size;         /* 0 */
    size_t save_every;          /* 0; steps between two checkpoints; 0: none along the way */
    size_t keep_last;           /* 1; how many of them are kept */
    sft_stopped_run stopped;    /* SFT_STOPPED_RUN_REFUSE */
    int32_t reserved;
    const char *log_directory;  /* NULL; where the numbers go as they come: metrics.jsonl, and a file that TensorBoard shows */
    size_t log_directory_size;  /* 0 */
    size_t tokens_per_step;     /* 0; not 0: a step has conversations of about so many tokens, whatever batch_size says */
} sft_run_options;

SFT_RESULT sft_run_options_init(sft_run_options *options, size_t struct_size);

/* The recipe: the optimizers and the trainer's options that the tool and Python's train use unless told otherwise, for the
 * model as it is; with an adapter set, the rate is another. Each that is not NULL is filled in. */
SFT_RESULT sft_recipe_init(sft_model *model, sft_adamw_options *adamw, size_t adamw_size, sft_sgd_options *sgd,
                           size_t sgd_size, sft_trainer_options *trainer_options, size_t trainer_options_size);

/* The loss over a dataset without a run; nothing is changed. Of `options`, NULL for the defaults, batch_size and max_batch_tokens say
 * how many conversations are computed together. */
SFT_RESULT sft_evaluate_dataset(sft_trainer *trainer, const sft_dataset *dataset, const sft_run_options *options,
                                sft_step_metrics *metrics, size_t metrics_size);

/* A trainer on its way through a dataset. Between two calls the model may be chatted with, measured and saved. */
typedef struct sft_run sft_run;

/* The trainer's learning rate at this moment is the run's full rate. A conversation longer than the model's context is
 * SFT_TOO_LONG, one with an id that the model does not have SFT_INVALID_ARGUMENT. */
SFT_RESULT sft_run_create(sft_trainer *trainer, const sft_dataset *dataset, const sft_run_options *options,
                          sft_run **run);

void sft_run_free(sft_run *run);

/* Where a run stands. */
typedef struct sft_run_info {
    size_t step;            /* steps taken, refused ones included */
    size_t total_steps;
    size_t steps_per_epoch;
    size_t refused_steps;
    size_t best_step;       /* whose weights had the lowest loss on `validation`; 0: nothing was measured after a step */
    double best_loss;
    double lr;              /* the full rate, which the schedule multiplies */
    double seconds_left;    /* NaN before the first step */
    int32_t has_ended;      /* 1: the model has the weights that are the result */
    int32_t reserved;
} sft_run_info;

SFT_RESULT sft_run_get_info(sft_run *run, sft_run_info *info, size_t info_size);

typedef struct sft_run_step {
    size_t step;          /* from 1 to total_steps; 0: the run is done, and there was no further step */
    size_t total_steps;
    size_t epoch;         /* from 0 */
    size_t conversations; /* that made up the step, on all ranks, */
    size_t tokens;        /* and how long they are */
    double lr;
    double loss;          /* this and what follows as in sft_step_metrics */
    double grad_norm;
    double seconds;
    uint64_t supervised_tokens;
    int32_t has_grad_norm;
    int32_t is_refused;   /* 1: the loss or a gradient was not finite, and the weights are as before the step */
} sft_run_step;

/* Takes the next step. Where max_refused_steps were refused one after another, it is SFT_NON_FINITE. Evaluations and whatever
 * else is due happens by the way and is noted in the history. */
SFT_RESULT sft_run_next(sft_run *run, sft_run_step *step, size_t step_size);

typedef int32_t sft_run_event_kind;

SFT_ENUM {
    SFT_RUN_EVENT_NONE = 0,       /* the run has ended before */
    SFT_RUN_EVENT_STEP = 1,       /* a step was taken, or refused */
    SFT_RUN_EVENT_EVALUATION = 2, /* the loss on data that is not learned */
    SFT_RUN_EVENT_ANSWER = 3,     /* what the model says to a prompt */
    SFT_RUN_EVENT_WARNING = 4,    /* something a person should know */
    SFT_RUN_EVENT_SAVED = 5,      /* the run can go on from here */
    SFT_RUN_EVENT_ENDED = 6       /* no more steps; the model has the weights that are the result */
};

/* Fields that an event does not have are 0 or NULL; numbers that are not known are NaN. */
typedef struct sft_run_event {
    sft_run_event_kind kind;
    int32_t is_general;             /* EVALUATION; 1: on the fixed general set */
    size_t step;                    /* steps taken; ENDED: the one whose weights are the result */
    size_t total_steps;
    size_t epoch;                   /* STEP: this and what follows as in sft_run_step */
    size_t conversations;
    size_t tokens;
    double lr;
    double loss;                    /* STEP, EVALUATION */
    double grad_norm;
    double seconds;                 /* STEP, EVALUATION */
    uint64_t supervised_tokens;     /* STEP, EVALUATION */
    int32_t has_grad_norm;
    int32_t is_refused;
    double end_of_turn_probability; /* EVALUATION: the mean probability of the token that ends a turn, where turns end */
    double seconds_left;            /* until the run is done */
    const char *text;               /* ANSWER, WARNING; SAVED: the file; ENDED: "completed", "patience", "budget" or
                                       "stopped"; borrowed until the next event */
    size_t text_size;
    const char *prompt;             /* ANSWER; borrowed likewise */
    size_t prompt_size;
} sft_run_event;

/* Does what is next and says what it was. A call that is cancelled leaves everything as before it, and is done again by the
 * next one. */
SFT_RESULT sft_run_next_event(sft_run *run, sft_run_event *event, size_t event_size);

/* There are to be no more steps: the next events are those of the end. */
SFT_RESULT sft_run_end(sft_run *run);

/* Writes the result to a directory, a checkpoint or the adapter that was trained, with a model card as README.md unless somebody
 * else's is there; then the run's own checkpoints are removed. dtype as in sft_save_options. */
SFT_RESULT sft_run_save_result(sft_run *run, const char *directory, size_t directory_size, sft_dtype dtype);

/* Saves what the run needs to go on, to where `output` of its options says. */
SFT_RESULT sft_run_save_checkpoint(sft_run *run);

/* Sets the full rate of the steps to come, which the schedule multiplies. */
SFT_RESULT sft_run_set_lr(sft_run *run, double lr);

/* Keeps weights, the optimizer's memory, the place in the data and the history in memory, in place of what was kept before; and
 * goes back to them, any number of times. */
SFT_RESULT sft_run_snapshot(sft_run *run);
SFT_RESULT sft_run_roll_back(sft_run *run);

/* All that has happened, as a JSON object of tables, each with a list for every column:
 * {"steps": {"step": [], "epoch": [], "lr": [], "loss": [], "grad_norm": [], "conversations": [], "tokens": [],
 * "supervised_tokens": [], "seconds": []}, "evaluations": {"step": [], "data": [], "loss": [], "supervised_tokens": [], "seconds": [],
 * "end_of_turn_probability": [], "worst_rows": []}, "answers": {"step": [], "prompt": [], "answer": []},
 * "warnings": {"step": [], "text": []}}. worst_rows lists [line, loss] of the rows that cost most. */
SFT_RESULT sft_run_history(sft_run *run, char *json, size_t capacity, size_t *size);

/* The loss over other data with the weights as they are, noted in the run's history; metrics may be NULL. */
SFT_RESULT sft_run_evaluate(sft_run *run, const sft_dataset *dataset, sft_step_metrics *metrics, size_t metrics_size);

/* The loss of every step so far; NaN for a refused one. */
SFT_RESULT sft_run_losses(sft_run *run, double *losses, size_t capacity, size_t *count);

/* As sft_trainer_save_state, with the place in the data and the history. A run with the same rows in the same order and the
 * same options (others are refused by name), on a model saved and opened in the dtype it has in memory, goes on as if it had not
 * stopped. */
SFT_RESULT sft_run_save_state(sft_run *run, const char *path, size_t path_size);
SFT_RESULT sft_run_load_state(sft_run *run, const char *path, size_t path_size);

/* Writes a page about the run, in HTML, that needs nothing else: curves, evaluations, answers, data, settings. */
SFT_RESULT sft_run_save_report(sft_run *run, const char *path, size_t path_size, const char *title, size_t title_size);

/* The run's losses as an SVG document. */
SFT_RESULT sft_run_svg(sft_run *run, const char *title, size_t title_size, char *svg, size_t capacity, size_t *size);

/* Losses of one's own as an SVG document: that of steps 1 to count, and those on other data after evaluation_steps
 * steps. What is not finite is left out. */
SFT_RESULT sft_loss_curve_svg(const double *losses, size_t count, const size_t *evaluation_steps,
                              const double *evaluation_losses, size_t evaluation_count, const char *title,
                              size_t title_size, char *svg, size_t capacity, size_t *size);

/* ---- 9. Parameters ----------------------------------------------------------------------------------------------- */

/* How many parameters the model has; a tied head is the embedding and not counted again. 0 for NULL. */
size_t sft_model_parameter_count(const sft_model *model);

/* Describes parameter number `index`. The order is that of the computation: embedding, layers, final norm, head. */
SFT_RESULT sft_model_get_parameter(const sft_model *model, size_t index, sft_parameter *parameter,
                                   size_t parameter_size);

/* Copies the values of parameter number `index` out, as float32, row-major. */
SFT_RESULT sft_model_read_parameter(sft_model *model, size_t index, float *values, size_t capacity, size_t *count);

/* Replaces them. `count` must be the product of the shape; a value that is not finite is SFT_NON_FINITE. */
SFT_RESULT sft_model_write_parameter(sft_model *model, size_t index, const float *values, size_t count);

/* Freezes parameters (is_trainable 0) or lets training change them again. `pattern` is a name in which * stands for
 * any characters, "model.layers.3.*" or "*.bias"; matched, which may be NULL, says how many it fits, and none is
 * refused. */
SFT_RESULT sft_model_set_trainable(sft_model *model, const char *pattern, size_t pattern_size, int32_t is_trainable,
                                   size_t *matched);

/* ---- 10. The process: threads, processor, warnings -------------------------------------------------------------------------- */

/* How many threads compute, in the whole process; at first the number of processors it may run on or, where a container's
 * quota grants less time than that, the whole ones among those it grants. A change takes effect with the next call that
 * computes. Results depend on it by rounding. */
size_t sft_thread_count(void);
SFT_RESULT sft_set_thread_count(size_t count);

/* The instruction set whose kernels run: "plain", "avx2" (with FMA and F16C), "avx512" (F, BW, DQ, VL) or "avx512_bf16"
 * (with AVX512_BF16, VNNI, VBMI), each with those before it; on aarch64 "plain", "neon", "neon_dotprod" or "neon_i8mm"; the
 * best one of the processor unless it was limited.
 *
 * Limiting it is for measuring, for bug reports, and for the same bits on different machines; one that the processor lacks
 * limits nothing. OpenBLAS, which multiplies most of float32, chooses on its own (OPENBLAS_CORETYPE in the environment).
 * SFT_INVALID_ARGUMENT for any other name, those of the other architecture included; SFT_UNSUPPORTED once the library has
 * computed anything: a model was opened. */
const char *sft_isa(void);
SFT_RESULT sft_set_max_isa(const char *isa, size_t isa_size);

/* Called with what a person should know although nothing failed, one line each, on the thread that called the library;
 * on several at once where several do. Must return (rule 3). The default, NULL, drops warnings. */
typedef void (*sft_warning_callback)(void *user_data, const char *message, size_t message_size);

/* When this returns, the callback before it is called no more and its user_data is not used: it waits for calls under way
 * on other threads. Called from a warning callback, it does not wait. */
SFT_RESULT sft_set_warning_callback(sft_warning_callback callback, void *user_data);

#ifdef __cplusplus
}
#endif

#endif
