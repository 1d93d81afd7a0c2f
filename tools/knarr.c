/*
 * knarr: runs Linux programs in virtual machines of their own and packs what they need. Finds the command and leaves the rest to it.
 */
#include <stdio.h>
#include <string.h>

#include "tools/build.h"
#include "tools/check.h"
#include "tools/common.h"
#include "tools/pack.h"
#include "tools/run.h"
#include "tools/ship/ship.h"

static const char usage[] = "Usage: knarr COMMAND\n"
                            "\n"
                            "  run [OPTIONS] PROGRAM [ARG...]    run a Linux program, or an image (knarr run --help)\n"
                            "  build [OPTIONS] -o IMAGE SOURCE   make an image that boots (knarr build --help)\n"
                            "  ship [OPTIONS] IMAGE REFERENCE    put an image into a registry (knarr ship --help)\n"
                            "  pull [OPTIONS] REFERENCE          fetch one from there (knarr pull --help)\n"
                            "  pack [OPTIONS] DIR|TAR            write an EROFS image (knarr pack --help)\n"
                            "  check [OPTIONS] PROGRAM           say whether Knarr can run it (knarr check --help)\n"
                            "  version                           print the version\n"
                            "  help                              print this\n";

static bool is(const char *word, const char *command) {
    return strcmp(word, command) == 0 || (strncmp(word, "--", 2) == 0 && strcmp(word + 2, command) == 0);
}

static int print(const char *text) { return fputs(text, stdout) >= 0 && fflush(stdout) == 0 ? 0 : STATUS_FAILED; }

int main(int argc, char **argv) {
    if (argc < 2)
        die(STATUS_FAILED, "which command? (knarr help)");
    if (strcmp(argv[1], "run") == 0)
        return run_main(argc - 1, argv + 1);
    if (strcmp(argv[1], "build") == 0)
        return build_main(argc - 1, argv + 1);
    if (strcmp(argv[1], "ship") == 0)
        return ship_main(argc - 1, argv + 1);
    if (strcmp(argv[1], "pull") == 0)
        return pull_main(argc - 1, argv + 1);
    if (strcmp(argv[1], "pack") == 0)
        return pack_main(argc - 1, argv + 1);
    if (strcmp(argv[1], "check") == 0)
        return check_main(argc - 1, argv + 1);
    if (is(argv[1], "version"))
        return print("knarr " KNARR_VERSION "\n");
    if (is(argv[1], "help"))
        return print(usage);
    die(STATUS_FAILED, "%s: no such command (knarr help)", argv[1]);
}
