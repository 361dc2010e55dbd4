// Makes the nth system call on files fail, for faults.py: LD_PRELOAD=inject.so.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static atomic_int is_armed, is_sticky, error_number;
static atomic_long calls, victim;
static const char *_Atomic victims_name;

// From now on call number `at`, counted from 0, fails with `error`; with `sticky` every later one too. Nothing fails where
// `at` is below 0. An error of 0 makes a write short.
void inject_arm(long at, int error, int sticky) {
    atomic_store(&calls, 0);
    atomic_store(&victim, at);
    atomic_store(&error_number, error);
    atomic_store(&is_sticky, sticky);
    atomic_store(&victims_name, (const char *)0);
    atomic_store(&is_armed, 1);
}

// Ends that; how many calls there were.
long inject_disarm(void) {
    atomic_store(&is_armed, 0);
    return atomic_load(&calls);
}

// The first call that failed.
const char *inject_victim(void) {
    const char *name = atomic_load(&victims_name);
    return name ? name : "";
}

static int fails(const char *name) {
    if (!atomic_load(&is_armed)) return 0;
    long at = atomic_load(&victim), number = atomic_fetch_add(&calls, 1);
    if (at < 0 || number < at || (number > at && !atomic_load(&is_sticky))) return 0;
    const char *nobody = 0;
    atomic_compare_exchange_strong(&victims_name, &nobody, name);
    if (atomic_load(&error_number) == 0) return 0;
    errno = atomic_load(&error_number);
    return 1;
}

#define REAL(name) ((__typeof__(name) *)dlsym(RTLD_NEXT, #name))
#define WRAP(result, name, parameters, ...)                                                                            \
    result name parameters {                                                                                           \
        static __typeof__(name) *real;                                                                                 \
        if (!real) real = REAL(name);                                                                                  \
        return fails(#name) ? (result)-1 : real(__VA_ARGS__);                                                          \
    }

WRAP(int, fsync, (int fd), fd)
WRAP(int, rename, (const char *a, const char *b), a, b)
WRAP(int, renameat2, (int d, const char *a, int e, const char *b, unsigned f), d, a, e, b, f)
WRAP(int, link, (const char *a, const char *b), a, b)
WRAP(int, unlink, (const char *path), path)
WRAP(int, mkdir, (const char *path, mode_t mode), path, mode)
WRAP(int, rmdir, (const char *path), path)
WRAP(int, chmod, (const char *path, mode_t mode), path, mode)
WRAP(int, fchmod, (int fd, mode_t mode), fd, mode)
WRAP(int, fchown, (int fd, uid_t user, gid_t group), fd, user, group)
WRAP(int, flock, (int fd, int operation), fd, operation)
WRAP(int, stat, (const char *path, struct stat *info), path, info)
WRAP(int, lstat, (const char *path, struct stat *info), path, info)
WRAP(int, fstat, (int fd, struct stat *info), fd, info)
WRAP(ssize_t, pread, (int fd, void *bytes, size_t count, off_t at), fd, bytes, count, at)
WRAP(ssize_t, pread64, (int fd, void *bytes, size_t count, off64_t at), fd, bytes, count, at)

ssize_t write(int fd, const void *bytes, size_t count) {
    static __typeof__(write) *real;
    if (!real) real = REAL(write);
    long before = atomic_load(&calls);
    if (fails("write")) return -1;
    int is_short = atomic_load(&is_armed) && atomic_load(&error_number) == 0 && before == atomic_load(&victim);
    return real(fd, bytes, is_short && count > 1 ? count / 2 : count);
}

int close(int fd) {
    static __typeof__(close) *real;
    if (!real) real = REAL(close);
    // As the system does it: closed, and an error nevertheless.
    int result = real(fd);
    return fails("close") ? -1 : result;
}

#define WRAP_OPEN(name)                                                                                                \
    int name(const char *path, int flags, ...) {                                                                       \
        static int (*real)(const char *, int, ...);                                                                    \
        if (!real) real = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, #name);                                    \
        va_list list;                                                                                                  \
        va_start(list, flags);                                                                                         \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(list, mode_t) : 0;                                        \
        va_end(list);                                                                                                  \
        return fails(#name) ? -1 : real(path, flags, mode);                                                            \
    }

WRAP_OPEN(open)
WRAP_OPEN(open64)
