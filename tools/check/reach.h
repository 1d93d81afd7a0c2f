/*
 * Which functions of a program and its libraries can be reached: from the program's entry, from what the dynamic linker calls, along
 * calls, jumps and the relocations of imported functions. A function whose address is taken by something reached, or by data, may be
 * reached: who calls it through a pointer is not seen.
 */
#pragma once

#include "tools/check/flow.h"

enum level { LEVEL_NONE, LEVEL_MAY, LEVEL_SURE };

struct function;

struct call {
    struct call *next;
    struct function *from;
    uint64_t site;
};

struct trap { /* an instruction that enters the kernel */
    struct trap *next;
    uint64_t site;
    uint8_t op;
};

struct function {
    struct function *same_bucket, *next_reached;
    struct object *object;
    uint64_t start, end, limit; /* end 0: not known, not behind limit */
    const char *name;           /* NULL: none */
    enum level level;
    bool is_thunk;           /* only a jump to an imported function */
    bool returns_functions;  /* a resolver of an indirect function */
    bool taken;              /* its address is */
    bool inside;             /* begins inside another */
    bool returns;            /* or leads elsewhere; known when it was looked at */
    struct function *parent; /* how it was reached first, NULL: from outside */
    uint64_t site;
    struct call *calls; /* by whom it is called */
    struct trap *traps;
    uint64_t *entries; /* where others jump into it */
    size_t entry_count;
};

struct reach {
    struct object **objects; /* in the order in which the dynamic linker looks symbols up */
    size_t object_count;
    struct function **buckets;
    size_t bucket_count, function_count;
    struct function *first, *last; /* all reached ones */
    struct function **sure, **may; /* still to be looked at */
    size_t sure_count, may_count;
    uint64_t budget; /* bytes of code that may still be decoded */
    bool gave_up;    /* the budget was used up */
};

/* Adds an object (not copied). All are added before the first is entered. */
void reach_add(struct reach *reach, struct object *object);

/* The function at an address of the object's code; NULL when there is none. */
struct function *reach_function(struct reach *reach, struct object *object, uint64_t address);

/* The functions of that name that a program calls: those of the first object that has it. Returns how many, at most `most`. */
size_t reach_resolve(struct reach *reach, const char *name, struct function **found, size_t most);

/* What an object calls when it is loaded, and the functions of its data. program: its entry, too. all: every exported function, maybe. */
void reach_enter(struct reach *reach, struct object *object, bool program, bool all);

/* Follows everything that is reached until nothing is new. */
void reach_run(struct reach *reach);
void reach_free(struct reach *reach);

/* A name for people: the symbol, or the address. Allocated. */
char *function_name(const struct function *function);
