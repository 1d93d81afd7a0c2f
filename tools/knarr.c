/*
 * knarr: runs Linux programs in virtual machines of their own and packs what they need. Finds the command and leaves the rest to it.
 */
#include <stdio.h>
#include <string.h>

#include "tools/build.h"
#include "tools/check.h"
#include "tools/common.h"
#include "tools/machine/commands.h"
#include "tools/pack.h"
#include "tools/run.h"
#include "tools/ship/ship.h"

static const struct command {
    const char *name, *arguments, *about; /* about NULL: the heading of those that follow */
    int (*main)(int argc, char **argv);
} commands[] = {
    {"Images", NULL, NULL, NULL},
    {"build", "[OPTIONS] -o IMAGE SOURCE", "make an image that boots", build_main},
    {"check", "[OPTIONS] PROGRAM", "say whether Knarr can run a program", check_main},
    {"ship", "[OPTIONS] IMAGE REFERENCE", "put an image into a registry", ship_main},
    {"pull", "[OPTIONS] REFERENCE", "fetch one from there", pull_main},
    {"pack", "[OPTIONS] DIR|TAR", "write a root filesystem", pack_main},
    {"Machines", NULL, NULL, NULL},
    {"run", "[OPTIONS] PROGRAM|IMAGE [ARG...]", "run a Linux program, or an image", run_main},
    {"ps", "[-a]", "list them", ps_main},
    {"logs", "[-f] MACHINE", "what its program has written", logs_main},
    {"attach", "MACHINE", "connect with its program", attach_main},
    {"exec", "[OPTIONS] MACHINE PROGRAM...", "run another program in it", exec_main},
    {"stop", "[-t SECONDS] MACHINE...", "end them, with patience", stop_main},
    {"kill", "[-s SIGNAL] MACHINE...", "send a signal, or switch off", kill_main},
    {"wait", "MACHINE...", "wait for their ends", wait_main},
    {"rm", "[-f] MACHINE...", "forget those that have ended", rm_main},
    {"inspect", "MACHINE...", "all that is known of them", inspect_main},
    {"stats", "[MACHINE...]", "what they use of the host", stats_main},
};

static bool is(const char *word, const char *command) {
    return strcmp(word, command) == 0 || (strncmp(word, "--", 2) == 0 && strcmp(word + 2, command) == 0);
}

static int flush(void) { return fflush(stdout) == 0 ? 0 : STATUS_FAILED; }

static int print_usage(void) {
    printf("Usage: knarr COMMAND\n");
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        const struct command *c = &commands[i];
        if (!c->about)
            printf("\n%s\n", c->name);
        else
            printf("  %-8s%-35s%s\n", c->name, c->arguments, c->about);
    }
    printf("\n  version                                    print the version\n\nknarr COMMAND --help tells more.\n");
    return flush();
}

int main(int argc, char **argv) {
    if (argc < 2)
        die(STATUS_FAILED, "which command? (knarr help)");
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (commands[i].main && strcmp(argv[1], commands[i].name) == 0)
            return commands[i].main(argc - 1, argv + 1);
    }
    if (is(argv[1], "version")) {
        puts("knarr " KNARR_VERSION);
        return flush();
    }
    if (is(argv[1], "help"))
        return print_usage();
    die(STATUS_FAILED, "%s: no such command (knarr help)", argv[1]);
}
