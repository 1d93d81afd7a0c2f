/*
 * Other programs that an image is made with, and directories for what they write.
 */
#pragma once

#include "tools/common.h"

/* What is special about a program that is run. */
struct command {
    struct strings words; /* words.item[0] is looked for along PATH */
    const char *package;  /* Debian's, for the message when there is no such program */
    bool shown; /* what it prints is for the person; otherwise its last line becomes the message when it fails */
};

/*
 * Runs it to its end; it ends with this process, too. Descriptors without close-on-exec are its own, as /proc/self/fd/N. Dies with one line
 * when it fails. Frees the words.
 */
void command_run(struct command *command);

/*
 * A new directory that is removed with all in it when this process has ended, however that happens. In $TMPDIR or /var/tmp.
 */
const char *temporary_directory(void);

/* The descriptor's name for such a program, allocated; it gets a copy without close-on-exec. */
char *inherited_path(int fd);

/* An unnamed file in memory with these bytes, inherited by other programs. */
int memory_file(const void *data, size_t size);
