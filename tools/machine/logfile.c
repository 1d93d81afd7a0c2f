/*
 * The writer of logs; see the header. Lines are put together per stream; each line is one write(2), so a reader sees whole ones.
 */
#include "tools/machine/logfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/machine/state.h"

struct logfile {
    int directory, fd;
    uint64_t size, most;
    bool failed;
    struct {
        size_t length;
        char text[LOG_LINE_MOST];
    } lines[2];                        /* not finished yet */
    char out[6 * LOG_LINE_MOST + 128]; /* a line as JSON, each byte six at most */
};

static int open_log(int directory) { return openat(directory, "log", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600); }

struct logfile *logfile_open(int directory, uint64_t most) {
    struct stat status;
    int fd = open_log(directory);

    if (fd < 0 || fstat(fd, &status) != 0)
        return NULL;
    struct logfile *log = xmalloc(sizeof(*log));
    log->directory = directory;
    log->fd = fd;
    log->size = (uint64_t)status.st_size;
    log->most = most;
    log->failed = false;
    log->lines[0].length = log->lines[1].length = 0;
    return log;
}

/* How many bytes at `at` are one character of UTF-8; 0: they are none. */
static size_t character(const unsigned char *at, size_t left) {
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t length = at[0] < 0x80                    ? 1
                    : at[0] >= 0xc2 && at[0] < 0xe0 ? 2
                    : (at[0] & 0xf0) == 0xe0        ? 3
                    : at[0] >= 0xf0 && at[0] < 0xf5 ? 4
                                                    : 0;

    if (length < 2)
        return length;
    if (length > left)
        return 0;
    uint32_t code = at[0] & (0xff >> (length + 1));
    for (size_t i = 1; i < length; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (at[i] & 0x3f);
    }
    bool surrogate = code >= 0xd800 && code < 0xe000;
    return code >= least[length] && code <= 0x10ffff && !surrogate ? length : 0;
}

/* The text between quotes of JSON; what is not UTF-8 becomes U+FFFD, as docker has it. */
static char *escape(char *out, const char *text, size_t size) {
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0, step; i < size; i += step) {
        const unsigned char *at = (const unsigned char *)text + i;
        size_t length = character(at, size - i);
        step = length ? length : 1;
        if (length == 0) {
            out = stpcpy(out, "\\ufffd");
        } else if (*at == '"' || *at == '\\') {
            *out++ = '\\';
            *out++ = (char)*at;
        } else if (*at == '\n') {
            out = stpcpy(out, "\\n");
        } else if (*at < ' ' || *at == 0x7f) {
            out = stpcpy(out, "\\u00");
            *out++ = digits[*at >> 4];
            *out++ = digits[*at & 15];
        } else {
            memcpy(out, at, length);
            out += length;
        }
    }
    return out;
}

/* The older file goes; readers that follow find the new one. */
static void rotate(struct logfile *log) {
    renameat(log->directory, "log", log->directory, "log.1");
    int fd = open_log(log->directory);
    if (fd < 0)
        return; /* the file goes on under its other name */
    close(log->fd);
    log->fd = fd;
    log->size = 0;
}

static void put_line(struct logfile *log, int stream, const char *text, size_t size) {
    char time[TIME_TEXT];

    time_text(time);
    char *end = escape(stpcpy(log->out, "{\"log\":\""), text, size);
    end = stpcpy(end, stream == 2 ? "\",\"stream\":\"stderr\",\"time\":\"" : "\",\"stream\":\"stdout\",\"time\":\"");
    end = stpcpy(stpcpy(end, time), "\"}\n");
    size_t length = (size_t)(end - log->out);
    if (log->most && log->size > 0 && log->size + length > log->most)
        rotate(log);
    if (write_all(log->fd, log->out, length)) {
        log->size += length;
    } else if (!log->failed) {
        log->failed = true;
        say("the log of the machine: %s", strerror(errno));
    }
}

void logfile_add(struct logfile *log, int stream, const void *data, size_t size) {
    const char *at = data, *end = at + size;
    __typeof__(&log->lines[0]) line = &log->lines[stream == 2];

    while (at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        size_t piece = (size_t)((newline ? newline + 1 : end) - at);
        if (piece > LOG_LINE_MOST - line->length)
            piece = LOG_LINE_MOST - line->length, newline = NULL;
        memcpy(line->text + line->length, at, piece);
        line->length += piece;
        at += piece;
        if (newline || line->length == LOG_LINE_MOST) {
            put_line(log, stream, line->text, line->length);
            line->length = 0;
        }
    }
}

void logfile_flush(struct logfile *log) {
    for (int stream = 1; stream <= 2; stream++) {
        if (log->lines[stream - 1].length)
            put_line(log, stream, log->lines[stream - 1].text, log->lines[stream - 1].length);
        log->lines[stream - 1].length = 0;
    }
}

void logfile_close(struct logfile *log) {
    logfile_flush(log);
    close(log->fd);
    free(log);
}
