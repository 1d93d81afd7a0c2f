/*
 * What the machine says beside the program's output: the kernel's log from the serial port and QEMU's own messages. The
 * last of it is kept, to be printed when Knarr fails.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum { LOG_KEPT = 16 << 10 };

struct log {
    bool show;     /* print on stderr line by line as it comes */
    bool failed;   /* Knarr failed: what was kept is of interest */
    size_t length; /* of the kept text */
    char kept[LOG_KEPT];
};

/* Reads what there is from a non-blocking descriptor. False at its end. */
bool log_read(struct log *log, int fd);

/* At the end: prints a last line without its end, or, when Knarr failed, the last lines unless they were printed already. */
void log_finish(const struct log *log);
