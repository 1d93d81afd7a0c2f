/*
 * `knarr attach`: the streams of a machine's program; `knarr exec`: another program in it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/arguments.h"
#include "tools/machine/commands.h"
#include "tools/machine/connect.h"
#include "tools/machine/monitor.h"
#include "tools/options.h"
#include "tools/relay.h"
#include "tools/terminal.h"

static const char attach_usage[] = "Usage: knarr attach [--no-stdin] MACHINE\n"
                                   "\n"
                                   "Shows what the machine's program writes from now on, gives it what is typed (where "
                                   "its input is open), and ends with\n"
                                   "its exit status. Ctrl-] three times within a second leaves it alone again.\n"
                                   "\n"
                                   "      --no-stdin   its input is not touched\n"
                                   "      --help       print this\n";
static const char exec_usage[] = "Usage: knarr exec [OPTIONS] MACHINE PROGRAM [ARG...]\n"
                                 "\n"
                                 "Runs another program in a machine that runs, and ends with its exit status.\n"
                                 "\n"
                                 "  -i, --interactive    connect its input (without: it is empty)\n"
                                 "  -t, --tty            give it a terminal\n"
                                 "  -e, --env K=V        set an environment variable\n"
                                 "  -w, --workdir DIR    working directory (default: the machine's)\n"
                                 "  -u, --user UID[:GID] whom it runs as, in numbers (default root)\n"
                                 "  -d, --detach         do not wait for its end\n"
                                 "      --help           print this\n";

static int relay(int fd, bool raw, bool has_in, bool windowed) {
    struct qemu machine = {.console = fd, .log = -1, .errors = -1};

    relay_signals();
    struct relay_options options = {
        .raw = raw && terminal_raw(), .has_in = has_in, .remote = true, .windowed = windowed};
    int status = relay_run(&machine, &options);
    terminal_restore();
    return status;
}

int attach_main(int argc, char **argv) {
    enum { OPT_NO_STDIN = 256 };
    static const struct option known[] = {
        {"no-stdin", no_argument, NULL, OPT_NO_STDIN}, {"help", no_argument, NULL, OPT_HELP}, {NULL, 0, NULL, 0}};
    uint8_t with_input = 1;
    int option;

    while ((option = next_option(argc, argv, ":", known, attach_usage)) != -1) {
        if (option == OPT_NO_STDIN)
            with_input = 0;
    }
    if (argc - optind != 1)
        die(STATUS_FAILED, "attach to which machine? (knarr attach --help)");
    struct machine *machine = machine_find(argv[optind]);
    int fd = monitor_need(machine, argv[optind]);
    bool tty = json_is_true(json_object_get(machine->json, "tty"));

    if (!monitor_say(fd, CLIENT_ATTACH, &with_input, 1))
        die(STATUS_FAILED, "%s: the machine has ended", argv[optind]);
    return relay(fd, tty && with_input && isatty(STDIN_FILENO), with_input, false);
}

struct wish {
    bool input, tty, detach;
    const char *directory, *user;
    struct strings environment;
};

static void add_record(char **records, size_t *size, const char *name, const char *value) {
    size_t length = strlen(name) + 1 + strlen(value) + 1;

    *records = xrealloc(*records, *size + length + 1);
    *size += (size_t)sprintf(*records + *size, "%s=%s", name, value) + 1;
}

static void ask(int fd, const struct machine *machine, const struct wish *wish, char **words) {
    const char *directory = wish->directory ? wish->directory : machine_text(machine, "workingDir");
    struct strings environment = {0};
    const json_t *setting;
    char *records = NULL;
    size_t size = 0, i;
    unsigned rows, columns;

    json_array_foreach(json_object_get(machine->json, "env"), i, setting) {
        if (json_is_string(setting))
            environment_set(&environment, json_string_value(setting));
    }
    if (wish->tty)
        environment_set(&environment, "TERM=xterm");
    for (i = 0; i < wish->environment.count; i++)
        environment_set(&environment, wish->environment.item[i]);
    add_record(&records, &size, "exec", words[0]);
    for (char **word = words; *word; word++)
        add_record(&records, &size, "arg", *word);
    for (i = 0; i < environment.count; i++)
        add_record(&records, &size, "env", environment.item[i]);
    add_record(&records, &size, "cwd", *directory ? directory : "/");
    if (wish->user)
        add_record(&records, &size, "user", wish->user);
    add_record(&records, &size, "stdin", !wish->input ? "null" : wish->tty ? "tty" : "stream");
    add_record(&records, &size, "stdout", wish->tty ? "tty" : "stream");
    add_record(&records, &size, "stderr", wish->tty ? "tty" : "stream");
    if (wish->detach)
        add_record(&records, &size, "report", "start");
    if (wish->tty && terminal_size(STDIN_FILENO, &rows, &columns)) {
        char *text = xasprintf("%ux%u", rows, columns);
        add_record(&records, &size, "winsize", text);
        free(text);
    }
    for (size_t at = 0, piece; at < size; at += piece) {
        piece = size - at < FRAME_PAYLOAD_MAX ? size - at : FRAME_PAYLOAD_MAX;
        monitor_say(fd, CLIENT_RECORDS, records + at, (uint16_t)piece);
    }
    monitor_say(fd, CLIENT_RECORDS, NULL, 0);
    if (!wish->input)
        monitor_say(fd, FRAME_INPUT_END, NULL, 0);
    free(records);
}

/* Until the program runs, or why it does not. */
static int wait_for_start(int fd) {
    static struct frame_decoder decoder;
    struct frame frame;

    while (monitor_hear(fd, &decoder, &frame)) {
        int status = frame.type == FRAME_EXIT ? frame_exit_status(&frame) : -1;
        if (frame.type == FRAME_MESSAGE)
            say("%.*s", (int)frame.length, (const char *)frame.payload);
        if (frame.type == FRAME_STARTED)
            return 0;
        if (status >= 0)
            return frame.payload[0] == EXIT_KIND_KNARR ? status : 0; /* one that was quick has run */
    }
    say("the machine's monitor has gone");
    return STATUS_FAILED;
}

int exec_main(int argc, char **argv) {
    static const struct option known[] = {
        {"interactive", no_argument, NULL, 'i'}, {"tty", no_argument, NULL, 't'},
        {"env", required_argument, NULL, 'e'},   {"workdir", required_argument, NULL, 'w'},
        {"user", required_argument, NULL, 'u'},  {"detach", no_argument, NULL, 'd'},
        {"help", no_argument, NULL, OPT_HELP},   {NULL, 0, NULL, 0}};
    struct wish wish = {0};
    int option;

    while ((option = next_option(argc, argv, "+:ite:w:u:d", known, exec_usage)) != -1) {
        switch (option) {
        case 'i': wish.input = true; break;
        case 't': wish.tty = true; break;
        case 'e': environment_add(&wish.environment, optarg); break;
        case 'w': wish.directory = optarg; break;
        case 'u': wish.user = strchr(optarg, ':') ? optarg : xasprintf("%s:%s", optarg, optarg); break;
        case 'd': wish.detach = true; break;
        }
    }
    if (argc - optind < 2)
        die(STATUS_FAILED, "which program in which machine? (knarr exec --help)");
    wish.input &= !wish.detach;
    struct machine *machine = machine_find(argv[optind]);
    int fd = monitor_need(machine, argv[optind]);

    ask(fd, machine, &wish, argv + optind + 1);
    if (wish.detach)
        return wait_for_start(fd);
    return relay(fd, wish.tty && wish.input && isatty(STDIN_FILENO), wish.input, true);
}
