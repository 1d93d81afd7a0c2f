/*
 * `knarr logs`: what a machine's program has written.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "tools/arguments.h"
#include "tools/machine/commands.h"
#include "tools/machine/state.h"
#include "tools/machine/logfile.h"

static const char usage[] =
    "Usage: knarr logs [OPTIONS] MACHINE\n"
    "\n"
    "Prints what the machine's program has written so far, each stream on its own.\n"
    "\n"
    "  -f, --follow       and what it writes further, until it ends\n"
    "  -n, --tail LINES   only the last ones (all: all)\n"
    "      --since TIME   only what was written from then on: 2026-11-24T10:00:00Z, or a part of it\n"
    "  -t, --timestamps   when each line was written\n"
    "      --help         print this\n";

struct options {
    bool follow, times;
    uint64_t tail; /* UINT64_MAX: all */
    const char *since;
};

static bool print_line(const struct logline *line, const struct options *options) {
    FILE *to = line->stream == 2 ? stderr : stdout;

    if (options->since && strncmp(line->time, options->since, strlen(options->since)) < 0)
        return true;
    if (options->times)
        fprintf(to, "%s ", line->time);
    fwrite(line->text, 1, line->size, to);
    return fflush(to) == 0;
}

static uint64_t count_lines(int directory) {
    struct logreader *reader = logreader_open(directory);
    struct logline line;
    uint64_t count = 0;

    while (logreader_next(reader, &line) == 1)
        count++;
    logreader_close(reader);
    return count;
}

/* What is there. False: nobody reads it any more, or it is no log. */
static bool print_all(struct logreader *reader, const struct options *options, uint64_t *skip, const char *word) {
    struct logline line;
    int got;

    while ((got = logreader_next(reader, &line)) == 1) {
        if (*skip > 0)
            --*skip;
        else if (!print_line(&line, options))
            return false;
    }
    if (got < 0)
        die(STATUS_FAILED, "%s: its log is damaged", word);
    return true;
}

int logs_main(int argc, char **argv) {
    enum { OPT_SINCE = 256 };
    static const struct option known[] = {{"follow", no_argument, NULL, 'f'},
                                          {"tail", required_argument, NULL, 'n'},
                                          {"since", required_argument, NULL, OPT_SINCE},
                                          {"timestamps", no_argument, NULL, 't'},
                                          {"help", no_argument, NULL, OPT_HELP},
                                          {NULL, 0, NULL, 0}};
    struct options options = {.tail = UINT64_MAX};
    int option;

    while ((option = next_option(argc, argv, ":fn:t", known, usage)) != -1) {
        char *end;
        switch (option) {
        case 'f': options.follow = true; break;
        case 't': options.times = true; break;
        case OPT_SINCE: options.since = optarg; break;
        case 'n':
            options.tail = strcmp(optarg, "all") == 0 ? UINT64_MAX : strtoull(optarg, &end, 10);
            if (options.tail != UINT64_MAX && (end == optarg || *end || *optarg == '-'))
                die(STATUS_FAILED, "--tail %s: not a number", optarg);
            break;
        }
    }
    if (argc - optind != 1)
        die(STATUS_FAILED, "the log of which machine? (knarr logs --help)");
    struct machine *machine = machine_find(argv[optind]);
    uint64_t count = options.tail == UINT64_MAX ? 0 : count_lines(machine->directory);
    uint64_t skip = count > options.tail ? count - options.tail : 0;
    struct logreader *reader = logreader_open(machine->directory);
    int watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    char *path = xasprintf("/proc/self/fd/%d", machine->directory);

    if (options.follow &&
        (watch < 0 || inotify_add_watch(watch, path, IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_DELETE_SELF) < 0))
        die(STATUS_FAILED, "%s: its log cannot be watched", argv[optind]);
    for (;;) {
        bool runs = machine_is_running(machine); /* before the last look */
        if (!print_all(reader, &options, &skip, argv[optind]))
            return STATUS_FAILED;
        if (!options.follow || !runs)
            break;
        struct pollfd news = {.fd = watch, .events = POLLIN};
        char events[4096];
        poll(&news, 1, 500); /* a monitor that was killed writes nothing */
        while (read(watch, events, sizeof(events)) > 0) {
            /* that something has happened is all that matters */
        }
    }
    free(path);
    logreader_close(reader);
    return 0;
}
