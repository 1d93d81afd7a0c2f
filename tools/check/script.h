/*
 * Scripts: who reads them, and which programs they seem to start.
 */
#pragma once

#include "tools/check/load.h"

/* The interpreter of a file that begins with #!, behind an env(1) the program that this starts; NULL when it is no script. Allocated. */
char *script_interpreter(const char *text, size_t size);

/* Adds the words of a script that are programs along PATH, each once, a few dozen at most: a hint, no more. */
void script_words(struct check_files *files, const char *text, size_t size, struct strings *words);
