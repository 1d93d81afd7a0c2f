/*
 * Options of commands; see the header.
 */
#include "tools/arguments.h"

#include <stdio.h>
#include <stdlib.h>

int next_option(int argc, char **argv, const char *letters, const struct option *options, const char *usage) {
    opterr = 0;
    int option = getopt_long(argc, argv, letters, options, NULL);

    switch (option) {
    case OPT_HELP: fputs(usage, stdout); exit(fflush(stdout) == 0 ? 0 : STATUS_FAILED);
    case ':': die(STATUS_FAILED, "%s needs a value (knarr %s --help)", argv[optind - 1], argv[0]);
    case '?': die(STATUS_FAILED, "%s: no such option (knarr %s --help)", argv[optind - 1], argv[0]);
    default: return option;
    }
}

int for_each_machine(int argc, char **argv, bool (*act)(const char *word, void *arg), void *arg) {
    bool good = true;

    if (optind >= argc)
        die(STATUS_FAILED, "which machine? (knarr %s --help)", argv[0]);
    for (int i = optind; i < argc; i++)
        good = act(argv[i], arg) && good;
    return good ? 0 : 1;
}
