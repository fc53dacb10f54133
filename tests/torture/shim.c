/* Counts what changes files below one folder, and kills the process, or fails, at the n-th; or writes all of it to a
 * journal (tests/torture/power.py reads it). For LD_PRELOAD. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static char root[PATH_MAX];
static long counted, point;
static int failure; /* 0: SIGKILL; else this errno, once */
static int journal = -1;
static pthread_mutex_t journal_lock = PTHREAD_MUTEX_INITIALIZER;

void torture_arm(const char *folder, long at, int error) {
    strncpy(root, folder, sizeof root - 1);
    counted = 0, point = at, failure = error;
}

long torture_counted(void) { return counted; }

static int hit(const char *path) {
    if (!root[0] || strncmp(path, root, strlen(root))) return 0;
    if (__atomic_add_fetch(&counted, 1, __ATOMIC_SEQ_CST) != point) return 0;
    if (!failure) kill(getpid(), SIGKILL);
    errno = failure;
    return 1;
}

static int path_of(int fd, char path[PATH_MAX]) {
    char link[64];
    if (!root[0]) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return 1;
}

static int hit_fd(int fd) {
    char path[PATH_MAX];
    return path_of(fd, path) && hit(path);
}

#define REAL(name) __typeof__(&name) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

static void put(const void *data, size_t size) {
    ssize_t (*real)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
    for (const char *left = data; size;) {
        ssize_t written = real(journal, left, size);
        if (written <= 0) kill(getpid(), SIGABRT);
        left += written, size -= written;
    }
}

/* What was done, in the order in which it was finished. */
static void note(char what, const char *path, const char *other, int64_t at, const void *data, uint64_t size) {
    if (journal < 0 || (what != 'A' && strncmp(path, root, strlen(root)))) return;
    int kept = errno;
    uint32_t lengths[2] = {strlen(path), strlen(other)};
    pthread_mutex_lock(&journal_lock);
    put(&what, 1), put(lengths, sizeof lengths), put(&at, sizeof at), put(&size, sizeof size);
    put(path, lengths[0]), put(other, lengths[1]), put(data, size);
    pthread_mutex_unlock(&journal_lock);
    errno = kept;
}

static void note_fd(char what, int fd, int64_t at, const void *data, uint64_t size) {
    char path[PATH_MAX];
    if (journal >= 0 && path_of(fd, path)) note(what, path, "", at, data, size);
}

/* From now on everything below `folder` goes to the journal. */
void torture_record(const char *folder, int fd) { torture_arm(folder, -1, 0), journal = fd; }

void torture_acknowledged(const char *step) { note('A', step, "", 0, "", 0); }

ssize_t write(int fd, const void *data, size_t size) {
    REAL(write);
    if (hit_fd(fd)) return -1;
    ssize_t done = real(fd, data, size);
    if (done > 0 && journal >= 0) note_fd('W', fd, lseek(fd, 0, SEEK_CUR) - done, data, done);
    return done;
}

#define PWRITE(name, offset)                                                  \
    ssize_t name(int fd, const void *data, size_t size, offset at) {          \
        REAL(name);                                                           \
        if (hit_fd(fd)) return -1;                                            \
        ssize_t done = real(fd, data, size, at);                              \
        if (done > 0) note_fd('W', fd, at, data, done);                       \
        return done;                                                          \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

/* Calls that say only whether they worked. */
#define CALL(name, parameters, arguments, is_hit, noted)                      \
    int name parameters {                                                     \
        int (*real) parameters = dlsym(RTLD_NEXT, #name);                     \
        if (is_hit) return -1;                                                \
        int done = real arguments;                                            \
        if (!done) noted;                                                     \
        return done;                                                          \
    }
CALL(fsync, (int fd), (fd), hit_fd(fd), note_fd('S', fd, 0, "", 0))
CALL(fdatasync, (int fd), (fd), hit_fd(fd), note_fd('S', fd, 0, "", 0))
CALL(ftruncate, (int fd, off_t size), (fd, size), hit_fd(fd), note_fd('T', fd, size, "", 0))
CALL(ftruncate64, (int fd, off64_t size), (fd, size), hit_fd(fd), note_fd('T', fd, size, "", 0))
CALL(rename, (const char *from, const char *to), (from, to), hit(to), note('R', from, to, 0, "", 0))
CALL(unlink, (const char *path), (path), hit(path), note('U', path, "", 0, "", 0))
CALL(rmdir, (const char *path), (path), hit(path), note('U', path, "", 0, "", 0))
CALL(mkdir, (const char *path, mode_t mode), (path, mode), hit(path), note('M', path, "", 0, "", 0))

/* Files that are made; reading is of no interest. */
#define OPEN(name)                                                            \
    int name(const char *path, int flags, ...) {                              \
        REAL(name);                                                           \
        va_list rest;                                                         \
        va_start(rest, flags);                                                \
        mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;             \
        va_end(rest);                                                         \
        int is_new = journal >= 0 && flags & O_CREAT && access(path, F_OK);   \
        int fd = real(path, flags, mode);                                     \
        if (fd >= 0 && is_new) note('C', path, "", 0, "", 0);                 \
        if (fd >= 0 && flags & O_TRUNC) note_fd('T', fd, 0, "", 0);           \
        return fd;                                                            \
    }
OPEN(open)
OPEN(open64)
