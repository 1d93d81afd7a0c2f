/*
 * Looks at a program before a machine is started for it, so that the common mistakes get a clear line at once. The
 * kernel's loader remains the judge of everything deeper.
 */
#pragma once

#include "tools/common.h"

/*
 * Checks the program in fd (size bytes from offset, as in an archive). NULL when it looks runnable; else why not.
 * *interpreter becomes the allocated path of the dynamic linker that the program asks for, or NULL.
 */
const char *elf_check(int fd, uint64_t offset, uint64_t size, char **interpreter);
