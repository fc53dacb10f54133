/* Counts what changes files below one folder, and kills the process, or fails, at the n-th. For LD_PRELOAD. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static char root[PATH_MAX];
static long counted, point;
static int failure; /* 0: SIGKILL; else this errno, once */

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

static int hit_fd(int fd) {
    char link[64], path[PATH_MAX];
    if (!root[0]) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return hit(path);
}

#define REAL(name) __typeof__(&name) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

ssize_t write(int fd, const void *data, size_t size) { REAL(write); return hit_fd(fd) ? -1 : real(fd, data, size); }
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) { REAL(pwrite); return hit_fd(fd) ? -1 : real(fd, data, size, at); }
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) { REAL(pwrite64); return hit_fd(fd) ? -1 : real(fd, data, size, at); }
int fsync(int fd) { REAL(fsync); return hit_fd(fd) ? -1 : real(fd); }
int fdatasync(int fd) { REAL(fdatasync); return hit_fd(fd) ? -1 : real(fd); }
int ftruncate(int fd, off_t size) { REAL(ftruncate); return hit_fd(fd) ? -1 : real(fd, size); }
int ftruncate64(int fd, off64_t size) { REAL(ftruncate64); return hit_fd(fd) ? -1 : real(fd, size); }
int rename(const char *from, const char *to) { REAL(rename); return hit(to) ? -1 : real(from, to); }
int unlink(const char *path) { REAL(unlink); return hit(path) ? -1 : real(path); }
int mkdir(const char *path, mode_t mode) { int (*real)(const char *, mode_t) = dlsym(RTLD_NEXT, "mkdir"); return hit(path) ? -1 : real(path, mode); }
