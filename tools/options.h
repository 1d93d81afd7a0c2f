/*
 * The options of `knarr run`: parsed here, used by everything else of the host program.
 */
#pragma once

#include "tools/mounts.h"
#include "tools/network.h"

enum accel { ACCEL_AUTO, ACCEL_KVM, ACCEL_TCG };
enum machine { MACHINE_MICROVM, MACHINE_Q35 };

struct run_options {
    uint64_t memory; /* bytes */
    unsigned cpus;
    enum accel accel;
    enum machine machine;
    bool machine_given;
    const char *root; /* NULL: an empty root filesystem */
    bool read_only;
    struct mounts mounts;
    struct network network;
    struct strings environment; /* the guest's, complete */
    const char *directory;      /* the working directory, absolute */
    const char *hostname;
    const char *kernel;
    struct strings kernel_args;
    struct strings qemu_args;
    const char *save_initrd;
    const char *gdb; /* the port of gdb's stub, or NULL */
    int verbose;
    bool terminal; /* -t: the program gets a terminal whatever knarr has */
    bool trace, stats, missing_files;
    bool dry_run;
    char **argv; /* the program and its arguments, NULL at the end */
};

/* Parses what follows `knarr run`; argv[0] is "run". Wrong options and --help end the program. */
void options_parse(struct run_options *options, int argc, char **argv);

/* A size as docker takes it: 64M, 1g, 4096 (bytes), 1.5G. False when it is not one. */
bool parse_size(const char *text, uint64_t *bytes);
