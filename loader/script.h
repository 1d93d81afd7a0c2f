// The first line of #! scripts.
#ifndef LOADER_SCRIPT_H
#define LOADER_SCRIPT_H

#include "kernel/types.h"

#define SCRIPT_LINE_MAX 256 // bytes of a file that are looked at, as Linux
#define SCRIPT_MAX_DEPTH 5  // scripts whose interpreters are scripts; one more is -ELOOP

// `line` holds the first bytes of the file, filled up with NULs. Cuts it into strings in place: the interpreter, and its
// argument or NULL. False: not a script, no interpreter named, or a name too long to be sure of.
bool script_parse(char line[SCRIPT_LINE_MAX], char **interpreter, char **argument);

#endif
