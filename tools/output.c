/*
 * Output that gets its name when it is complete: without a name until then where the file system has that, with one of its own otherwise.
 */
#include "tools/output.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/common.h"

static char *unfinished;      /* a name that must go when something fails */
static int directory_fd = -1; /* it is a directory's */

static const char *const parts[] = {OUTPUT_PARTS, NULL};

/* As a signal's handler may do it. */
static void remove_parts(int fd, const char *path) {
    for (const char *const *part = parts; *part; part++)
        unlinkat(fd, *part, 0);
    rmdir(path);
}

static void remove_unfinished(void) {
    if (unfinished && directory_fd >= 0)
        remove_parts(directory_fd, unfinished);
    else if (unfinished)
        unlink(unfinished);
}

static void end_by_signal(int number) {
    remove_unfinished();
    signal(number, SIG_DFL);
    raise(number);
}

static void set_handlers(void) {
    atexit(remove_unfinished);
    signal(SIGXFSZ, SIG_IGN); /* an error like others */
    for (const int *number = (const int[]){SIGHUP, SIGINT, SIGQUIT, SIGTERM, 0}; *number; number++) {
        if (signal(*number, end_by_signal) == SIG_IGN)
            signal(*number, SIG_IGN);
    }
}

int output_create(const char *output) {
    const char *slash = strrchr(output, '/');
    char *directory = slash ? xasprintf("%.*s", (int)(slash - output) + 1, output) : xstrdup(".");
    struct stat status;

    if (stat(output, &status) == 0 && !S_ISREG(status.st_mode))
        die(STATUS_FAILED, "%s: not a regular file", output);
    set_handlers();
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
    if (fsync(fd) != 0)
        die(STATUS_FAILED, "%s: %s", output, strerror(errno));
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

/* Only what this made earlier is ever replaced: a directory with nothing in it but the parts. */
static bool is_replaceable(const char *output) {
    DIR *stream = opendir(output);
    struct dirent *entry;
    bool ours = stream != NULL;

    while (stream && (entry = readdir(stream))) {
        const char *const *part = parts;
        while (*part && strcmp(*part, entry->d_name) != 0)
            part++;
        ours &= *part || strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
    }
    if (stream)
        closedir(stream);
    return ours;
}

int output_create_directory(const char *output) {
    mode_t mask = umask(0);
    struct stat status;

    umask(mask);
    if (lstat(output, &status) == 0 && !is_replaceable(output))
        die(STATUS_FAILED, "%s: it is there already, and not such a directory", output);
    set_handlers();
    char *path = xasprintf("%s.XXXXXX", output);
    if (!mkdtemp(path))
        die(STATUS_FAILED, "%s: %s", path, strerror(errno));
    unfinished = path;
    directory_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory_fd < 0 || fchmod(directory_fd, 0777 & ~mask) != 0)
        die(STATUS_FAILED, "%s: %s", path, strerror(errno));
    return directory_fd;
}

void output_finish_directory(int fd, const char *output) {
    bool renamed = fsync(fd) == 0 && rename(unfinished, output) == 0;

    if (!renamed && (errno == ENOTEMPTY || errno == EEXIST) &&
        renameat2(AT_FDCWD, unfinished, AT_FDCWD, output, RENAME_EXCHANGE) == 0) {
        renamed = true;
        directory_fd = open(unfinished, O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* now the old one */
        remove_parts(directory_fd, unfinished);
    }
    if (!renamed)
        die(STATUS_FAILED, "%s: %s", output, strerror(errno));
    unfinished = NULL;
    close(fd);
}
