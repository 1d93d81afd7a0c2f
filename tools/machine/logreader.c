/*
 * The reader of logs; see logfile.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/machine/logfile.h"
#include "tools/machine/state.h"

struct logreader {
    int directory;
    FILE *file; /* NULL: none yet */
    char *line;
    size_t room, length; /* of a line that is not whole yet */
    json_t *json;
};

static FILE *open_file(int directory, const char *name) {
    int fd = openat(directory, name, O_RDONLY | O_CLOEXEC);

    return fd < 0 ? NULL : fdopen(fd, "r");
}

struct logreader *logreader_open(int directory) {
    struct logreader *reader = xmalloc(sizeof(*reader));

    *reader = (struct logreader){.directory = directory, .file = open_file(directory, "log.1")};
    if (!reader->file)
        reader->file = open_file(directory, "log");
    return reader;
}

/* Whether the file that is read is still the newest; if not, goes on to that. */
static bool next_file(struct logreader *reader) {
    struct stat own, newest;

    if (reader->file &&
        (fstatat(reader->directory, "log", &newest, 0) != 0 ||
         (fstat(fileno(reader->file), &own) == 0 && own.st_ino == newest.st_ino && own.st_dev == newest.st_dev)))
        return false;
    FILE *file = open_file(reader->directory, "log");
    if (!file)
        return false;
    if (reader->file)
        fclose(reader->file);
    reader->file = file;
    reader->length = 0;
    return true;
}

/* A whole line, or false: later perhaps. */
static bool read_line(struct logreader *reader) {
    while (reader->file) {
        int c = getc(reader->file);
        if (c == EOF) {
            clearerr(reader->file);
            return false;
        }
        if (reader->length + 1 >= reader->room)
            reader->line = xrealloc(reader->line, reader->room = 2 * reader->room + 256);
        if (c == '\n') {
            reader->line[reader->length] = '\0';
            return true;
        }
        reader->line[reader->length++] = (char)c;
    }
    return false;
}

int logreader_next(struct logreader *reader, struct logline *line) {
    while (!read_line(reader)) {
        if (!next_file(reader))
            return 0;
    }
    json_decref(reader->json);
    reader->json = json_loadb(reader->line, reader->length, JSON_ALLOW_NUL, NULL);
    reader->length = 0;
    const json_t *text = json_object_get(reader->json, "log");
    const char *stream = json_text(reader->json, "stream"), *time = json_text(reader->json, "time");
    if (!json_is_string(text) || !stream || !time)
        return -1;
    *line = (struct logline){
        .stream = strcmp(stream, "stderr") == 0 ? 2 : 1,
        .text = json_string_value(text),
        .size = json_string_length(text),
        .time = time,
    };
    return 1;
}

void logreader_close(struct logreader *reader) {
    if (reader->file)
        fclose(reader->file);
    json_decref(reader->json);
    free(reader->line);
    free(reader);
}
