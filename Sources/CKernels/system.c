#define _GNU_SOURCE
#include "system.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

int qk_processor_count(void) {
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 0;
}

int qk_exchange_files(const char *a, const char *b) { return renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE); }

int qk_unnamed_file(const char *directory) {
    int descriptor = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (descriptor >= 0) return descriptor;
    // Not every file system has such files.
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

int qk_has_access_list(const char *directory) {
    return getxattr(directory, "system.posix_acl_access", NULL, 0) > 0 ||
           getxattr(directory, "system.posix_acl_default", NULL, 0) > 0;
}

int qk_is_mount_point(const char *directory) {
    struct statx here;
    if (statx(AT_FDCWD, directory, 0, STATX_TYPE, &here) == 0 && here.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT)
        return (here.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
    // Kernels before 5.8 do not say; a directory that is mounted from the same file system then looks like any other.
    struct stat own, above;
    char parent[4096];
    if (snprintf(parent, sizeof parent, "%s/..", directory) >= (int)sizeof parent) return 0;
    return stat(directory, &own) == 0 && stat(parent, &above) == 0 && own.st_dev != above.st_dev;
}
