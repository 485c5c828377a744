/* Makes one of the calls that write fail: the FAULT_AT-th below the folder FAULT_UNDER, with errno FAULT_ERRNO. The
 * calls are counted in the file FAULT_COUNTER, which all processes share. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static long *counter;
static long at;
static int with;
static const char *under;

__attribute__((constructor)) static void begin(void) {
    under = getenv("FAULT_UNDER");
    const char *file = getenv("FAULT_COUNTER");
    if (!under || !file) return;
    at = atol(getenv("FAULT_AT"));
    with = atoi(getenv("FAULT_ERRNO"));
    int (*real)(const char *, int, ...) = dlsym(RTLD_NEXT, "open");
    int descriptor = real(file, O_RDWR);
    if (descriptor < 0) return;
    void *place = mmap(NULL, sizeof(long), PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    close(descriptor);
    if (place != MAP_FAILED) counter = place;
}

static int fails(const char *path) {
    if (!counter || !path || strncmp(path, under, strlen(under)) != 0) return 0;
    if (__atomic_add_fetch(counter, 1, __ATOMIC_SEQ_CST) != at) return 0;
    errno = with;
    return 1;
}

static int fails_at(int folder, const char *path) {
    char whole[4096];
    char link[64];
    if (!path) return 0;
    if (path[0] == '/' || folder == AT_FDCWD) {
        if (path[0] == '/') return fails(path);
        if (!getcwd(whole, 2048)) return 0;
    } else {
        snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        ssize_t size = readlink(link, whole, 2048);
        if (size < 0) return 0;
        whole[size] = 0;
    }
    size_t used = strlen(whole);
    snprintf(whole + used, sizeof whole - used, "/%s", path);
    return fails(whole);
}

static int fails_on(int descriptor) {
    if (!counter) return 0;
    char link[64];
    char path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0) return 0;
    path[size] = 0;
    return fails(path);
}

#define WRITES(flags) ((flags) & (O_CREAT | O_WRONLY | O_RDWR | O_TRUNC | O_APPEND))
#define OPEN(name)                                                                   \
    int name(const char *path, int flags, ...) {                                     \
        va_list rest;                                                                \
        va_start(rest, flags);                                                       \
        mode_t mode = va_arg(rest, mode_t);                                          \
        va_end(rest);                                                                \
        if (WRITES(flags) && fails_at(AT_FDCWD, path)) return -1;                    \
        int (*real)(const char *, int, ...) = dlsym(RTLD_NEXT, #name);               \
        return real(path, flags, mode);                                              \
    }
#define OPENAT(name)                                                                 \
    int name(int folder, const char *path, int flags, ...) {                         \
        va_list rest;                                                                \
        va_start(rest, flags);                                                       \
        mode_t mode = va_arg(rest, mode_t);                                          \
        va_end(rest);                                                                \
        if (WRITES(flags) && fails_at(folder, path)) return -1;                      \
        int (*real)(int, const char *, int, ...) = dlsym(RTLD_NEXT, #name);          \
        return real(folder, path, flags, mode);                                      \
    }
#define ON(result, name, declared, given)                                            \
    result name declared {                                                           \
        if (fails_on(file)) return -1;                                               \
        result(*real) declared = dlsym(RTLD_NEXT, #name);                            \
        return real given;                                                           \
    }
#define AT(name, declared, folder, path, given)                                      \
    int name declared {                                                              \
        if (fails_at(folder, path)) return -1;                                       \
        int(*real) declared = dlsym(RTLD_NEXT, #name);                               \
        return real given;                                                           \
    }

OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)
ON(ssize_t, write, (int file, const void *bytes, size_t size), (file, bytes, size))
ON(ssize_t, pwrite, (int file, const void *bytes, size_t size, off_t place), (file, bytes, size, place))
ON(ssize_t, pwrite64, (int file, const void *bytes, size_t size, off64_t place), (file, bytes, size, place))
ON(int, fsync, (int file), (file))
ON(int, fdatasync, (int file), (file))
ON(int, ftruncate, (int file, off_t size), (file, size))
ON(int, ftruncate64, (int file, off64_t size), (file, size))
AT(mkdir, (const char *path, mode_t mode), AT_FDCWD, path, (path, mode))
AT(mkdirat, (int folder, const char *path, mode_t mode), folder, path, (folder, path, mode))
AT(rename, (const char *path, const char *to), AT_FDCWD, path, (path, to))
AT(renameat, (int folder, const char *path, int other, const char *to), folder, path, (folder, path, other, to))
AT(unlink, (const char *path), AT_FDCWD, path, (path))
AT(unlinkat, (int folder, const char *path, int flags), folder, path, (folder, path, flags))
AT(rmdir, (const char *path), AT_FDCWD, path, (path))
