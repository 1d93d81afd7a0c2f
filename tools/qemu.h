/*
 * QEMU: its command line for a guest, and the process.
 */
#pragma once

#include <sys/types.h>

#include "tools/options.h"

/* A running machine: what knarr holds of it. A descriptor that was closed is -1. */
struct qemu {
    pid_t pid;
    int console; /* the virtio console: a socket */
    int log;     /* the serial port: a socket */
    int errors;  /* what QEMU itself says: a pipe */
};

/* What differs between a run, a probe and --dry-run. */
struct qemu_setup {
    const struct run_options *options;
    enum accel accel;       /* not ACCEL_AUTO */
    const char *initrd;     /* a path, or NULL */
    const char *root;       /* the image that is the first disk, or NULL */
    const char *append;     /* the kernel's command line */
    int console_fd, log_fd; /* QEMU's ends of the sockets; -1: plain stdin, stdout and stderr */
};

/* QEMU's program: $KNARR_QEMU, or qemu-system-x86_64 along PATH. Dies when there is none. */
const char *qemu_program(void);

/* The command, allocated. */
struct strings qemu_command(const struct qemu_setup *setup);

/* Starts QEMU with its ends of the sockets filled into setup. It is killed when knarr ends, however that happens. */
struct qemu qemu_start(struct qemu_setup *setup);

/* Ends QEMU at once, if it still runs. Returns its wait status. */
int qemu_stop(struct qemu *qemu);
