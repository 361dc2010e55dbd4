/* Damaged files of every kind the library reads: whatever they hold, a call returns with a status.
 *
 *     mutated_files_test CHECKPOINT [COUNT [FIRST_SEED]]
 *
 * A seed decides which file is damaged and how, so a seed that is reported can be tried alone: COUNT 1, FIRST_SEED that.
 * Files are tried in child processes, a few hundred in each; one that crashes or hangs names its seed and fails the test. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "check.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FILES_PER_PROCESS = 300, SECONDS_PER_FILE = 60, STATUSES = 13, MOST_BYTES = 4 << 20 };

/* ---- Numbers ---- */

static uint64_t state;

static uint64_t next_random(void) {
    uint64_t z = (state += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static size_t below(size_t bound) { return bound == 0 ? 0 : (size_t)(next_random() % bound); }

/* ---- Files ---- */

typedef struct {
    char *bytes;
    size_t size;
} content;

static char root[64];

static const char *place(const char *name) {
    static char path[4][256];
    static int turn;
    char *result = path[turn = (turn + 1) % 4];
    snprintf(result, sizeof path[0], "%s/%s", root, name);
    return result;
}

static content read_file(const char *path) {
    content result = {(char *)malloc(MOST_BYTES), 0};
    FILE *file = fopen(path, "rb");
    if (file == NULL || result.bytes == NULL) {
        printf("cannot read %s\n", path);
        exit(2);
    }
    result.size = fread(result.bytes, 1, MOST_BYTES, file);
    fclose(file);
    return result;
}

static void write_file(const char *path, const char *bytes, size_t size) {
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(bytes, 1, size, file) != size || fclose(file) != 0) {
        printf("cannot write %s\n", path);
        exit(2);
    }
}

static void write_text(const char *name, const char *text) { write_file(place(name), text, strlen(text)); }

static void copy_file(const char *from, const char *to) {
    content file = read_file(from);
    write_file(place(to), file.bytes, file.size);
    free(file.bytes);
}

/* ---- What is damaged, and what reads it ---- */

enum role { MODEL, TOKENIZER, DATA, TRAINER_STATE, RUN_STATE };

static const struct kind {
    const char *file;
    const char *directory;
    enum role role;
} kinds[] = {
    {"plain/config.json", "plain", MODEL},
    {"plain/generation_config.json", "plain", MODEL},
    {"plain/model.safetensors", "plain", MODEL},
    {"sharded/model.safetensors.index.json", "sharded", MODEL},
    {"plain/tokenizer.json", "plain", TOKENIZER},
    {"plain/tokenizer_config.json", "plain", TOKENIZER},
    {"older/vocab.json", "older", TOKENIZER},
    {"older/merges.txt", "older", TOKENIZER},
    {"older/added_tokens.json", "older", TOKENIZER},
    {"older/special_tokens_map.json", "older", TOKENIZER},
    {"older/chat_template.jinja", "older", TOKENIZER},
    {"tiktoken/qwen.tiktoken", "tiktoken", TOKENIZER},
    {"model.gguf", "model.gguf", MODEL},
    {"tokenizer.gguf", "tokenizer.gguf", TOKENIZER},
    {"data.jsonl", NULL, DATA},
    {"trainer.state", NULL, TRAINER_STATE},
    {"run.state", NULL, RUN_STATE},
};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

static content originals[KINDS];

/* Shared with the child processes. */
static struct shared {
    uint64_t seed;
    uint32_t counts[KINDS][STATUSES];
    uint32_t wrong;
} *shared;

/* ---- Damage ---- */

static const char *const words[] = {
    "null", "true", "false", "0", "-1", "1", "-0.0", "1e999", "-1e-999", "NaN", "Infinity", "-Infinity", "2147483647",
    "2147483648", "4294967296", "9223372036854775807", "9223372036854775808", "18446744073709551615", "0.5", "151643",
    "\"\"", "\"x\"", "\"\\ud800\"", "\"\\u0000\"", "\"\xff\"", "{}", "[]", "[[[[[[[[", "{\"a\":", "[1,2]", "{\"a\":{\"a\":1}}",
    ",", ":", "\"", "\\", "\n", "\r\n", " ", "\xef\xbb\xbf", "/*", "{{", "{%", "%}", "}}", "|", "<|im_end|>", "F64", "I64",
};
enum { WORDS = sizeof words / sizeof words[0] };

/* Replaces `count` bytes at `at` by `bytes`. */
static void replace(content *file, size_t at, size_t count, const char *bytes, size_t size) {
    if (file->size - count + size > MOST_BYTES) return;
    memmove(file->bytes + at + size, file->bytes + at + count, file->size - at - count);
    memcpy(file->bytes + at, bytes, size);
    file->size = file->size - count + size;
}

static int is_value(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == '.' || c == '-' || c == '+' || c == '_';
}

static void damage_once(content *file, size_t region) {
    char piece[64];
    size_t at = below(region), count;
    switch (below(10)) {
    case 0: file->bytes[at] ^= (char)(1 << below(8)); break;
    case 1: file->bytes[at] = (char)next_random(); break;
    case 2: /* a piece is missing */
        count = 1 + below(below(4) == 0 ? region - at : 16);
        replace(file, at, count < file->size - at ? count : file->size - at, "", 0);
        break;
    case 3: /* a piece is there twice */
        count = 1 + below(sizeof piece);
        if (count > file->size - at) count = file->size - at;
        memcpy(piece, file->bytes + at, count);
        replace(file, below(region), 0, piece, count);
        break;
    case 4: if (below(4) == 0) file->size = at; break;
    case 5: { /* something is put in between */
        const char *word = words[below(WORDS)];
        replace(file, at, 0, word, strlen(word));
        break;
    }
    case 6: case 7: { /* a digit becomes another, or a letter: what was well formed mostly still is */
        while (at < file->size && !is_value(file->bytes[at])) at++;
        if (at == file->size) break;
        if (file->bytes[at] >= '0' && file->bytes[at] <= '9') file->bytes[at] = (char)('0' + below(10));
        else file->bytes[at] = (char)('a' + below(26));
        break;
    }
    default: { /* a number, a name or a word becomes another */
        const char *word = words[below(WORDS)];
        while (at < file->size && !is_value(file->bytes[at])) at++;
        for (count = 0; at + count < file->size && is_value(file->bytes[at + count]);) count++;
        replace(file, at, count, word, strlen(word));
    }
    }
}

/* A safetensors file: what is damaged is mostly the header, whose length is then set right, so that it is looked into. */
static void damage_tensors(content *file) {
    uint64_t header, length;
    size_t before = file->size;
    memcpy(&header, file->bytes, sizeof header);
    damage_once(file, below(8) == 0 ? file->size : 8 + (size_t)header);
    if (file->size < 8) return;
    length = header + file->size - before;
    if (below(8) != 0 && 8 + length <= file->size) memcpy(file->bytes, &length, sizeof length);
}

/* A GGUF file: mostly what stands before the weights, which is made of texts and binary numbers. */
static void damage_gguf(content *file) {
    static const uint64_t numbers[] = {0, 1, 2, 3, 5, 7, 8, 9, 13, 31, 32, 33, 255, 703, 65536, 0x7FFFFFFF, 0x80000000u, 0xFFFFFFFFu,
                                       0x100000000u, 0x3FFFFFFFFFFFFFFFu, 0x7FFFFFFFFFFFFFFFu, 0x8000000000000000u, UINT64_MAX};
    const size_t header = 24000; /* of the tiny model, about */
    size_t region = below(8) == 0 || file->size < header ? file->size : header;
    if (below(8) == 0) region = 1200; /* counts, and the keys before the vocabulary */
    if (below(2) == 0) {
        damage_once(file, region < file->size ? region : file->size);
        return;
    }
    const size_t size = below(2) == 0 ? 4 : 8, at = below(region);
    const uint64_t number = numbers[below(sizeof numbers / sizeof numbers[0])];
    if (at + size <= file->size) memcpy(file->bytes + at, &number, size);
}

static void damage(content *file, int is_tensors, int is_gguf) {
    for (size_t i = 1 + (below(3) == 0 ? below(4) : 0); i > 0 && file->size > 8; i--) {
        uint64_t header = 0;
        if (is_tensors) memcpy(&header, file->bytes, sizeof header);
        if (is_gguf) damage_gguf(file);
        else if (is_tensors && header <= file->size - 8) damage_tensors(file);
        else damage_once(file, file->size);
    }
}

/* ---- What a host does with files ---- */

static void expect(sft_status status) {
    const char *error = sft_last_error();
    if (status >= 0 && status < STATUSES && (status == SFT_OK || (error[0] != '\0' && strchr(error, '\n') == NULL))) return;
    printf("seed %llu: status %d, message '%s'\n", (unsigned long long)shared->seed, (int)status, error);
    shared->wrong++;
}

static const sft_message conversation[] = {
    SFT_MESSAGE("system", "You are a helpful assistant."),
    SFT_MESSAGE("user", "2+2\xe7\xad\x89\xe4\xba\x8e\xe5\x87\xa0 <|im_end|>"),
    SFT_MESSAGE("assistant", "4"),
};

static sft_tokenizer *whole_tokenizer;
static sft_model *whole_model;
static sft_batch *whole_batch;
static sft_dataset *whole_dataset;

static sft_status use_model(const char *directory) {
    sft_model *model;
    const int32_t prompt[] = {1, 2, 3};
    sft_generation_options options;
    sft_generation *generation = NULL;
    sft_status status = sft_model_open(directory, SFT_ZSTRING, NULL, &model);
    if (status != SFT_OK) return status;
    expect(sft_generation_options_init(&options, sizeof options));
    options.max_new_tokens = 3;
    expect(sft_model_generate(model, prompt, 3, &options, &generation));
    sft_generation_free(generation);
    sft_model_free(model);
    return status;
}

static sft_status use_tokenizer(const char *directory) {
    sft_tokenizer *tokenizer;
    int32_t ids[256];
    char text[4096];
    size_t count = 0, size = 0, conversation_size = 3;
    sft_batch *batch = NULL;
    sft_status status = sft_tokenizer_open(directory, SFT_ZSTRING, &tokenizer);
    if (status != SFT_OK) return status;
    expect(sft_tokenizer_encode(tokenizer, "Hello <|im_end|> 2+2 e\xcc\x81\n\n", SFT_ZSTRING, 0, ids, 256, &count));
    expect(sft_tokenizer_decode(tokenizer, ids, count, 1, text, sizeof text, &size));
    expect(sft_tokenizer_summary(tokenizer, text, sizeof text, &size));
    expect(sft_apply_chat_template(tokenizer, conversation, sizeof conversation[0], 2, NULL, ids, 256, &count));
    expect(sft_preprocess(tokenizer, conversation, sizeof conversation[0], &conversation_size, 1, NULL, &batch));
    sft_batch_free(batch);
    sft_tokenizer_free(tokenizer);
    return status;
}

static sft_status use_data(const char *path) {
    sft_dataset *dataset;
    sft_dataset_options options;
    expect(sft_dataset_options_init(&options, sizeof options));
    options.drops_unusable = 1;
    sft_status status = sft_dataset_open(whole_tokenizer, path, SFT_ZSTRING, NULL, &options, &dataset);
    sft_dataset_free(dataset);
    return status;
}

static sft_trainer *make_trainer(sft_model *model) {
    sft_sgd_options options;
    sft_trainer *trainer;
    expect(sft_sgd_options_init(&options, sizeof options));
    options.momentum = 0.9;
    expect(sft_trainer_create_sgd(model, &options, NULL, &trainer));
    return trainer;
}

static sft_status use_state(const char *path, int is_run) {
    sft_model *model;
    sft_run *run = NULL;
    sft_run_step step;
    expect(sft_model_clone(whole_model, &model));
    sft_trainer *trainer = make_trainer(model);
    if (is_run) expect(sft_run_create(trainer, whole_dataset, NULL, &run));
    sft_status status = is_run ? sft_run_load_state(run, path, SFT_ZSTRING) : sft_trainer_load_state(trainer, path, SFT_ZSTRING);
    expect(status);
    expect(is_run ? sft_run_next(run, &step, sizeof step) : sft_train_step(trainer, whole_batch, NULL, 0));
    sft_run_free(run);
    sft_trainer_free(trainer);
    sft_model_free(model);
    return status;
}

/* ---- Whole files to begin with ---- */

/* The byte alphabet of vocab.json: a byte as the character that stands for it. */
static int spell(int byte, char *out) {
    int scalar = byte, shifted = 256;
    if (!((byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE)) {
        for (int b = 0; b < byte; b++) shifted += !((b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE);
        scalar = shifted;
    }
    if (scalar < 0x80) return out[0] = (char)scalar, 1;
    out[0] = (char)(0xC0 | (scalar >> 6));
    out[1] = (char)(0x80 | (scalar & 0x3F));
    return 2;
}

static void write_older_tokenizer(void) {
    static char text[1 << 14];
    size_t size = 0;
    text[size++] = '{';
    for (int byte = 0; byte < 256; byte++) {
        text[size++] = '"';
        if (byte == '"' || byte == '\\') text[size++] = '\\';
        size += (size_t)spell(byte, text + size);
        size += (size_t)snprintf(text + size, sizeof text - size, "\": %d, ", byte);
    }
    snprintf(text + size, sizeof text - size, "\"He\": 256, \"ll\": 257, \"Hell\": 258, \"Hello\": 259}");
    write_text("older/vocab.json", text);
    write_text("older/merges.txt", "#version: 0.2\nH e\nl l\nHe ll\nHell o\n");
    write_text("older/added_tokens.json", "{\"<|endoftext|>\": 260, \"<|im_start|>\": 261, \"<|im_end|>\": 262, \"<pad>\": 263}");
    write_text("older/special_tokens_map.json",
               "{\"eos_token\": {\"content\": \"<|im_end|>\", \"lstrip\": false}, \"pad_token\": \"<pad>\","
               " \"additional_special_tokens\": [\"<|im_start|>\", \"<|im_end|>\"]}");
    write_text("older/tokenizer_config.json", "{\"model_max_length\": 1e30}");
    write_text("older/chat_template.jinja",
               "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
               "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}");
    size = 0;
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (int byte = 0; byte < 256; byte++)
        size += (size_t)snprintf(text + size, sizeof text - size, "%c%c== %d\n", digits[byte >> 2], digits[(byte & 3) << 4], byte);
    snprintf(text + size, sizeof text - size, "SGU= 256\nbGw= 257\nSGVsbA== 258\nSGVsbG8= 259\n");
    write_text("tiktoken/qwen.tiktoken", text);
}

static void write_index(void) {
    static char text[1 << 16];
    size_t size = (size_t)snprintf(text, sizeof text, "{\"metadata\": {\"total_size\": 1}, \"weight_map\": {");
    for (size_t i = 0; i < sft_model_parameter_count(whole_model); i++) {
        sft_parameter parameter;
        OK(sft_model_get_parameter(whole_model, i, &parameter, sizeof parameter));
        size += (size_t)snprintf(text + size, sizeof text - size, "%s\"%s\": \"model-1.safetensors\"", i > 0 ? ", " : "", parameter.name);
    }
    snprintf(text + size, sizeof text - size, "}}");
    write_text("sharded/model.safetensors.index.json", text);
}

static void open_whole(void) {
    size_t count = 3;
    OK(sft_tokenizer_open(place("plain"), SFT_ZSTRING, &whole_tokenizer));
    OK(sft_model_open(place("plain"), SFT_ZSTRING, NULL, &whole_model));
    OK(sft_preprocess(whole_tokenizer, conversation, sizeof conversation[0], &count, 1, NULL, &whole_batch));
    OK(sft_dataset_create(whole_tokenizer, conversation, sizeof conversation[0], &count, 1, NULL, NULL, &whole_dataset));
}

static void write_whole(const char *checkpoint) {
    static const char *const directories[] = {"plain", "sharded", "older", "tiktoken"};
    static const char *const files[] = {"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
                                        "model.safetensors"};
    char from[512];
    for (size_t i = 0; i < 4; i++) mkdir(place(directories[i]), 0700);
    for (size_t i = 0; i < 5; i++) {
        char name[64];
        snprintf(from, sizeof from, "%s/%s", checkpoint, files[i]);
        snprintf(name, sizeof name, "plain/%s", files[i]);
        copy_file(from, name);
    }
    copy_file(place("plain/config.json"), "sharded/config.json");
    copy_file(place("plain/model.safetensors"), "sharded/model-1.safetensors");
    write_older_tokenizer();
    write_text("data.jsonl",
               "{\"messages\": [{\"role\": \"user\", \"content\": \"2+2\"}, {\"role\": \"assistant\", \"content\": \"4\", \"weight\": 0.5}]}\n"
               "{\"id\": 7, \"tools\": [], \"messages\": [{\"role\": \"system\", \"content\": \"a\\n\\u00e9\\ud83d\\ude00\"}, {\"role\": "
               "\"assistant\", \"content\": \"\", \"tool_calls\": null}]}\n");
    open_whole();
    write_index();
    sft_gguf_options gguf;
    OK(sft_gguf_options_init(&gguf, sizeof gguf));
    gguf.type = SFT_GGUF_Q8_0;
    OK(sft_model_save_gguf(whole_model, place("model.gguf"), SFT_ZSTRING, &gguf));
    copy_file(place("model.gguf"), "tokenizer.gguf");

    sft_run *run;
    sft_run_step step;
    sft_model *model;
    OK(sft_model_clone(whole_model, &model));
    sft_trainer *trainer = make_trainer(model);
    OK(sft_train_step(trainer, whole_batch, NULL, 0));
    OK(sft_trainer_save_state(trainer, place("trainer.state"), SFT_ZSTRING));
    sft_run_options options;
    OK(sft_run_options_init(&options, sizeof options));
    OK(sft_run_create(trainer, whole_dataset, &options, &run));
    OK(sft_run_next(run, &step, sizeof step));
    OK(sft_run_save_state(run, place("run.state"), SFT_ZSTRING));
    sft_run_free(run);
    sft_trainer_free(trainer);
    sft_model_free(model);
    /* Undamaged, every one of them opens. */
    OK(use_model(place("plain")));
    OK(use_model(place("sharded")));
    OK(use_tokenizer(place("plain")));
    OK(use_tokenizer(place("older")));
    OK(use_tokenizer(place("tiktoken")));
    OK(use_model(place("model.gguf")));
    OK(use_tokenizer(place("tokenizer.gguf")));
    OK(use_data(place("data.jsonl")));
    OK(use_state(place("trainer.state"), 0));
}

/* ---- Runs ---- */

static void try_seed(uint64_t seed) {
    size_t kind = (size_t)(seed % KINDS);
    const char *path = place(kinds[kind].file);
    const char *directory = kinds[kind].directory == NULL ? NULL : place(kinds[kind].directory);
    int is_tensors = strstr(kinds[kind].file, ".safetensors") != NULL && strstr(kinds[kind].file, ".json") == NULL;
    static content file;
    sft_status status = SFT_OK;
    if (file.bytes == NULL) file.bytes = (char *)malloc(MOST_BYTES);
    if (file.bytes == NULL) exit(2);
    shared->seed = seed;
    state = seed * 0x2545F4914F6CDD1Du + 1;
    memcpy(file.bytes, originals[kind].bytes, file.size = originals[kind].size);
    damage(&file, is_tensors || kinds[kind].role == TRAINER_STATE || kinds[kind].role == RUN_STATE,
           strstr(kinds[kind].file, ".gguf") != NULL);
    write_file(path, file.bytes, file.size);
    alarm(SECONDS_PER_FILE);
    switch (kinds[kind].role) {
    case MODEL: status = use_model(directory); break;
    case TOKENIZER: status = use_tokenizer(directory); break;
    case DATA: status = use_data(path); break;
    case TRAINER_STATE: status = use_state(path, 0); break;
    case RUN_STATE: status = use_state(path, 1); break;
    }
    alarm(0);
    expect(status);
    if (status >= 0 && status < STATUSES) shared->counts[kind][status]++;
    write_file(path, originals[kind].bytes, originals[kind].size);
}

/* Runs `body` in a process of its own; what became of it as waitpid says. */
#define IN_CHILD(result, body)                                                                                         \
    do {                                                                                                               \
        fflush(stdout);                                                                                                \
        pid_t child = fork();                                                                                          \
        if (child == 0) {                                                                                              \
            body;                                                                                                      \
            fflush(stdout);                                                                                            \
            _exit(failures != 0);                                                                                      \
        }                                                                                                              \
        if (child < 0 || waitpid(child, &result, 0) != child) result = -1;                                             \
    } while (0)

static void try_seeds(uint64_t first, uint64_t end) {
    for (size_t i = 0; i < KINDS; i++) write_file(place(kinds[i].file), originals[i].bytes, originals[i].size);
    open_whole();
    for (uint64_t seed = first; seed < end; seed++) try_seed(seed);
}

static void remove_files(void) {
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    if (system(command) != 0) printf("%s is left\n", root);
}

int main(int argc, char **argv) {
    if (argc < 2) return 2;
    uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 10) : 1500;
    uint64_t first = argc > 3 ? strtoull(argv[3], NULL, 10) : 0;
    uint64_t opened = 0, refused = 0, died = 0;
    int result = 0;
    const struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    shared = (struct shared *)mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) return 2;
    snprintf(root, sizeof root, "/tmp/qwensft-mutated-XXXXXX");
    if (mkdtemp(root) == NULL) return 2;

    IN_CHILD(result, write_whole(argv[1]));
    if (result != 0) {
        printf("the undamaged files do not open\n");
        remove_files();
        return 1;
    }
    for (size_t i = 0; i < KINDS; i++) originals[i] = read_file(place(kinds[i].file));

    uint64_t end = first + count;
    for (uint64_t next = first; next < end;) {
        uint64_t stop = end - next < FILES_PER_PROCESS ? end : next + FILES_PER_PROCESS;
        shared->seed = next;
        IN_CHILD(result, try_seeds(next, stop));
        next = stop;
        if (result == 0) continue;
        died++;
        next = shared->seed + 1;
        if (WIFSIGNALED(result)) {
            printf("seed %llu (%s): %s\n", (unsigned long long)shared->seed, kinds[shared->seed % KINDS].file,
                   WTERMSIG(result) == SIGALRM ? "does not come back" : strsignal(WTERMSIG(result)));
        } else {
            printf("seed %llu: exit status %d\n", (unsigned long long)shared->seed, WEXITSTATUS(result));
        }
    }
    remove_files();

    for (size_t kind = 0; kind < KINDS; kind++) {
        printf("%-38s opened %u", kinds[kind].file, shared->counts[kind][0]);
        opened += shared->counts[kind][0];
        for (int status = 1; status < STATUSES; status++) {
            if (shared->counts[kind][status] > 0) printf(", %s %u", sft_status_name(status), shared->counts[kind][status]);
            refused += shared->counts[kind][status];
        }
        printf("\n");
    }
    printf("%llu damaged files: %llu opened, %llu refused, %llu died, %u wrong statuses\n", (unsigned long long)count,
           (unsigned long long)opened, (unsigned long long)refused, (unsigned long long)died, shared->wrong);
    return died != 0 || shared->wrong != 0;
}
