/*
 * What the machine says beside the program's output: the kernel's log from the serial port and QEMU's own messages. The
 * last of it is kept, to be printed when Knarr fails.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum { LOG_KEPT = 16 << 10 };

struct log {
    bool show;     /* print on stderr as it comes */
    bool failed;   /* Knarr failed: what was kept is of interest */
    size_t length; /* of the kept text */
    char kept[LOG_KEPT];
};

/* Reads what there is from a non-blocking descriptor. False at its end. */
bool log_read(struct log *log, int fd);

/* Prints the last lines on stderr, unless they were printed as they came. */
void log_print_last(const struct log *log);
