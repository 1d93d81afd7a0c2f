/*
 * Relays between the program in the guest and knarr's own stdin, stdout, stderr and signals, until the program ends.
 */
#pragma once

#include "tools/options.h"
#include "tools/qemu.h"

struct relay_options {
    bool raw;      /* stdin is a terminal in raw mode: watch for the escape, follow its size */
    bool has_in;   /* false: the guest expects no input */
    bool show_log; /* the kernel's log goes to stderr as it comes */
    bool remote;   /* the console is a machine's monitor (docs/machines.md): to leave is not its end */
    bool windowed; /* output comes as far as it was granted */
};

/* Installs the signal handlers; before qemu_start(), so that no signal is lost. */
void relay_signals(void);

/* Until the end. Returns knarr's exit status; what went wrong has been said. QEMU, where there is one, has been stopped. */
int relay_run(struct qemu *qemu, const struct relay_options *options);
