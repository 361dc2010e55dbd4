/* How fast chat templates are rendered, on one thread: bytes of text per second of processor time, best of 7.
 *
 *     make bench-templates TOKENIZER=DIR TEMPLATE=chat_template.jinja */
#include "qwensft.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double seconds(void) {
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return time.tv_sec + 1e-9 * time.tv_nsec;
}

static void check(sft_status status) {
    if (status == SFT_OK) return;
    fprintf(stderr, "%s\n", sft_last_error());
    exit(1);
}

int main(int argc, char **argv) {
    static char template[1 << 20], words[2000], text[1 << 20];
    FILE *file = argc == 3 ? fopen(argv[2], "rb") : NULL;
    if (file == NULL) return fprintf(stderr, "usage: templates TOKENIZER TEMPLATE\n"), 64;
    const size_t template_size = fread(template, 1, sizeof template, file);
    sft_tokenizer *own, *tokenizer;
    check(sft_tokenizer_open(argv[1], SFT_ZSTRING, &own));
    check(sft_tokenizer_with_chat_template(own, template, template_size, "", 0, &tokenizer));
    for (size_t i = 0; i < sizeof words; i++) words[i] = i % 6 == 5 ? ' ' : 'x';
    for (int c = 0; c < 4; c++) {
        const size_t count = c % 2 ? 20 : 2, length = c / 2 ? 2000 : 300;
        sft_message messages[20];
        for (size_t i = 0; i < count; i++) {
            const sft_message message = {i % 2 ? "assistant" : "user", SFT_ZSTRING, words, length, 1.0, NULL, 0};
            messages[i] = message;
        }
        const int rounds = (int)(2000000 / (count * length)) + 1;
        double best = 1e9;
        size_t size = 0;
        for (int trial = 0; trial < 7; trial++) {
            const double start = seconds();
            for (int i = 0; i < rounds; i++)
                check(sft_render_chat_template(
                    tokenizer, messages, sizeof *messages, count, NULL, text, sizeof text, &size));
            const double time = (seconds() - start) / rounds;
            if (time < best) best = time;
        }
        printf("%2zu messages of %4zu bytes: %6.1f MB/s, %5.1f us\n", count, length, size / best / 1e6, best * 1e6);
    }
    sft_tokenizer_free(tokenizer);
    sft_tokenizer_free(own);
    return 0;
}
