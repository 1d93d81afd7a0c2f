/*
 * Output that gets its name when it is complete: without a name until then where the file system has that, with one of its own otherwise.
 */
#include "tools/output.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/common.h"

static char *unfinished; /* a name that must go when something fails */

static void remove_unfinished(void) {
    if (unfinished)
        unlink(unfinished);
}

static void end_by_signal(int number) {
    remove_unfinished();
    signal(number, SIG_DFL);
    raise(number);
}

int output_create(const char *output) {
    const char *slash = strrchr(output, '/');
    char *directory = slash ? xasprintf("%.*s", (int)(slash - output) + 1, output) : xstrdup(".");
    struct stat status;

    if (stat(output, &status) == 0 && !S_ISREG(status.st_mode))
        die(STATUS_FAILED, "%s: not a regular file", output);
    atexit(remove_unfinished);
    signal(SIGXFSZ, SIG_IGN); /* an error like others */
    for (const int *number = (const int[]){SIGHUP, SIGINT, SIGQUIT, SIGTERM, 0}; *number; number++) {
        if (signal(*number, end_by_signal) == SIG_IGN)
            signal(*number, SIG_IGN);
    }
    int fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0666);
    if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == ENOENT)) {
        mode_t mask = umask(0);
        umask(mask);
        unfinished = xasprintf("%s.XXXXXX", output);
        fd = mkostemp(unfinished, O_CLOEXEC);
        if (fd >= 0)
            fchmod(fd, 0666 & ~mask);
        else
            unfinished = NULL;
    }
    if (fd < 0)
        die(STATUS_FAILED, "%s: %s", output, strerror(errno));
    free(directory);
    return fd;
}

void output_finish(int fd, const char *output) {
    if (!unfinished) {
        char *self = xasprintf("/proc/self/fd/%d", fd);
        unfinished = xasprintf("%s.%ld", output, (long)getpid()); /* before the link: a signal may come in between */
        if (linkat(AT_FDCWD, self, AT_FDCWD, unfinished, AT_SYMLINK_FOLLOW) != 0)
            die(STATUS_FAILED, "%s: %s", unfinished, strerror(errno));
        free(self);
    }
    if (rename(unfinished, output) != 0 || close(fd) != 0)
        die(STATUS_FAILED, "%s: %s", output, strerror(errno));
    unfinished = NULL;
}
