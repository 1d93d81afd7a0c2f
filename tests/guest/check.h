// What the guest programs share: printing what a call answered, in a form that is the same on every correct kernel. A program
// prints results and never judges them; the runner compares its output on Linux with its output on Knarr, byte for byte.
// Header only, so that each program is one translation unit.
#pragma once

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static inline const char *errno_name(int e)
{
    static char number[24];
#define NAME(x) case x: return #x;
    switch (e) {
    NAME(EPERM) NAME(ENOENT) NAME(ESRCH) NAME(EINTR) NAME(EIO) NAME(ENXIO) NAME(E2BIG) NAME(ENOEXEC) NAME(EBADF)
    NAME(ECHILD) NAME(EAGAIN) NAME(ENOMEM) NAME(EACCES) NAME(EFAULT) NAME(EBUSY) NAME(EEXIST) NAME(EXDEV) NAME(ENODEV)
    NAME(ENOTDIR) NAME(EISDIR) NAME(EINVAL) NAME(ENFILE) NAME(EMFILE) NAME(ENOTTY) NAME(ETXTBSY) NAME(EFBIG) NAME(ENOSPC)
    NAME(ESPIPE) NAME(EROFS) NAME(EMLINK) NAME(EPIPE) NAME(EDOM) NAME(ERANGE) NAME(EDEADLK) NAME(ENAMETOOLONG) NAME(ENOSYS)
    NAME(ENOTEMPTY) NAME(ELOOP) NAME(ETIMEDOUT) NAME(EOVERFLOW) NAME(EOPNOTSUPP) NAME(ENOTSOCK) NAME(EOWNERDEAD)
    NAME(ENOTRECOVERABLE) NAME(ECANCELED) NAME(ENODATA) NAME(ENOMSG) NAME(EIDRM) NAME(EMSGSIZE) NAME(EAFNOSUPPORT) NAME(EPROTONOSUPPORT)
    }
#undef NAME
    snprintf(number, sizeof number, "errno %d", e);
    return number;
}

// Prints `TEXT = RESULT`, and the errno's name when the result is -1. errno is left alone.
static inline long show_result(const char *text, long result)
{
    int e = errno;
    if (result == -1)
        printf("%s = -1 %s\n", text, errno_name(e));
    else
        printf("%s = %ld\n", text, result);
    errno = e;
    return result;
}
#define SHOW(call) (errno = 0, show_result(#call, (long)(call)))

// For calls whose successful result is an address or another value that differs: `ok` or the errno.
static inline long show_ok(const char *text, long result)
{
    int e = errno;
    printf("%s: %s\n", text, result == -1 ? errno_name(e) : "ok");
    errno = e;
    return result;
}
#define SHOW_OK(call) (errno = 0, show_ok(#call, (long)(call)))

// A statement that must hold; the output says so when it doesn't.
#define HOLDS(what) printf("%s: %s\n", #what, (what) ? "yes" : "NO")

// The end of a program that cannot go on.
// For a call that a sandbox around a Linux may forbid, made so that it succeeds where it is allowed: where it is not, the program
// ends with status 77, and nothing is compared. Knarr has no such sandbox: there 77 is a failure.
static inline void needs_call(const char *text, long result)
{
    if (result == -1 && (errno == EPERM || errno == ENOSYS)) {
        printf("refused: %s\n", text);
        exit(77);
    }
}
#define NEEDS(call) (errno = 0, needs_call(#call, (long)(call)))

static inline void __attribute__((noreturn, format(printf, 1, 2))) give_up(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    printf("gave up: ");
    vprintf(format, list);
    printf(" (%s)\n", errno_name(errno));
    va_end(list);
    exit(99);
}

static inline void section(const char *title)
{
    printf("-- %s\n", title);
    fflush(stdout);
}

// Deterministic bytes (xorshift), to fill files and memory with.
static inline uint32_t noise(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

// Waits until every other thread of this process sleeps, or is gone: whoever was started or woken before has gone as far as it
// can. On a busy host no fixed time is long enough for that. Gives up after ten seconds.
static inline void settle_threads(void)
{
    for (int tries = 0, quiet = 0; tries < 5000 && quiet < 3; tries++) {
        usleep(2000);
        DIR *tasks = opendir("/proc/self/task");
        bool awake = false;
        for (struct dirent *d; tasks && (d = readdir(tasks));) {
            char path[64], text[256];
            if (d->d_name[0] == '.' || atoi(d->d_name) == (int)syscall(SYS_gettid))
                continue;
            snprintf(path, sizeof path, "/proc/self/task/%d/stat", atoi(d->d_name));
            FILE *stat = fopen(path, "r");
            if (!stat)
                continue;
            const char *state = fgets(text, sizeof text, stat) ? strrchr(text, ')') : NULL;
            fclose(stat);
            if (state && !strchr("SZX", state[2]))
                awake = true;
        }
        if (tasks)
            closedir(tasks);
        quiet = awake ? 0 : quiet + 1;
    }
}
