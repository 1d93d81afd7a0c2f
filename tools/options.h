/*
 * The options of `knarr run`: parsed here, used by everything else of the host program.
 */
#pragma once

#include "tools/mounts.h"
#include "tools/network.h"

enum restart { RESTART_NO, RESTART_ON_FAILURE, RESTART_ALWAYS, RESTART_UNLESS_STOPPED };
enum accel { ACCEL_AUTO, ACCEL_KVM, ACCEL_TCG };
enum machine_kind { MACHINE_MICROVM, MACHINE_Q35 };

/* As docker has it. */
#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

struct run_options {
    uint64_t memory; /* bytes; 0 until options_complete(): not given, and so are the next ones */
    unsigned cpus;
    enum accel accel;
    enum machine_kind machine;
    bool machine_given;
    const char *root; /* NULL: an empty root filesystem */
    bool read_only;
    struct mounts mounts;
    struct network network;
    struct strings settings;    /* of -e and --env-file */
    struct strings environment; /* the guest's, complete */
    const char *directory;      /* the working directory, absolute */
    const char *hostname;
    const char *entrypoint; /* --entrypoint, for images */
    const char *user;       /* -u, or the image's; NULL: root */
    const char *user_ids;   /* whom that means: the record user=, or NULL */
    bool is_image;          /* root is an image of knarr build */
    const char *kernel;
    struct strings kernel_args;
    struct strings qemu_args;
    const char *save_initrd;
    const char *gdb; /* the port of gdb's stub, or NULL */
    int verbose;
    bool terminal; /* -t: the program gets a terminal whatever knarr has */
    bool trace, stats, missing_files;
    bool dry_run;
    /* Of machines that have a monitor (tools/machine/launch.h). */
    bool detach;      /* -d */
    bool interactive; /* -i: the input is connected though nobody is there yet */
    bool remove;      /* nothing is left behind at the end */
    const char *name;
    struct strings labels;
    enum restart restart;
    unsigned restart_most;
    int stop_signal; /* 0: SIGTERM, or what the image says */
    unsigned stop_timeout;
    uint64_t log_size;
    char **argv; /* the program and its arguments, NULL at the end */
};

/* Parses what follows `knarr run`; argv[0] is "run". Wrong options and --help end the program. argv may be empty then. */
void options_parse(struct run_options *options, int argc, char **argv);

/* What was not given becomes the default; the environment is that of every container, the image's (or none), and the options'. */
void options_complete(struct run_options *options, const struct strings *image_environment, const char *home);

/* A size as docker takes it: 64M, 1g, 4096 (bytes), 1.5G. False when it is not one. */
bool parse_size(const char *text, uint64_t *bytes);

/* Values of options; what makes no sense ends the program. */
uint64_t parse_memory(const char *text);
unsigned parse_cpus(const char *text);
unsigned parse_seconds(const char *option, const char *text);
/* K=V, or K for the host's value, into a list of settings. */
void environment_add(struct strings *environment, const char *setting);

/* The kernel when none is named: $KNARR_KERNEL, or knarr.elf beside the program or where it is installed. */
const char *default_kernel(void);
