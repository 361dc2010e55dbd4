// How fast text becomes ids and ids text, through the C API. Prints one JSON object; see ../tokenizer.py.
//
//     tokenizer DIR documents FILE   # each document by itself, on one thread
//     tokenizer DIR batch FILE       # many documents in one call, on one thread and on two: padded
//     tokenizer DIR texts FILE       # the same without padding
//     tokenizer DIR worst            # texts that are hard for a tokenizer, of 1 MB and of 10 MB
//
// ISA=avx2 in the environment limits the kernels.
// FILE: documents one after the other, each as its size (4 bytes, little-endian) and its bytes.
#include <qwensft.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TRY(call) if ((call) != SFT_OK) { fprintf(stderr, "%s\n", sft_last_error()); exit(1); }

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static sft_text *read_documents(const char *path, size_t *count) {
    FILE *file = fopen(path, "rb");
    if (!file) { perror(path); exit(1); }
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    rewind(file);
    char *bytes = malloc((size_t)size);
    if (!bytes || fread(bytes, 1, (size_t)size, file) != (size_t)size) { perror(path); exit(1); }
    fclose(file);
    sft_text *documents = calloc((size_t)size / 4 + 1, sizeof *documents);
    *count = 0;
    for (long p = 0; p < size;) {
        uint32_t length;
        memcpy(&length, bytes + p, 4);
        documents[*count].data = bytes + p + 4;
        documents[(*count)++].size = length;
        p += 4 + (long)length;
    }
    return documents;
}

// --- Documents, one by one ---------------------------------------------------------------------------------------------

static int32_t *ids;
static size_t ids_capacity;

// Seconds for documents [from, to).
static double encode(const sft_tokenizer *tokenizer, const sft_text *documents, size_t from, size_t to, size_t *total) {
    double start = now();
    for (size_t i = from; i < to; i++) {
        size_t count;
        TRY(sft_tokenizer_encode(tokenizer, documents[i].data, documents[i].size, 0, ids, ids_capacity, &count));
        *total += count;
    }
    return now() - start;
}

static void measure_documents(const char *directory, const char *path) {
    size_t count, total = 0;
    sft_text *documents = read_documents(path, &count);
    for (size_t i = 0; i < count; i++) if (documents[i].size + 4 > ids_capacity) ids_capacity = documents[i].size + 4;
    ids = malloc(ids_capacity * sizeof *ids);
    memset(ids, 1, ids_capacity * sizeof *ids);
    sft_tokenizer *tokenizer;
    double start = now();
    TRY(sft_tokenizer_open(directory, SFT_ZSTRING, &tokenizer));
    double load = now() - start;
    double cold = encode(tokenizer, documents, 0, count / 2, &total);
    double warm = encode(tokenizer, documents, count / 2, count, &total);
    double again = encode(tokenizer, documents, count / 2, count, &total);

    double decode = 0;
    char *text = malloc(ids_capacity + 1);
    memset(text, 1, ids_capacity + 1);
    for (size_t i = 0; i < count; i++) {
        size_t id_count, size;
        TRY(sft_tokenizer_encode(tokenizer, documents[i].data, documents[i].size, 0, ids, ids_capacity, &id_count));
        start = now();
        TRY(sft_tokenizer_decode(tokenizer, ids, id_count, 0, text, ids_capacity + 1, &size));
        decode += now() - start;
    }
    printf("{\"load\": %g, \"cold\": %g, \"warm\": %g, \"again\": %g, \"decode\": %g, \"tokens\": %zu}\n", load, cold, warm,
           again, decode, total);
    sft_tokenizer_free(tokenizer);
}

// --- Documents, many at once -------------------------------------------------------------------------------------------

static double encode_batches(const sft_tokenizer *tokenizer, const sft_text *documents, size_t count, int padded) {
    double start = now();
    for (size_t i = 0; i < count; i += 64) {
        size_t part = count - i < 64 ? count - i : 64, offsets[65], written;
        if (padded) {
            sft_batch *batch;
            TRY(sft_encode_batch(tokenizer, documents + i, part, NULL, &batch));
            sft_batch_free(batch);
        } else {
            TRY(sft_tokenizer_encode_texts(tokenizer, documents + i, part, 0, ids, ids_capacity, &written, offsets));
        }
    }
    return now() - start;
}

static void measure_batches(const char *directory, const char *path, int padded) {
    size_t count;
    sft_text *documents = read_documents(path, &count);
    for (size_t i = 0; i < count; i++) if (64 * documents[i].size > ids_capacity) ids_capacity = 64 * documents[i].size;
    ids = malloc(ids_capacity * sizeof *ids);
    sft_tokenizer *tokenizer;
    TRY(sft_tokenizer_open(directory, SFT_ZSTRING, &tokenizer));
    printf("{\"threads\": [");
    // Taking turns, the first of each not counted: it fills the caches of words, of which each thread has one.
    for (int round = 0; round < 6; round++) {
        for (int threads = 1; threads <= 2; threads++) {
            TRY(sft_set_thread_count(threads));
            double seconds = encode_batches(tokenizer, documents, count, padded);
            if (round > 0) printf("%s%s%g%s", round > 1 && threads == 1 ? ", " : "", threads == 1 ? "[" : ", ", seconds,
                                  threads == 2 ? "]" : "");
        }
    }
    printf("]}\n");
    sft_tokenizer_free(tokenizer);
}

// --- Hard texts --------------------------------------------------------------------------------------------------------

static size_t repeated(char *text, size_t size, const char *what) {
    size_t length = strlen(what), end = 0;
    for (; end + length <= size; end += length) memcpy(text + end, what, length);
    return end;
}

static uint32_t next_random(void) {
    static uint64_t state = 1;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 33);
}

// Random bytes as UTF-8: what is no part of well-formed UTF-8 has been replaced by U+FFFD, as decoders do.
static size_t random_text(char *text, size_t size) {
    size_t end = 0;
    while (end + 3 <= size) {
        uint32_t byte = next_random() & 0xFF, more = next_random() & 0xFF;
        if (byte < 0x80) {
            text[end++] = (char)byte;
        } else if (byte >= 0xC2 && byte < 0xE0 && (more & 0xC0) == 0x80) {
            text[end++] = (char)byte;
            text[end++] = (char)more;
        } else {
            memcpy(text + end, "\xEF\xBF\xBD", 3);
            end += 3;
        }
    }
    return end;
}

static void measure_worst(const char *directory) {
    static const char *const names[] = {"one letter", "spaces", "digits", "one CJK word", "random bytes"};
    static const char *const texts[] = {"a", " ", "7", "\xE4\xB8\xAD\xE5\x8D\x8E"};
    size_t capacity = 10000000;
    char *text = malloc(capacity);
    ids_capacity = capacity + 4; // more than the ids of any text: they are written in place
    ids = malloc(ids_capacity * sizeof *ids);
    memset(ids, 1, ids_capacity * sizeof *ids);
    printf("{");
    for (int kind = 0; kind < 5; kind++) {
        printf("%s\"%s\": [", kind ? ", " : "", names[kind]);
        for (int round = 0; round < 3; round++) {
            double seconds[2];
            for (int large = 0; large < 2; large++) {
                size_t size = large ? capacity : capacity / 10, count;
                size = kind < 4 ? repeated(text, size, texts[kind]) : random_text(text, size);
                sft_tokenizer *tokenizer; // a new one, which has seen nothing
                TRY(sft_tokenizer_open(directory, SFT_ZSTRING, &tokenizer));
                TRY(sft_tokenizer_encode(tokenizer, "a b", 3, 0, ids, 3, &count));
                double start = now();
                TRY(sft_tokenizer_encode(tokenizer, text, size, 0, ids, ids_capacity, &count));
                seconds[large] = now() - start;
                sft_tokenizer_free(tokenizer);
            }
            printf("%s[%g, %g]", round ? ", " : "", seconds[0], seconds[1]);
        }
        printf("]");
    }
    printf("}\n");
}

int main(int argc, char **argv) {
    if (getenv("ISA")) TRY(sft_set_max_isa(getenv("ISA"), SFT_ZSTRING));
    if (argc == 4 && !strcmp(argv[2], "documents")) measure_documents(argv[1], argv[3]);
    else if (argc == 4 && !strcmp(argv[2], "batch")) measure_batches(argv[1], argv[3], 1);
    else if (argc == 4 && !strcmp(argv[2], "texts")) measure_batches(argv[1], argv[3], 0);
    else if (argc == 3 && !strcmp(argv[2], "worst")) measure_worst(argv[1]);
    else return 2;
    return 0;
}
