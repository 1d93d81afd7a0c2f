/*
 * How far long work has come, on one line of a terminal on stderr: nothing where that is no terminal, was asked to be quiet, or the work is
 * over within half a second.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

extern bool progress_quiet;

/* Begins a piece of work of so many bytes (0: unknown). The text is kept, not copied. */
void progress_begin(const char *what, uint64_t total);
void progress_at(uint64_t done);
void progress_end(void); /* the line goes */
