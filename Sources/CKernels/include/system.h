// What the processor and the system offer and Swift does not show.
#ifndef QWENSFT_CKERNELS_SYSTEM_H
#define QWENSFT_CKERNELS_SYSTEM_H

#include <stddef.h>
#include <stdint.h>

/// How many processors this process may run on; 0 where the system does not say.
int qk_processor_count(void);

/// Tells the processor that this is a spinning wait.
static inline void qk_pause(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb"); // about as long; `yield` does nothing on most processors
#endif
}

/// Asks for pages of 2 MiB where the system has them; memory is as good without.
void qk_prefer_huge_pages(void *memory, size_t size);

/// Gives pages that mmap gave back to the system; their content is zero afterwards.
void qk_clear_pages(void *memory, size_t size);

/// Exchanges two files or directories in one step; -1 and errno where that fails or the file system cannot.
int qk_exchange_files(const char *a, const char *b);

/// Opens a new file in a directory that has no name and ends with the process; -1 and errno where that fails.
int qk_unnamed_file(const char *directory);

/// The longest file that the process may write, in bytes.
uint64_t qk_file_size_limit(void);

/// Whether a directory has an access control list beside its permissions.
int qk_has_access_list(const char *directory);

/// Whether a directory is where another file system, or another part of one, is mounted.
int qk_is_mount_point(const char *directory);

#endif
