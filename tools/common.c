/*
 * Messages, memory and lists of strings for the host program; see the header.
 */
#include "tools/common.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

bool stderr_is_raw;

PRINTF(1, 0)
static void say_va(const char *fmt, va_list args) {
    char *text;
    char *line;
    const char *end = stderr_is_raw ? "\r\n" : "\n";

    if (vasprintf(&text, fmt, args) < 0)
        return;
    if (asprintf(&line, "knarr: %s%s", text, end) >= 0) {
        write_all(STDERR_FILENO, line, strlen(line)); /* one write: lines of several processes do not mix */
        free(line);
    }
    free(text);
}

void say(const char *fmt, ...) {
    va_list args;

    va_start(args, fmt);
    say_va(fmt, args);
    va_end(args);
}

void die(int status, const char *fmt, ...) {
    va_list args;

    va_start(args, fmt);
    say_va(fmt, args);
    va_end(args);
    exit(status);
}

void *xmalloc(size_t size) { return xrealloc(NULL, size); }

void *xrealloc(void *old, size_t size) {
    void *memory = realloc(old, size ? size : 1);

    if (!memory)
        die(STATUS_FAILED, "out of memory");
    return memory;
}

char *xstrdup(const char *text) { return strcpy(xmalloc(strlen(text) + 1), text); }

static char *xvasprintf(const char *fmt, va_list args) {
    char *text;

    if (vasprintf(&text, fmt, args) < 0)
        die(STATUS_FAILED, "out of memory");
    return text;
}

char *xasprintf(const char *fmt, ...) {
    va_list args;

    va_start(args, fmt);
    char *text = xvasprintf(fmt, args);
    va_end(args);
    return text;
}

void strings_add(struct strings *list, const char *fmt, ...) {
    va_list args;

    va_start(args, fmt);
    char *text = xvasprintf(fmt, args);
    va_end(args);
    list->item = xrealloc(list->item, (list->count + 2) * sizeof(*list->item));
    list->item[list->count++] = text;
    list->item[list->count] = NULL;
}

void strings_free(struct strings *list) {
    for (size_t i = 0; i < list->count; i++)
        free(list->item[i]);
    free(list->item);
    *list = (struct strings){0};
}

void environment_set(struct strings *environment, const char *setting) {
    size_t name = strcspn(setting, "=") + 1;

    for (size_t i = 0; i < environment->count; i++) {
        if (strncmp(environment->item[i], setting, name) == 0) {
            free(environment->item[i]);
            environment->item[i] = xstrdup(setting);
            return;
        }
    }
    strings_add(environment, "%s", setting);
}

const char *environment_get(const struct strings *environment, const char *name) {
    size_t length = strlen(name);

    for (size_t i = 0; i < environment->count; i++) {
        const char *setting = environment->item[i];
        if (strncmp(setting, name, length) == 0 && setting[length] == '=')
            return setting + length + 1;
    }
    return NULL;
}

char *shell_quote(const char *word) {
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-";

    if (*word != '\0' && strspn(word, plain) == strlen(word))
        return xstrdup(word);

    /* In single quotes; each quote inside leaves them, is escaped, and enters them again. */
    char *quoted = xmalloc(4 * strlen(word) + 3);
    char *out = quoted;
    *out++ = '\'';
    for (; *word != '\0'; word++) {
        if (*word == '\'')
            out = stpcpy(out, "'\\''");
        else
            *out++ = *word;
    }
    *out++ = '\'';
    *out = '\0';
    return quoted;
}

char *path_normalize(const char *path) {
    char *clean = xmalloc(strlen(path) + 1);
    char *out = clean;

    while (*path != '\0') {
        size_t length = strcspn(path, "/");
        if (length == 2 && memcmp(path, "..", 2) == 0) {
            free(clean);
            return NULL;
        }
        if (length > 0 && (length != 1 || *path != '.')) {
            if (out != clean)
                *out++ = '/';
            memcpy(out, path, length);
            out += length;
        }
        path += length;
        path += *path == '/';
    }
    *out = '\0';
    return clean;
}

int temporary_file(void) {
    const char *chosen = getenv("TMPDIR");
    const char *const places[] = {chosen && *chosen ? chosen : "/var/tmp", "/var/tmp", "/tmp"};

    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        int fd = open(places[i], O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        if (fd >= 0)
            return fd;
        char *name = xasprintf("%s/knarr-XXXXXX", places[i]); /* not all file systems have files without a name */
        fd = mkostemp(name, O_CLOEXEC);
        if (fd >= 0)
            unlink(name);
        free(name);
        if (fd >= 0)
            return fd;
    }
    int fd = memfd_create("knarr", MFD_CLOEXEC);
    if (fd < 0)
        die(STATUS_FAILED, "a temporary file: %s", strerror(errno));
    return fd;
}

bool write_all(int fd, const void *data, size_t size) {
    const char *next = data;

    while (size > 0) {
        ssize_t done = write(fd, next, size);
        if (done >= 0) {
            next += done;
            size -= (size_t)done;
        } else if (errno == EAGAIN) {
            poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, -1);
        } else if (errno != EINTR) {
            return false;
        }
    }
    return true;
}

int64_t now_ms(void) {
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

void close_fd(int *fd) {
    close(*fd);
    *fd = -1;
}
