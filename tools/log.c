/*
 * Collects the log; see the header.
 */
#include "tools/log.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "tools/common.h"

enum { LINES_LAST = 40 };

/* Prints text; in raw mode a line feed needs its carriage return. */
static void print(const char *text, size_t length) {
    while (stderr_is_raw && length > 0) {
        const char *feed = memchr(text, '\n', length);
        if (!feed)
            break;
        write_all(STDERR_FILENO, text, (size_t)(feed - text));
        write_all(STDERR_FILENO, "\r\n", 2);
        length -= (size_t)(feed + 1 - text);
        text = feed + 1;
    }
    write_all(STDERR_FILENO, text, length);
}

static void keep(struct log *log, const char *text, size_t length) {
    if (length >= LOG_KEPT) {
        text += length - LOG_KEPT / 2;
        length = LOG_KEPT / 2;
        log->length = 0;
    } else if (log->length + length > LOG_KEPT) {
        size_t stay = LOG_KEPT / 2 < LOG_KEPT - length ? LOG_KEPT / 2 : LOG_KEPT - length;
        stay = stay < log->length ? stay : log->length;
        memmove(log->kept, log->kept + log->length - stay, stay);
        log->length = stay;
    }
    memcpy(log->kept + log->length, text, length);
    log->length += length;
}

/* Prints the whole lines of what is kept: the program's own messages come between lines, not in their midst. */
static void print_lines(struct log *log) {
    const char *feed = memrchr(log->kept, '\n', log->length);
    size_t whole = feed ? (size_t)(feed + 1 - log->kept) : 0;

    if (log->length >= LOG_KEPT / 2)
        whole = log->length;
    print(log->kept, whole);
    log->length -= whole;
    memmove(log->kept, log->kept + whole, log->length);
}

bool log_read(struct log *log, int fd) {
    char buffer[4096];

    /* Not without end: the program's output must not wait for a log that never pauses. */
    for (int i = 0; i < 64; i++) {
        ssize_t got = read(fd, buffer, sizeof(buffer));
        if (got == 0)
            return false;
        if (got < 0)
            return errno == EAGAIN || errno == EINTR;
        keep(log, buffer, (size_t)got);
        if (log->show)
            print_lines(log);
    }
    return true;
}

void log_finish(const struct log *log) {
    size_t start = log->show ? 0 : log->length;
    int lines = 0;

    while (log->failed && start > 0 && (log->kept[start - 1] != '\n' || lines < LINES_LAST)) {
        lines += log->kept[start - 1] == '\n';
        start--;
    }
    print(log->kept + start, log->length - start);
    if (log->length > start && log->kept[log->length - 1] != '\n')
        print("\n", 1);
}
