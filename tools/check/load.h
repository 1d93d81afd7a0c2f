/*
 * Where a check has its files from, and how a program with all its libraries is looked at.
 */
#pragma once

#include "tools/check/report.h"
#include "tools/root.h"

struct check_files {
    const struct erofs_image *root; /* NULL: the host */
    struct strings environment;     /* PATH, LD_LIBRARY_PATH */
    struct strings also;            /* plug-ins that the program may load */
    struct opened {                 /* of a root: one descriptor a file */
        uint64_t nid;
        int fd;
    } * opened;
    size_t opened_count;
};

/* A descriptor, or -1 with errno. `files` is a struct check_files. */
int check_open(void *files, const char *path);

/* The path of a program: with a slash as it is, else along PATH. NULL when there is none. Allocated. */
char *check_find(struct check_files *files, const char *program);

/* All bytes of a regular file, or NULL with errno. */
uint8_t *check_read(struct check_files *files, const char *path, size_t *size);

/* Looks at the program at that path and fills the report in. */
void check_program(struct check_files *files, const char *path, struct report *report);
void check_free(struct report *report);
