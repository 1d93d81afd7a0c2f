/*
 * What a check of one program found, and how it is said: as text for people or as JSON.
 */
#pragma once

#include "tools/check/table.h"

enum verdict { VERDICT_RUNS, VERDICT_DOUBTS, VERDICT_FAILS };

struct report {
    const char *program;     /* as it is named to the user */
    char *problem;           /* why it cannot be loaded at all, or NULL */
    char *script;            /* the interpreter's line when it is a script, or NULL */
    struct strings started;  /* words of the script that are programs */
    struct strings missing;  /* libraries that are not found */
    struct strings loaded;   /* libraries that it loads by itself: found and looked at */
    struct strings unloaded; /* the same, not found */
    bool loads_by_name;      /* it calls dlopen with names that are not seen */
    bool makes_code;         /* it maps memory as code: what runs there is not seen */
    struct reach reach;
    struct numbers numbers;
    double seconds;
};

enum verdict report_verdict(struct report *report);
void report_print(struct report *report, bool verbose);
void report_json(struct report *report, bool first);
