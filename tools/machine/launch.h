/*
 * `knarr run` of a machine that others can find: a monitor of its own runs it, and knarr stays as its first client or leaves (-d).
 */
#pragma once

#include "tools/options.h"
#include "tools/qemu.h"

struct launch {
    const struct run_options *options;
    struct qemu_setup *setup;
    char *(*command_line)(const struct run_options *options); /* the kernel's, made anew for each start */
    bool raw, has_in;                                         /* as in struct relay_options */
    bool input_ends;                                          /* the program's input ends with its first client's */
    bool show_log;
};

/* Whether these options ask for it: -d, --name, --restart, or an image of knarr build. */
bool launch_is_wanted(const struct run_options *options);

/* Returns knarr's exit status. */
int launch(const struct launch *launch);
