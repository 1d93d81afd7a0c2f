/*
 * Images as something to check: those that `knarr build` takes and those that it has written.
 */
#pragma once

#include "tools/check/load.h"

/*
 * Whether the word names an image. If so, it is opened; *programs become those that it starts (its entrypoint, and the command that this
 * is given when that is a program, too), and its environment comes into files. Dies when it is damaged.
 */
bool check_image(const char *word, struct check_files *files, struct strings *programs);

/* Adds the paths of all programs in the root: ELF files that can be executed and are no libraries; each file once. */
void check_all(struct check_files *files, struct strings *programs);
