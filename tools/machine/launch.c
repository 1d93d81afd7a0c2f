/*
 * Starting a machine with a monitor; see the header.
 */
#include "tools/machine/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tools/machine/monitor.h"
#include "tools/machine/state.h"
#include "tools/relay.h"
#include "tools/terminal.h"

bool launch_is_wanted(const struct run_options *options) {
    return options->detach || options->name || options->restart != RESTART_NO || options->is_image;
}

static json_t *words(char **list) {
    json_t *array = json_array();

    for (; list && *list; list++)
        json_array_append_new(array, json_string(*list) ?: json_string("?"));
    return array;
}

/* What inspect and ps show. */
static void describe(struct machine *machine, const struct run_options *options) {
    json_t *json = machine->json;
    struct strings ports = {0};

    ports_describe(&options->network.ports, &ports);
    json_put(json, "image",
             json_string(options->is_image || options->root ? options->root : options->argv[0]) ?: json_string("?"));
    json_put(json, "command", words(options->argv));
    json_put(json, "env", words(options->environment.item));
    json_put(json, "workingDir", json_string(options->directory) ?: json_string("?"));
    json_put(json, "user", json_string(options->user ? options->user : ""));
    json_put(json, "hostname", json_string(options->hostname));
    json_put(json, "memory", json_integer((json_int_t)options->memory));
    json_put(json, "cpus", json_integer(options->cpus));
    json_put(json, "ports", words(ports.item));
    json_put(json, "tty", json_boolean(options->terminal));
    json_put(json, "stopSignal", json_integer(options->stop_signal ? options->stop_signal : SIGTERM));
    json_put(json, "stopTimeout", json_integer(options->stop_timeout));
    json_put(json, "labels", words(options->labels.item));
    static const char *const restarts[] = {"no", "on-failure", "always", "unless-stopped"};
    json_put(json, "restart", json_string(restarts[options->restart]));
    json_put(json, "autoRemove", json_boolean(options->remove));
    json_put(json, "exitCode", json_integer(0));
}

static struct qemu start_guest(void *arg) {
    const struct launch *launch = arg;

    free((char *)launch->setup->append);
    launch->setup->append = launch->command_line(launch->options);
    return qemu_start(launch->setup);
}

/* The child's life. What it has to say beside the program's output goes to a file when nobody is there to read it. */
static void run_monitor(const struct launch *launch, struct machine *machine, int foreground, int ready) NORETURN;
static void run_monitor(const struct launch *launch, struct machine *machine, int foreground, int ready) {
    const struct run_options *options = launch->options;
    struct monitor_setup setup = {
        .machine = machine,
        .start = start_guest,
        .arg = (void *)launch,
        .stop_signal = options->stop_signal ? options->stop_signal : SIGTERM,
        .restart = options->restart,
        .restart_most = options->restart_most,
        .remove = options->remove,
        .show_log = launch->show_log,
        .input_ends = launch->input_ends,
        .log_most = options->log_size,
        .foreground = foreground,
        .ready = ready,
    };

    setsid();
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    dup2(null, STDIN_FILENO);
    dup2(null, STDOUT_FILENO);
    if (options->detach) {
        int file = openat(machine->directory, "monitor.log", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        dup2(file >= 0 ? file : null, STDERR_FILENO);
    }
    stderr_is_raw = launch->raw;
    exit(monitor_run(&setup));
}

/* -d: until the program runs, or has failed to. */
static int wait_for_start(const char *id, int directory, int ready) {
    uint8_t answer[2];
    ssize_t got;

    do {
        got = read(ready, answer, sizeof(answer));
    } while (got < 0 && errno == EINTR);
    if (got == 1 && answer[0] == 'r') {
        puts(id);
        return fflush(stdout) == 0 ? 0 : STATUS_FAILED;
    }
    int status = got == 2 ? answer[1] : STATUS_FAILED;
    bool failed = status >= STATUS_FAILED && status <= STATUS_NOT_FOUND;
    char text[4096];
    int log = openat(directory, "monitor.log", O_RDONLY | O_CLOEXEC);
    while (log >= 0 && (got = read(log, text, sizeof(text))) > 0)
        write_all(STDERR_FILENO, text, (size_t)got);
    if (!failed)
        puts(id); /* it ran, and was quick */
    return failed ? status : fflush(stdout) == 0 ? 0 : STATUS_FAILED;
}

static int be_client(const struct launch *launch, int fd) {
    struct qemu machine = {.console = fd, .log = -1, .errors = -1};
    struct relay_options options = {.raw = launch->raw && terminal_raw(), .has_in = launch->has_in, .remote = true};
    int status = relay_run(&machine, &options);

    terminal_restore();
    return status;
}

int launch(const struct launch *launch) {
    bool detach = launch->options->detach;
    int pair[2] = {-1, -1}, ready[2] = {-1, -1};
    struct machine *machine = machine_create(launch->options->name);

    describe(machine, launch->options);
    if (!machine_save(machine))
        die(STATUS_FAILED, "the state of the machine: %s", strerror(errno));
    if ((detach ? pipe2(ready, O_CLOEXEC) : socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) != 0)
        die(STATUS_FAILED, "%s: %s", detach ? "pipe" : "socketpair", strerror(errno));
    if (!detach)
        relay_signals();
    fflush(NULL);
    pid_t child = fork();
    if (child < 0)
        die(STATUS_FAILED, "fork: %s", strerror(errno));
    if (child == 0) {
        close(detach ? ready[0] : pair[0]);
        run_monitor(launch, machine, pair[1], ready[1]);
    }
    close(detach ? ready[1] : pair[1]);
    network_close((struct network *)&launch->options->network);
    int status = detach ? wait_for_start(machine->id, machine->directory, ready[0]) : be_client(launch, pair[0]);
    machine_close(machine); /* the lock is the child's */
    return status;
}
