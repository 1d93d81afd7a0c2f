/*
 * The process that a machine belongs to: it owns QEMU, keeps the log and the state, and serves clients over the machine's socket until
 * the machine is no more (docs/machines.md).
 */
#pragma once

#include "tools/machine/state.h"
#include "tools/qemu.h"

struct monitor_setup {
    struct machine *machine;         /* locked by this process; monitor_run() closes it */
    struct qemu (*start)(void *arg); /* starts the guest, each time anew */
    void *arg;
    int stop_signal;
    enum restart restart;
    unsigned restart_most; /* of RESTART_ON_FAILURE: so many times; 0: without end */
    bool remove;           /* nothing is left behind */
    bool show_log;         /* the kernel's log goes to stderr as it comes */
    bool input_ends;       /* the program's input ends when the client in the foreground goes */
    uint64_t log_most;     /* bytes of a file of the log; 0: unbounded */
    int foreground;        /* the socket of a client that is attached from the beginning, with input; -1: none */
    int ready; /* a pipe: gets a byte when the program runs, or a byte and then the exit status; -1: nobody asks */
};

/* What clients say; the rest are frames of tools/frame.h. All of them of session 0. */
enum {
    CLIENT_ATTACH = 'a',  /* u8: 1 with input. From then on the program's frames come */
    CLIENT_RECORDS = 'x', /* of a session; an empty one starts it. Then the session's frames */
    CLIENT_STOP = 's',    /* u32 seconds of patience. Answered with the exit frame */
    CLIENT_KILL = 'k',    /* u8 signal. Answered with the same */
    CLIENT_WAIT = 'w',    /* answered with the exit frame */
    CLIENT_STATS = 't',   /* answered with one and lines KEY=VALUE */
};

/* Until the end. Returns the exit status; the state says it, too. */
int monitor_run(const struct monitor_setup *setup);
