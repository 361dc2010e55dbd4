/* Section 1 of the header, and section 10, without a model. */
#include "check.h"

#include <pthread.h>

static void *other_thread(void *unused) {
    (void)unused;
    CHECK_TEXT(sft_last_error(), "");
    FAILS(sft_set_thread_count(100000), SFT_INVALID_ARGUMENT, "'count' is 100000, expected 1 to 256 threads");
    return NULL;
}

int main(void) {
    CHECK(sft_version() == SFT_VERSION);
    char version[32];
    snprintf(version, sizeof version, "%d.%d.%d", SFT_VERSION_MAJOR, SFT_VERSION_MINOR, SFT_VERSION_PATCH);
    CHECK_TEXT(sft_version_string(), version);
    CHECK_TEXT(sft_status_name(SFT_OK), "SFT_OK");
    CHECK_TEXT(sft_status_name(SFT_BUSY), "SFT_BUSY");
    CHECK_TEXT(sft_status_name(-7), "unknown status");
    CHECK_TEXT(sft_last_error(), "");

    CHECK(sft_thread_count() >= 1);
    FAILS(sft_set_thread_count(0), SFT_INVALID_ARGUMENT, "'count' is 0, expected 1 to 256 threads");
    OK(sft_set_thread_count(1));
    CHECK(sft_thread_count() == 1);
#if defined(__aarch64__)
    CHECK(strncmp(sft_isa(), "neon", 4) == 0);
    FAILS(sft_set_max_isa("avx2", SFT_ZSTRING), SFT_INVALID_ARGUMENT, "'isa' is 'avx2', expected one of plain, neon, neon_dotprod, neon_i8mm");
    OK(sft_set_max_isa("neon_i8mm", SFT_ZSTRING));
#else
    CHECK(strcmp(sft_isa(), "plain") == 0 || strncmp(sft_isa(), "avx", 3) == 0);
    FAILS(sft_set_max_isa("sse9", SFT_ZSTRING), SFT_INVALID_ARGUMENT, "'isa' is 'sse9', expected one of plain, avx2, avx512, avx512_bf16");
    FAILS(sft_set_max_isa("neon", SFT_ZSTRING), SFT_INVALID_ARGUMENT, "'isa' is 'neon', expected one of plain, avx2, avx512, avx512_bf16");
    OK(sft_set_max_isa("avx512_bf16", SFT_ZSTRING));
#endif
    OK(sft_set_max_isa("plain", 5));
    CHECK_TEXT(sft_isa(), "plain");
    FAILS(sft_set_thread_count(0), SFT_INVALID_ARGUMENT, "'count' is 0, expected 1 to 256 threads");
    OK(sft_set_warning_callback(NULL, NULL));
    /* The message is that of the last failure, whatever succeeded since, and of this thread alone. */
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, other_thread, NULL) == 0 && pthread_join(thread, NULL) == 0);
    CHECK_TEXT(sft_last_error(), "'count' is 0, expected 1 to 256 threads");
    return finish();
}
