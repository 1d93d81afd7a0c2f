/*
 * Which system calls the reached functions make: the number that each syscall instruction is given, found in the function itself or,
 * where the function has it from its callers, in those. The same for the arguments that choose among many calls in one (ioctl's
 * request, prctl's option, a socket's family, clone's flags).
 */
#pragma once

#include "tools/check/reach.h"

enum {
    NUMBERS = 512,
    NUMBER_DLOPEN = NUMBERS
}; /* calls are below NUMBERS; dlopen(3) counts as one more, with its file as option */

/* An example; level NONE: there is none. */
struct use {
    enum level level;
    struct function *function;
    uint64_t site;
};

/* An argument that was seen as a constant. */
struct option_use {
    unsigned number;
    int64_t value; /* of NUMBER_DLOPEN: the name's address in use.function's object */
    struct use use;
};

struct numbers {
    struct use calls[NUMBERS];
    struct option_use *options;
    size_t option_count;
    struct use *unknown; /* functions that make a call of which the number was not seen */
    size_t unknown_count;
    struct use beyond; /* a number that Linux does not have, for instance of the x32 ABI */
    int64_t beyond_number;
    struct use int80, sysenter;
};

/* Which argument (from 0) of a call is looked at, or -1. */
int option_argument(unsigned number);

void numbers_find(struct numbers *numbers, struct reach *reach);
void numbers_free(struct numbers *numbers);
