/* The few words the C tests are written in. Valid as C11 and as C++17. */
#ifndef CHECK_H
#define CHECK_H

#include <qwensft.h>

#include <stdio.h>
#include <string.h>

static int checks, failures;

static inline void check(int good, const char *file, int line, const char *what) {
    __atomic_add_fetch(&checks, 1, __ATOMIC_RELAXED);
    if (good) return;
    __atomic_add_fetch(&failures, 1, __ATOMIC_RELAXED);
    printf("%s:%d: %s\n    last error: %s\n", file, line, what, sft_last_error());
}

static inline void check_text(const char *text, const char *expected, const char *file, int line) {
    __atomic_add_fetch(&checks, 1, __ATOMIC_RELAXED);
    if (strcmp(text, expected) == 0) return;
    __atomic_add_fetch(&failures, 1, __ATOMIC_RELAXED);
    printf("%s:%d: text differs\n    is:       %s\n    expected: %s\n", file, line, text, expected);
}

static inline void check_status(sft_status status, sft_status expected, const char *part, const char *file, int line) {
    __atomic_add_fetch(&checks, 1, __ATOMIC_RELAXED);
    if (status == expected && (part == NULL || strstr(sft_last_error(), part) != NULL)) return;
    __atomic_add_fetch(&failures, 1, __ATOMIC_RELAXED);
    printf("%s:%d: %s \"%s\"\n    expected: %s \"%s\"\n", file, line, sft_status_name(status), sft_last_error(),
           sft_status_name(expected), part != NULL ? part : "");
}

#define CHECK(condition) check((condition) ? 1 : 0, __FILE__, __LINE__, #condition)
#define CHECK_TEXT(text, expected) check_text(text, expected, __FILE__, __LINE__)
#define OK(call) check_status(call, SFT_OK, NULL, __FILE__, __LINE__)
/* The call fails with this status and a message that has this part. */
#define FAILS(call, status, part) check_status(call, status, part, __FILE__, __LINE__)

static inline int finish(void) {
    printf("%d checks, %d failed\n", checks, failures);
    return failures != 0;
}

#endif
