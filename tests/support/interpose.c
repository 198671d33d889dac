/* Fault injection at the n-th system call that changes a folder, from any library. Loaded with LD_PRELOAD.
 *
 * arm_fault(folder, n, mode) counts calls that write, sync, create, rename or remove below `folder`. The mode sets what
 * happens at the n-th call:
 *   FAULT_KILL   the process is killed by SIGKILL before the call;
 *   FAULT_HALF   half of the bytes are written, then the process is killed; only calls of `write` are counted;
 *   any errno    the call fails with this error, as do all later calls that need space (not removing files, and not
 *                opening without creating).
 *
 * With WRITE_HISTORY=FILE and WRITE_HISTORY_BELOW=FOLDER in the environment there are no faults, but each such call
 * adds a line to FILE.
 *
 * With WALL_CLOCK_JUMPS=FILE in the environment, and while that file exists, the wall clock jumps back by a year and
 * forward again, once in each true second. It is never ahead of the kernel's clock, because the kernel's clock ends
 * waits for a time of day, and such a wait would take as long as the jump, which does not happen with a real clock.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { FAULT_KILL = -1, FAULT_HALF = -2 };

static char below[4096], at[4096];
static int nth, mode, seen, history = -1;

void arm_fault(const char *folder, int n, int how) {
    snprintf(below, sizeof below, "%s", folder);
    nth = n, mode = how, seen = 0;
}

__attribute__((constructor)) static void keep_history(void) {
    const char *file = getenv("WRITE_HISTORY");
    if (!file) return;
    history = open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    arm_fault(getenv("WRITE_HISTORY_BELOW"), 1 << 30, FAULT_KILL);
}

static int watched(const char *path) {
    if (!nth || !path || strncmp(path, below, strlen(below)) != 0) return 0;
    snprintf(at, sizeof at, "%s", path);
    return 1;
}

static int watched_fd(int fd) {
    char link[64], path[4096];
    if (!nth) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return watched(path);
}

/* Returns whether the call must fail, with the error in errno. Does not return if the process is killed. */
static int fails(const char *name, int needs_space, int fd, const void *bytes, size_t count) {
    ssize_t (*true_write)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
    if (history >= 0) {
        char line[5000];
        (void)!true_write(history, line, snprintf(line, sizeof line, "%s %s\n", name, at));
    }
    if (mode == FAULT_HALF && !bytes) return 0;
    seen++;
    if (mode < 0 && seen == nth) {
        if (mode == FAULT_HALF) (void)!true_write(fd, bytes, count / 2);
        kill(getpid(), SIGKILL);
        for (;;) pause();
    }
    if (mode > 0 && seen >= nth && needs_space) {
        errno = mode;
        return 1;
    }
    return 0;
}

#define NEXT(name) __typeof__(name) *next = dlsym(RTLD_NEXT, #name)

ssize_t write(int fd, const void *bytes, size_t count) {
    NEXT(write);
    return watched_fd(fd) && fails(__func__, 1, fd, bytes, count) ? -1 : next(fd, bytes, count);
}
ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) {
    NEXT(pwrite);
    return watched_fd(fd) && fails(__func__, 1, fd, NULL, 0) ? -1 : next(fd, bytes, count, at);
}
ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
    NEXT(pwrite64);
    return watched_fd(fd) && fails(__func__, 1, fd, NULL, 0) ? -1 : next(fd, bytes, count, at);
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
    NEXT(writev);
    return watched_fd(fd) && fails(__func__, 1, fd, NULL, 0) ? -1 : next(fd, parts, count);
}
int fsync(int fd) {
    NEXT(fsync);
    return watched_fd(fd) && fails(__func__, 1, fd, NULL, 0) ? -1 : next(fd);
}
int fdatasync(int fd) {
    NEXT(fdatasync);
    return watched_fd(fd) && fails(__func__, 1, fd, NULL, 0) ? -1 : next(fd);
}
int posix_fallocate(int fd, off_t from, off_t length) {
    NEXT(posix_fallocate);
    return watched_fd(fd) && fails(__func__, 1, fd, NULL, 0) ? mode : next(fd, from, length);
}
int posix_fallocate64(int fd, off64_t from, off64_t length) {
    NEXT(posix_fallocate64);
    return watched_fd(fd) && fails(__func__, 1, fd, NULL, 0) ? mode : next(fd, from, length);
}
int rename(const char *from, const char *to) {
    NEXT(rename);
    return watched(to) && fails(__func__, 1, 0, NULL, 0) ? -1 : next(from, to);
}
int link(const char *from, const char *to) {
    NEXT(link);
    return watched(to) && fails(__func__, 1, 0, NULL, 0) ? -1 : next(from, to);
}
int mkdir(const char *path, mode_t how) {
    NEXT(mkdir);
    return watched(path) && fails(__func__, 1, 0, NULL, 0) ? -1 : next(path, how);
}
int unlink(const char *path) {
    NEXT(unlink);
    return watched(path) && fails(__func__, 0, 0, NULL, 0) ? -1 : next(path);
}

#define OPEN(name)                                                                                                     \
    int name(const char *path, int flags, ...) {                                                                       \
        NEXT(name);                                                                                                    \
        va_list rest;                                                                                                  \
        va_start(rest, flags);                                                                                         \
        mode_t how = flags & O_CREAT ? va_arg(rest, mode_t) : 0;                                                       \
        va_end(rest);                                                                                                  \
        int changes = flags & O_TRUNC || (flags & O_CREAT && access(path, F_OK) != 0);                                 \
        return changes && watched(path) && fails(__func__, 1, 0, NULL, 0) ? -1 : next(path, flags, how);                         \
    }
OPEN(open)
OPEN(open64)

static void leap(time_t *seconds) {
    static const char *jumps = "";
    static time_t looked = -1;
    static int leaping;
    struct timespec true_time;
    if (jumps && !*jumps) jumps = getenv("WALL_CLOCK_JUMPS");
    if (!jumps) return;
    int (*next)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
    next(CLOCK_MONOTONIC, &true_time);
    if (looked != true_time.tv_sec) looked = true_time.tv_sec, leaping = access(jumps, F_OK) == 0;
    if (leaping && true_time.tv_sec % 2) *seconds -= 365 * 86400;
}
int clock_gettime(clockid_t clock, struct timespec *now) {
    NEXT(clock_gettime);
    int result = next(clock, now);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) leap(&now->tv_sec);
    return result;
}
int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    int (*next)(struct timeval *, void *) = dlsym(RTLD_NEXT, "gettimeofday");
    int result = next(now, zone);
    if (result == 0) leap(&now->tv_sec);
    return result;
}
time_t time(time_t *to) {
    time_t (*next)(time_t *) = dlsym(RTLD_NEXT, "time");
    time_t now = next(NULL);
    leap(&now);
    if (to) *to = now;
    return now;
}
