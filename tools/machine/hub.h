/*
 * What passes through a monitor: frames of the guest to those who want them, and what clients want to the guest. hub.c does it, monitor.c has the
 * loop and the machine's life.
 */
#pragma once

#include "tools/log.h"
#include "tools/machine/client.h"
#include "tools/machine/logfile.h"
#include "tools/machine/monitor.h"

enum {
    CLIENTS_MOST = 200,
    TO_GUEST_FULL = 256 << 10, /* from here on clients are not read */
    SESSIONS = 256,
};

enum session_state { SESSION_FREE, SESSION_SERVED, SESSION_ORPHAN };

extern struct monitor {
    const struct monitor_setup *setup;
    struct qemu qemu;
    struct log log;
    struct logfile *logfile;
    int listener;
    struct client *clients;
    unsigned client_count;
    struct frame_decoder decoder;
    uint8_t *to_guest;
    size_t to_start, to_end, to_room;
    uint32_t window; /* of the program's input */
    bool input_ended;
    enum session_state sessions[SESSIONS];
    int status;             /* of the run that is going on; -1: not known yet */
    uint8_t end[8];         /* the payload of its exit frame */
    bool killed;            /* by a client */
    bool stopping;          /* somebody wants it to end for good */
    int64_t deadline;       /* of the client's patience, 0: none */
    int64_t started, pause; /* milliseconds; pause: until the next start */
    unsigned restarts;
    bool told_ready;
    char *error; /* what the guest said last to the person */
} monitor;

/* Tells whoever started the machine: it runs, or it has ended with that status before it did. */
void tell_ready(bool runs, int status);

/* Bytes for the guest that are not written yet; writes what can be written. */
size_t to_guest_waiting(void);
void write_to_guest(void);

/* What clients have typed, as far as the program has room. */
void pass_input(void);

/* The run is over, with that exit status and payload of the exit frame; the first one counts. */
void end_run(int status, uint8_t kind, uint32_t code);
void kill_machine(void);
void stop_machine(unsigned seconds); /* of patience */

void add_client(int fd, bool foreground);
void remove_client(struct client *client);

/* What it has sent, as long as the guest takes it. False: it talks nonsense. */
bool take_client_frames(struct client *client);

/* Whether the client in the foreground is so far behind that the machine must wait. */
bool held_back(void);
/* What the guest has sent. */
void take_guest_frames(void);
