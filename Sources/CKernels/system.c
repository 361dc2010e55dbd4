// Linux, and Apple's systems by their documentation: that part was never compiled.
#define _GNU_SOURCE
#include "system.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#if defined(__APPLE__)
#include <sys/acl.h>

int qk_processor_count(void) { return (int)sysconf(_SC_NPROCESSORS_ONLN); }

void qk_prefer_huge_pages(void *memory, size_t size) {
    (void)memory;
    (void)size;
}

void qk_clear_pages(void *memory, size_t size) {
    mmap(memory, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON | MAP_FIXED, -1, 0);
}

int qk_exchange_files(const char *a, const char *b) { return renamex_np(a, b, RENAME_SWAP); }

static int unnamed_at_once(const char *directory) {
    (void)directory;
    return -1;
}

int qk_has_access_list(const char *directory) {
    acl_t list = acl_get_file(directory, ACL_TYPE_EXTENDED);
    if (list) acl_free(list);
    return list != NULL;
}

/// 0 or 1, or -1 where the system does not say.
static int is_mount_root(const char *directory) {
    (void)directory;
    return -1;
}
#else
#include <sched.h>
#include <sys/xattr.h>

int qk_processor_count(void) {
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 0;
}

void qk_prefer_huge_pages(void *memory, size_t size) { madvise(memory, size, MADV_HUGEPAGE); }

void qk_clear_pages(void *memory, size_t size) { madvise(memory, size, MADV_DONTNEED); }

int qk_exchange_files(const char *a, const char *b) { return renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE); }

/// Not every file system has such files.
static int unnamed_at_once(const char *directory) { return open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600); }

int qk_has_access_list(const char *directory) {
    return getxattr(directory, "system.posix_acl_access", NULL, 0) > 0 ||
           getxattr(directory, "system.posix_acl_default", NULL, 0) > 0;
}

/// 0 or 1, or -1 where the system does not say: kernels before 5.8.
static int is_mount_root(const char *directory) {
    struct statx here;
    if (statx(AT_FDCWD, directory, 0, STATX_TYPE, &here) != 0 || !(here.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT)) return -1;
    return (here.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
}
#endif

int qk_unnamed_file(const char *directory) {
    int descriptor = unnamed_at_once(directory);
    if (descriptor >= 0) return descriptor;
    char path[4096];
    if (snprintf(path, sizeof path, "%s/qwensft-XXXXXX", directory) >= (int)sizeof path) return -1;
    descriptor = mkostemp(path, O_CLOEXEC);
    if (descriptor >= 0) unlink(path);
    return descriptor;
}

uint64_t qk_file_size_limit(void) {
    struct rlimit limit;
    return getrlimit(RLIMIT_FSIZE, &limit) == 0 ? (uint64_t)limit.rlim_cur : UINT64_MAX;
}

int qk_is_mount_point(const char *directory) {
    const int known = is_mount_root(directory);
    if (known >= 0) return known;
    // A directory that is mounted from the same file system looks like any other.
    struct stat own, above;
    char parent[4096];
    if (snprintf(parent, sizeof parent, "%s/..", directory) >= (int)sizeof parent) return 0;
    return stat(directory, &own) == 0 && stat(parent, &above) == 0 && own.st_dev != above.st_dev;
}
