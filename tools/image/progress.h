/*
 * What is being done, on the terminal on stderr, while it takes long. Elsewhere, and when asked to be quiet, nothing.
 */
#pragma once

#include "tools/common.h"

void progress_start(bool quiet);

/* The next step. */
void progress_step(const char *fmt, ...) PRINTF(1, 2);

/* The step has so many bytes to go; so many more are done. */
void progress_goal(uint64_t bytes);
void progress_add(uint64_t bytes);

/* Takes the line away. */
void progress_end(void);
