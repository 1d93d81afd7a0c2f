/*
 * The terminal that knarr is started in: raw mode while a program uses it, and back to what it was on every way out.
 */
#pragma once

#include <stdbool.h>

/* Puts the terminal on stdin into raw mode, now and until the end of knarr. False when it is none. */
bool terminal_raw(void);

/* Back to the former mode; terminal_raw() again is possible. Safe in a signal handler. */
void terminal_restore(void);

/* The size of the terminal on that descriptor; false when it is unknown. */
bool terminal_size(int fd, unsigned *rows, unsigned *columns);
