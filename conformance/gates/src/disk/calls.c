/* Preloaded into a server. Its calls that change files below one directory are counted, and fail by a plan that the judge
   changes at any time. The plan is a file of the judge's, named by FAILING_CALLS. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WRITES = 1, SYNCS = 2, OTHERS = 4 };

struct plan {
    uint32_t error;       /* the system's error, or 0 if nothing fails */
    uint32_t kinds;       /* of the calls that count */
    uint32_t first, last; /* the numbers of the calls that fail */
    uint32_t made;        /* calls since the plan was made */
    char below[PATH_MAX];
};
static struct plan *plan;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("FAILING_CALLS");
    int file = path ? open(path, O_RDWR) : -1;
    if (file < 0) return;
    void *shared = mmap(NULL, sizeof *plan, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (shared != MAP_FAILED) plan = shared;
    close(file);
}

static int fails(unsigned kind, const char *path) {
    if (!plan || !plan->error || !(plan->kinds & kind)) return 0;
    size_t length = strlen(plan->below);
    if (strncmp(path, plan->below, length) || (path[length] && path[length] != '/')) return 0;
    uint32_t number = __atomic_add_fetch(&plan->made, 1, __ATOMIC_SEQ_CST);
    if (number < plan->first || number > plan->last) return 0;
    return errno = plan->error;
}

static int fails_on(unsigned kind, int file) {
    char link[32], path[PATH_MAX];
    if (!plan || !plan->error) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return fails(kind, path);
}

static int fails_at(unsigned kind, int directory, const char *name) {
    char link[32], path[2 * PATH_MAX];
    if (!plan || !plan->error) return 0;
    if (name[0] == '/' || directory == AT_FDCWD) return fails(kind, name);
    snprintf(link, sizeof link, "/proc/self/fd/%d", directory);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < 0) return 0;
    snprintf(path + length, sizeof path - length, "/%s", name);
    return fails(kind, path);
}

#define CALL(result, name, parameters, arguments, failure)                      \
    result name parameters {                                                    \
        static result(*next) parameters;                                        \
        if (!next) next = (result(*) parameters)dlsym(RTLD_NEXT, #name);        \
        int failed = failure;                                                   \
        if (failed) return RESULT(failed);                                      \
        return next arguments;                                                  \
    }
#define RESULT(failed) -1

CALL(ssize_t, write, (int file, const void *bytes, size_t count), (file, bytes, count), fails_on(WRITES, file))
CALL(ssize_t, pwrite, (int file, const void *bytes, size_t count, off_t at), (file, bytes, count, at), fails_on(WRITES, file))
CALL(ssize_t, pwrite64, (int file, const void *bytes, size_t count, off64_t at), (file, bytes, count, at), fails_on(WRITES, file))
CALL(int, fsync, (int file), (file), fails_on(SYNCS, file))
CALL(int, fdatasync, (int file), (file), fails_on(SYNCS, file))
CALL(int, sync_file_range, (int file, off64_t at, off64_t count, unsigned flags), (file, at, count, flags), fails_on(SYNCS, file))
CALL(int, ftruncate, (int file, off_t length), (file, length), fails_on(OTHERS, file))
CALL(int, ftruncate64, (int file, off64_t length), (file, length), fails_on(OTHERS, file))
CALL(int, fallocate, (int file, int mode, off_t at, off_t count), (file, mode, at, count), fails_on(OTHERS, file))
CALL(int, fallocate64, (int file, int mode, off64_t at, off64_t count), (file, mode, at, count), fails_on(OTHERS, file))
CALL(int, fchmod, (int file, mode_t mode), (file, mode), fails_on(OTHERS, file))
CALL(int, rename, (const char *from, const char *to), (from, to), fails(OTHERS, to) || fails(OTHERS, from))
CALL(int, mkdir, (const char *path, mode_t mode), (path, mode), fails(OTHERS, path))
CALL(int, unlink, (const char *path), (path), fails(OTHERS, path))
CALL(int, rmdir, (const char *path), (path), fails(OTHERS, path))
CALL(int, unlinkat, (int directory, const char *name, int flags), (directory, name, flags), fails_at(OTHERS, directory, name))

#undef RESULT
#define RESULT(failed) (failed)
CALL(int, posix_fallocate, (int file, off_t at, off_t count), (file, at, count), fails_on(OTHERS, file))
CALL(int, posix_fallocate64, (int file, off64_t at, off64_t count), (file, at, count), fails_on(OTHERS, file))

/* Only those that may change something. */
#define OPEN(name, parameters, arguments, failure)                              \
    int name parameters {                                                       \
        static int (*next)();                                                   \
        if (!next) next = (int (*)())dlsym(RTLD_NEXT, #name);                   \
        va_list more;                                                           \
        va_start(more, flags);                                                  \
        mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(more, mode_t) : 0; \
        va_end(more);                                                           \
        if (flags & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC) && failure) return -1; \
        return next arguments;                                                  \
    }

OPEN(open, (const char *path, int flags, ...), (path, flags, mode), fails(OTHERS, path))
OPEN(open64, (const char *path, int flags, ...), (path, flags, mode), fails(OTHERS, path))
OPEN(openat, (int directory, const char *path, int flags, ...), (directory, path, flags, mode), fails_at(OTHERS, directory, path))
OPEN(openat64, (int directory, const char *path, int flags, ...), (directory, path, flags, mode), fails_at(OTHERS, directory, path))
