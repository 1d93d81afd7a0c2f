/*
 * Looks at a program before a machine is started for it, so that the common mistakes get a clear line at once. The
 * kernel's loader remains the judge of everything deeper.
 */
#pragma once

#include "tools/common.h"

enum { ELF_HEAD = 64 << 10 }; /* so much of a file holds its headers; others are left to the kernel */

/*
 * Checks a program of which the first bytes are given: ELF_HEAD, or all when it is shorter. NULL when it looks runnable; else why
 * not. *interpreter becomes the allocated path of the dynamic linker that the program asks for, or NULL.
 */
const char *elf_check(char *head, size_t length, uint64_t size, char **interpreter);
