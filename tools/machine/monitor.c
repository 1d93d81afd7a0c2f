/*
 * The monitor's loop and the lives of its guest; see the header. All of it is one poll(2), as in tools/relay.c.
 */
#include "tools/machine/monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "tools/ending.h"
#include "tools/machine/hub.h"

enum {
    PAUSE_FIRST_MS = 100,
    PAUSE_MOST_MS = 60000,
    RAN_WELL_MS = 10000, /* the next pause is the first one again */
};

static int signal_pipe[2];

static void on_signal(int number) {
    int error = errno;
    uint8_t byte = (uint8_t)number;

    if (write(signal_pipe[1], &byte, 1) < 0) {
        /* full of signals */
    }
    errno = error;
}

/* ---- State ---- */

static void set(const char *member, json_t *value) { json_put(monitor.setup->machine->json, member, value); }

static void save(void) {
    if (!machine_save(monitor.setup->machine))
        say("the state of the machine: %s", strerror(errno));
}

static void note_start(void) {
    char now[TIME_TEXT];

    time_text(now);
    set("status", json_string("running"));
    set("started", json_string(now));
    set("pid", json_integer(getpid()));
    set("restarts", json_integer(monitor.restarts));
    save();
}

static void note_end(int status) {
    char now[TIME_TEXT];

    time_text(now);
    set("status", json_string("exited"));
    set("finished", json_string(now));
    set("exitCode", json_integer(status));
    set("pid", json_integer(0));
    json_t *error =
        status >= STATUS_FAILED && status <= STATUS_NOT_FOUND && monitor.error ? json_string(monitor.error) : NULL;
    set("error", error ? error : json_string(""));
    save();
}

static bool read_guest(void) {
    size_t space;
    uint8_t *to = frame_space(&monitor.decoder, &space);
    ssize_t got = read(monitor.qemu.console, to, space);

    if (got > 0)
        monitor.decoder.end += (size_t)got;
    return got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR));
}

/* ---- The loop ---- */

static void take_signals(void) {
    uint8_t number;

    while (read(signal_pipe[0], &number, 1) == 1) {
        if (number == SIGTERM)
            stop_machine(10);
    }
}

static void accept_client(void) {
    int fd = accept4(monitor.listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd >= 0 && monitor.client_count >= CLIENTS_MOST)
        close(fd);
    else if (fd >= 0)
        add_client(fd, false);
}

static int patience(void) {
    int64_t now = now_ms(), until = INT64_MAX;

    if (monitor.deadline)
        until = monitor.deadline;
    if (monitor.pause && monitor.pause < until)
        until = monitor.pause;
    return until == INT64_MAX ? -1 : until <= now ? 0 : (int)(until - now < 60000 ? until - now : 60000);
}

static void serve_clients(const struct pollfd *fds) {
    size_t i = 0;

    for (struct client *client = monitor.clients, *next; client; client = next, i++) {
        next = client->next;
        if (i >= CLIENTS_MOST)
            break;
        bool there = true;
        if (fds[i].fd == client->fd && fds[i].revents & ~POLLOUT)
            there = client_read(client);
        there = there && take_client_frames(client) && client_write(client);
        if (client->role == CLIENT_LEAVING && client_waiting(client) == 0)
            there = false;
        if (!client->foreground && client_waiting(client) > CLIENT_OUT_MOST)
            there = false;
        if (!there)
            remove_client(client);
    }
}

static void round_trip(void) {
    enum { SIGNALS, CONSOLE, LOG, ERRORS, LISTENER, FIRST };
    struct pollfd fds[FIRST + CLIENTS_MOST];
    nfds_t count = FIRST;
    bool held = held_back();

    fds[SIGNALS] = (struct pollfd){.fd = signal_pipe[0], .events = POLLIN};
    fds[CONSOLE] = (struct pollfd){.fd = monitor.qemu.console,
                                   .events = (short)((held ? 0 : POLLIN) | (to_guest_waiting() > 0 ? POLLOUT : 0))};
    if (fds[CONSOLE].events == 0)
        fds[CONSOLE].fd = -1;
    fds[LOG] = (struct pollfd){.fd = monitor.qemu.log, .events = POLLIN};
    fds[ERRORS] = (struct pollfd){.fd = monitor.qemu.errors, .events = POLLIN};
    fds[LISTENER] = (struct pollfd){.fd = monitor.listener, .events = POLLIN};
    for (const struct client *client = monitor.clients; client && count < FIRST + CLIENTS_MOST; client = client->next) {
        bool reads = to_guest_waiting() < TO_GUEST_FULL;
        fds[count++] = (struct pollfd){
            .fd = client->fd, .events = (short)((reads ? POLLIN : 0) | (client_waiting(client) > 0 ? POLLOUT : 0))};
    }
    if (poll(fds, count, patience()) < 0)
        return;
    for (nfds_t i = count; i < FIRST + CLIENTS_MOST; i++)
        fds[i] = (struct pollfd){.fd = -1};
    if (fds[SIGNALS].revents)
        take_signals();
    if (fds[LOG].revents && !log_read(&monitor.log, monitor.qemu.log))
        close_fd(&monitor.qemu.log);
    if (fds[ERRORS].revents && !log_read(&monitor.log, monitor.qemu.errors))
        close_fd(&monitor.qemu.errors);
    bool open = !(fds[CONSOLE].revents & ~POLLOUT) || read_guest();
    take_guest_frames();
    if (!open && monitor.status < 0 && !held_back())
        close_fd(&monitor.qemu.console);
    serve_clients(fds + FIRST);
    if (fds[LISTENER].revents) /* behind the others: fds[] knows nothing of a new one */
        accept_client();
    pass_input();
    if (to_guest_waiting() > 0 && monitor.qemu.console >= 0)
        write_to_guest();
    if (monitor.deadline && now_ms() >= monitor.deadline)
        kill_machine();
}

/* Those who wait for the end hear of it; sessions have ended, too. */
static void tell_end(void) {
    for (struct client *client = monitor.clients; client; client = client->next) {
        if (client->role == CLIENT_NEW)
            continue;
        if (client->role == CLIENT_SESSION) {
            static const char text[] = "the machine has ended";
            static const uint8_t killed[8] = {EXIT_KIND_SIGNALED, 0, 0, 0, SIGKILL};
            client->session = 0;
            client_send(client, FRAME_MESSAGE, text, sizeof(text) - 1);
            client_send(client, FRAME_EXIT, killed, sizeof(killed));
        } else if (client->role != CLIENT_LEAVING)
            client_send(client, FRAME_EXIT, monitor.end, sizeof(monitor.end));
        client->role = CLIENT_LEAVING;
    }
    memset(monitor.sessions, 0, sizeof(monitor.sessions));
}

static bool will_restart(int status) {
    const struct monitor_setup *setup = monitor.setup;

    if (monitor.stopping)
        return false;
    switch (setup->restart) {
    case RESTART_NO: return false;
    case RESTART_ON_FAILURE: return status != 0 && (setup->restart_most == 0 || monitor.restarts < setup->restart_most);
    default: return true;
    }
}

/* One life of the guest. Returns its exit status. */
static int run_once(void) {
    monitor.status = -1;
    monitor.window = 0;
    monitor.input_ended = monitor.killed = false;
    monitor.to_start = monitor.to_end = 0;
    monitor.decoder.start = monitor.decoder.end = 0;
    monitor.decoder.sessions = true;
    monitor.log = (struct log){.show = monitor.setup->show_log};
    monitor.started = now_ms();
    monitor.qemu = monitor.setup->start(monitor.setup->arg);
    note_start();
    while (monitor.status < 0 && monitor.qemu.console >= 0)
        round_trip();
    if (monitor.status < 0)
        monitor.end[0] = EXIT_KIND_KNARR, frame_number_payload(monitor.end + 4, STATUS_FAILED);
    int status = ending(&monitor.qemu, &monitor.log, monitor.status);
    if (monitor.qemu.console >= 0)
        close_fd(&monitor.qemu.console);
    if (monitor.qemu.log >= 0)
        close_fd(&monitor.qemu.log);
    if (monitor.qemu.errors >= 0)
        close_fd(&monitor.qemu.errors);
    monitor.qemu.pid = 0;
    return status;
}

/* Between two lives clients are served, too; one may want no other. */
static void rest(int64_t milliseconds) {
    monitor.pause = now_ms() + milliseconds;
    monitor.status = -1;
    while (now_ms() < monitor.pause && !monitor.stopping)
        round_trip();
    monitor.pause = 0;
    monitor.deadline = 0;
}

static void listen_for_clients(void) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    /* The path may be too long for an address; that of the open directory never is. */
    snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/monitor.sock",
             monitor.setup->machine->directory);
    monitor.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (monitor.listener < 0 || bind(monitor.listener, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        listen(monitor.listener, 64) != 0)
        die(STATUS_FAILED, "the socket of the machine: %s", strerror(errno));
}

static void prepare(void) {
    struct sigaction action = {.sa_handler = on_signal};

    if (pipe2(signal_pipe, O_CLOEXEC | O_NONBLOCK) != 0)
        die(STATUS_FAILED, "pipe: %s", strerror(errno));
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGCHLD, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    signal(SIGQUIT, SIG_IGN);
    listen_for_clients();
    monitor.logfile = logfile_open(monitor.setup->machine->directory, monitor.setup->log_most);
    if (!monitor.logfile)
        say("the log of the machine: %s", strerror(errno));
    if (monitor.setup->foreground >= 0)
        add_client(monitor.setup->foreground, true);
}

/* The last words to clients, as far as they listen. */
static void finish(void) {
    struct timespec moment = {.tv_nsec = 10000000};

    for (int i = 0; i < 200 && monitor.clients; i++) {
        for (struct client *client = monitor.clients, *next; client; client = next) {
            next = client->next;
            if (!client_write(client) || client_waiting(client) == 0)
                remove_client(client);
        }
        if (monitor.clients)
            nanosleep(&moment, NULL);
    }
    close(monitor.listener);
    if (monitor.logfile)
        logfile_close(monitor.logfile);
    unlinkat(monitor.setup->machine->directory, "monitor.sock", 0);
}

int monitor_run(const struct monitor_setup *setup) {
    int64_t pause = PAUSE_FIRST_MS;
    int status;

    monitor.setup = setup;
    prepare();
    for (;; monitor.restarts++) {
        status = run_once();
        bool again = will_restart(status);
        if (monitor.logfile)
            logfile_flush(monitor.logfile);
        if (!again)
            note_end(status);
        tell_ready(false, status);
        tell_end();
        if (!again)
            break;
        if (now_ms() - monitor.started >= RAN_WELL_MS)
            pause = PAUSE_FIRST_MS;
        rest(pause);
        if (monitor.stopping) {
            note_end(status);
            break;
        }
        pause = 2 * pause < PAUSE_MOST_MS ? 2 * pause : PAUSE_MOST_MS;
    }
    finish();
    if (setup->remove && !machine_remove(setup->machine))
        say("the state of the machine: %s", strerror(errno));
    machine_close(setup->machine);
    return status;
}
