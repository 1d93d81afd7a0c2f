/*
 * `knarr stop`, `kill`, `wait`, `rm`: the ends of machines.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tools/arguments.h"
#include "tools/machine/commands.h"
#include "tools/machine/connect.h"
#include "tools/machine/monitor.h"
#include "tools/options.h"
#include "tools/signals.h"

static const char stop_usage[] = "Usage: knarr stop [-t SECONDS] MACHINE...\n"
                                 "\n"
                                 "Sends the machine's stop signal, waits, and switches it off if it still runs then.\n"
                                 "\n"
                                 "  -t, --time SECONDS   how long to wait (default: what knarr run was told, 10)\n"
                                 "      --help           print this\n";
static const char kill_usage[] = "Usage: knarr kill [-s SIGNAL] MACHINE...\n"
                                 "\n"
                                 "Sends the machine's program a signal; KILL switches the machine off.\n"
                                 "\n"
                                 "  -s, --signal SIGNAL   name or number (default KILL)\n"
                                 "      --help            print this\n";
static const char wait_usage[] = "Usage: knarr wait MACHINE...\n"
                                 "\n"
                                 "Waits for the machines' ends and prints their exit statuses.\n"
                                 "\n"
                                 "      --help   print this\n";
static const char rm_usage[] = "Usage: knarr rm [-f] MACHINE...\n"
                               "\n"
                               "Forgets machines that have ended, with their logs and names.\n"
                               "\n"
                               "  -f, --force   end them before, at once\n"
                               "      --help    print this\n";

static const struct option only_help[] = {{"help", no_argument, NULL, OPT_HELP}, {NULL, 0, NULL, 0}};

static bool stop(const char *word, void *arg) {
    struct machine *machine = machine_find(word);
    long seconds = *(const long *)arg;
    uint8_t payload[4];
    int fd = monitor_connect(machine);

    if (seconds < 0)
        seconds = json_integer_value(json_object_get(machine->json, "stopTimeout"));
    frame_number_payload(payload, (uint32_t)seconds);
    if (fd >= 0 && monitor_say(fd, CLIENT_STOP, payload, sizeof(payload)))
        monitor_wait_exit(fd, machine);
    if (fd >= 0)
        close(fd);
    puts(word);
    machine_close(machine);
    return true;
}

int stop_main(int argc, char **argv) {
    static const struct option known[] = {
        {"time", required_argument, NULL, 't'}, {"help", no_argument, NULL, OPT_HELP}, {NULL, 0, NULL, 0}};
    long seconds = -1;
    int option;

    while ((option = next_option(argc, argv, ":t:", known, stop_usage)) != -1) {
        if (option == 't')
            seconds = parse_seconds("-t", optarg);
    }
    return for_each_machine(argc, argv, stop, &seconds);
}

static bool send_kill(const struct machine *machine, int fd, int number) {
    static struct frame_decoder decoder;
    uint8_t byte = (uint8_t)number;
    struct frame frame;

    decoder.start = decoder.end = 0;
    return monitor_say(fd, CLIENT_KILL, &byte, 1) && monitor_hear(fd, &decoder, &frame) && frame.type == CLIENT_KILL;
}

static bool kill_one(const char *word, void *arg) {
    struct machine *machine = machine_find(word);
    int fd = monitor_need(machine, word);
    bool done = send_kill(machine, fd, *(const int *)arg);

    close(fd);
    if (done)
        puts(word);
    else
        say("%s: the machine has ended meanwhile", word);
    machine_close(machine);
    return done;
}

int kill_main(int argc, char **argv) {
    static const struct option known[] = {
        {"signal", required_argument, NULL, 's'}, {"help", no_argument, NULL, OPT_HELP}, {NULL, 0, NULL, 0}};
    int option, number = SIGKILL;

    while ((option = next_option(argc, argv, ":s:", known, kill_usage)) != -1) {
        if (option == 's')
            number = parse_signal(optarg);
    }
    return for_each_machine(argc, argv, kill_one, &number);
}

static bool wait_one(const char *word, void *arg) {
    struct machine *machine = machine_find(word);
    int fd = monitor_connect(machine);

    if (fd >= 0)
        monitor_say(fd, CLIENT_WAIT, NULL, 0);
    printf("%d\n", monitor_wait_exit(fd, machine));
    if (fd >= 0)
        close(fd);
    machine_close(machine);
    return fflush(stdout) == 0;
}

int wait_main(int argc, char **argv) {
    while (next_option(argc, argv, ":", only_help, wait_usage) != -1) {
    }
    return for_each_machine(argc, argv, wait_one, NULL);
}

/* Until its monitor is no more. */
static void end_now(struct machine *machine) {
    int fd = monitor_connect(machine);

    if (fd >= 0 && send_kill(machine, fd, SIGKILL)) {
        char byte;
        while (read(fd, &byte, 1) > 0) {
        }
    }
    if (fd >= 0)
        close(fd);
    for (int i = 0; i < 500 && machine_is_running(machine); i++)
        usleep(10000);
}

static bool remove_one(const char *word, void *arg) {
    struct machine *machine = machine_find(word);
    bool force = *(const bool *)arg, runs = machine_is_running(machine), removed = false;

    if (runs && force) {
        end_now(machine);
        runs = machine_is_running(machine);
    }
    if (runs)
        say("%s: the machine runs (knarr stop ends it; -f does both)", word);
    else if (!(removed = machine_remove(machine) || errno == ENOENT)) /* its monitor may have been told to */
        say("%s: %s", word, strerror(errno));
    if (removed)
        puts(word);
    machine_close(machine);
    return removed;
}

int rm_main(int argc, char **argv) {
    static const struct option known[] = {
        {"force", no_argument, NULL, 'f'}, {"help", no_argument, NULL, OPT_HELP}, {NULL, 0, NULL, 0}};
    bool force = false;
    int option;

    while ((option = next_option(argc, argv, ":f", known, rm_usage)) != -1)
        force |= option == 'f';
    return for_each_machine(argc, argv, remove_one, &force);
}
