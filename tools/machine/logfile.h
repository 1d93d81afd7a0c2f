/*
 * What a machine's program has written, kept as docker's json-file driver does: a line of JSON for each line,
 * {"log":"text\n","stream":"stdout","time":"..."}. A file that has become too large becomes log.1, in place of the former.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LOG_LINE_MOST = 16 << 10 }; /* longer lines go in pieces, without the newline, as docker's */

struct logfile;

/* Goes on with the log in a machine's directory. most: bytes of a file, 0: unbounded. NULL with errno. */
struct logfile *logfile_open(int directory, uint64_t most);

/* Adds what was written on a stream (1: stdout, 2: stderr). What cannot be written is lost; said once on stderr. */
void logfile_add(struct logfile *log, int stream, const void *data, size_t size);

/* Writes unfinished lines: the program has ended. */
void logfile_flush(struct logfile *log);
void logfile_close(struct logfile *log);

/*
 * A log that is read: line by line from the oldest. `stream` is 1 or 2; text may have NUL bytes. The strings are valid until the next call.
 */
struct logreader;
struct logline {
    int stream;
    const char *text, *time;
    size_t size;
};
struct logreader *logreader_open(int directory);
/* 1: a line, 0: none yet, later perhaps, -1: what is there is no log. Follows the log into its next file. */
int logreader_next(struct logreader *reader, struct logline *line);
void logreader_close(struct logreader *reader);
