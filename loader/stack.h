// The initial stack of a program: strings, random bytes, auxiliary vector, environment, arguments, in Linux's layout.
#ifndef LOADER_STACK_H
#define LOADER_STACK_H

#include "loader/loader.h"

struct aspace;

#define STACK_MAX_STRING 131072UL // of one argument or variable, with its NUL (MAX_ARG_STRLEN)
#define AUXV_MAX 24               // entries, with AT_NULL

struct auxv_entry {
    uint64_t type, value;
};

struct stack_params {
    uaddr_t top;                   // of the stack's mapping, page-aligned
    unsigned jitter;               // random bytes left free between the strings and the rest: less than 8192
    uint8_t random[16];            // AT_RANDOM
    const char *exec_name;         // AT_EXECFN
    char **argv, **envp;           // NULL-terminated
    uint64_t arg_bytes, env_bytes; // of their strings, with the NULs: filled in by stack_measure
    unsigned argc, envc;           // likewise
    // In order, without AT_RANDOM, AT_EXECFN, AT_PLATFORM and AT_NULL, whose values only stack_build knows: entries of
    // the first three types are filled in where they stand, AT_NULL is added.
    struct auxv_entry auxv[AUXV_MAX];
    unsigned auxv_count;
};

uint64_t stack_argument_limit(uint64_t stack_limit); // bytes of strings and pointers to them
// Counts and measures arguments and environment. 0, or -E2BIG when they break Linux's limits (execve(2)); `stack_limit`:
// RLIMIT_STACK.
int stack_measure(struct stack_params *p, uint64_t stack_limit);
uint64_t stack_size(const struct stack_params *p); // bytes of whole pages that it will take at most
// Writes it all, measured, below p->top, into mapped stack; records the places in `as` (arg_start...). The stack pointer in *sp.
// 0, -E2BIG (does not fit into `size` bytes), -ENOMEM.
int stack_build(struct aspace *as, struct stack_params *p, uint64_t size, uaddr_t *sp);

#endif
