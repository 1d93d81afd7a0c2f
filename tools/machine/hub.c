/*
 * Frames from and to a monitor's guest and clients; see the header. The log never waits for a client, nor the machine for one that is slow, but for
 * the one in the foreground, whose pace is the program's.
 */
#include "tools/machine/hub.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tools/machine/usage.h"

struct monitor monitor;

/* Whoever started the machine waits for this: 'r' it runs, or 'x' and the status that it ended with before it ran. */
void tell_ready(bool runs, int status) {
    uint8_t answer[2] = {runs ? 'r' : 'x', (uint8_t)status};

    if (monitor.told_ready)
        return;
    monitor.told_ready = true;
    if (monitor.setup->ready >= 0) {
        if (write(monitor.setup->ready, answer, runs ? 1 : 2) < 0) {
            /* it does not wait any more */
        }
        close(monitor.setup->ready);
    }
}

/* ---- To the guest ---- */

size_t to_guest_waiting(void) { return monitor.to_end - monitor.to_start; }

static void to_guest(uint8_t type, uint8_t session, const void *payload, size_t size) {
    size_t waiting = to_guest_waiting(), needed = waiting + FRAME_HEADER + size;

    if (monitor.to_end + FRAME_HEADER + size > monitor.to_room) {
        if (waiting > 0)
            memmove(monitor.to_guest, monitor.to_guest + monitor.to_start, waiting);
        monitor.to_start = 0;
        monitor.to_end = waiting;
        if (needed > monitor.to_room)
            monitor.to_guest = xrealloc(monitor.to_guest, monitor.to_room = 2 * needed);
    }
    monitor.to_end += frame_put(monitor.to_guest + monitor.to_end, type, session, payload, (uint16_t)size);
}

void write_to_guest(void) {
    ssize_t done = send(monitor.qemu.console, monitor.to_guest + monitor.to_start, to_guest_waiting(),
                        MSG_NOSIGNAL | MSG_DONTWAIT);

    if (done > 0)
        monitor.to_start += (size_t)done;
    else if (done < 0 && errno != EAGAIN && errno != EINTR)
        monitor.to_start = monitor.to_end; /* nobody listens any more; reading tells why */
}

static void send_signal(int number) {
    uint8_t byte = (uint8_t)number;

    to_guest(FRAME_SIGNAL, 0, &byte, 1);
}

/* What clients have typed, as far as the program has room. */
void pass_input(void) {
    for (struct client *client = monitor.clients; client; client = client->next) {
        size_t left = client->input_end - client->input_start, size = left < monitor.window ? left : monitor.window;
        uint8_t payload[4];
        if (size > 0 && to_guest_waiting() < TO_GUEST_FULL) {
            to_guest(FRAME_INPUT, 0, client->input + client->input_start, size);
            monitor.window -= (uint32_t)size;
            client->input_start += size;
            frame_number_payload(payload, (uint32_t)size);
            client_send(client, FRAME_WINDOW, payload, sizeof(payload));
        }
        if (client->input_start == client->input_end) {
            client->input_start = client->input_end = 0;
            if (client->input_ended && !monitor.input_ended) {
                monitor.input_ended = true;
                to_guest(FRAME_INPUT_END, 0, NULL, 0);
            }
        }
    }
}

/* ---- The end of a run ---- */

void end_run(int status, uint8_t kind, uint32_t code) {
    if (monitor.status >= 0)
        return;
    monitor.status = status;
    monitor.end[0] = kind;
    monitor.end[1] = monitor.end[2] = monitor.end[3] = 0;
    frame_number_payload(monitor.end + 4, code);
}

void kill_machine(void) {
    monitor.killed = true;
    end_run(STATUS_SIGNAL + SIGKILL, EXIT_KIND_SIGNALED, SIGKILL);
}

void stop_machine(unsigned seconds) {
    int64_t deadline = now_ms() + seconds * 1000LL;

    monitor.stopping = true;
    if (monitor.deadline == 0 || deadline < monitor.deadline)
        monitor.deadline = deadline;
    send_signal(monitor.setup->stop_signal);
}

/* ---- Clients ---- */

void add_client(int fd, bool foreground) {
    struct client *client = client_new(fd);
    uint8_t payload[4];

    client->next = monitor.clients;
    monitor.clients = client;
    monitor.client_count++;
    if (!foreground)
        return;
    client->foreground = client->has_input = true;
    client->role = CLIENT_ATTACHED;
    frame_number_payload(payload, CLIENT_INPUT);
    client_send(client, FRAME_WINDOW, payload, sizeof(payload));
}

void remove_client(struct client *client) {
    struct client **link = &monitor.clients;

    while (*link != client)
        link = &(*link)->next;
    *link = client->next;
    monitor.client_count--;
    if (client->foreground && monitor.setup->input_ends && !monitor.input_ended) {
        monitor.input_ended = true;
        to_guest(FRAME_INPUT_END, 0, NULL, 0);
    }
    if (client->role == CLIENT_SESSION && client->session) {
        uint8_t grant[4];
        monitor.sessions[client->session] =
            SESSION_ORPHAN; /* it goes on, as docker's does: what it says is thrown away */
        to_guest(FRAME_INPUT_END, client->session, NULL, 0);
        frame_number_payload(grant, 64 << 10);
        to_guest(FRAME_GRANT, client->session, grant, sizeof(grant));
    }
    client_free(client);
}

static struct client *client_of_session(uint8_t session) {
    struct client *client = monitor.clients;

    while (client && !(client->role == CLIENT_SESSION && client->session == session))
        client = client->next;
    return client;
}

/* A message for the person and the status 125, as from the guest. */
static void refuse(struct client *client, const char *why) {
    uint8_t end[8] = {EXIT_KIND_KNARR, 0, 0, 0, STATUS_FAILED, 0, 0, 0};

    client_send(client, FRAME_MESSAGE, why, strlen(why));
    client_send(client, FRAME_EXIT, end, sizeof(end));
    client->role = CLIENT_LEAVING;
}

static void start_session(struct client *client) {
    unsigned session = 1;

    while (session < SESSIONS && monitor.sessions[session] != SESSION_FREE)
        session++;
    if (session == SESSIONS || monitor.pause) {
        refuse(client, session == SESSIONS ? "too many programs are executed in this machine"
                                           : "the machine is being started again");
        return;
    }
    monitor.sessions[session] = SESSION_SERVED;
    client->role = CLIENT_SESSION;
    client->session = (uint8_t)session;
    for (size_t at = 0, piece; at < client->records_size; at += piece) {
        piece = client->records_size - at < FRAME_PAYLOAD_MAX ? client->records_size - at : FRAME_PAYLOAD_MAX;
        to_guest(FRAME_RECORDS, client->session, client->records + at, piece);
    }
    to_guest(FRAME_RECORDS, client->session, NULL, 0);
    free(client->records);
    client->records = NULL;
}

static void take_records(struct client *client, const struct frame *frame) {
    if (frame->length == 0) {
        start_session(client);
        return;
    }
    if (frame->length > CLIENT_RECORDS_MOST - client->records_size) {
        refuse(client, "too many words");
        return;
    }
    client->records = xrealloc(client->records, client->records_size + frame->length);
    memcpy(client->records + client->records_size, frame->payload, frame->length);
    client->records_size += frame->length;
}

static void attach(struct client *client, bool with_input) {
    uint8_t payload[4];

    client->role = CLIENT_ATTACHED;
    client->has_input = with_input;
    if (with_input) {
        frame_number_payload(payload, CLIENT_INPUT);
        client_send(client, FRAME_WINDOW, payload, sizeof(payload));
    }
}

/* What somebody wants who has just connected. False: nonsense. */
static bool take_wish(struct client *client, const struct frame *frame) {
    switch (frame->type) {
    case CLIENT_ATTACH: attach(client, frame->length == 1 && frame->payload[0] == 1); return true;
    case CLIENT_RECORDS: take_records(client, frame); return true;
    case CLIENT_WAIT: client->role = CLIENT_WAITING; return true;
    case CLIENT_STOP:
        if (frame->length != 4)
            return false;
        client->role = CLIENT_WAITING;
        stop_machine(frame_number(frame));
        return true;
    case CLIENT_KILL:
        if (frame->length != 1 || frame->payload[0] < 1 || frame->payload[0] > 64)
            return false;
        client_send(client, CLIENT_KILL, NULL, 0);
        if (frame->payload[0] == SIGKILL) {
            monitor.stopping = true;
            kill_machine();
        } else {
            send_signal(frame->payload[0]);
        }
        return true;
    case CLIENT_STATS: {
        char *text = usage_text(monitor.qemu.pid);
        client_send(client, CLIENT_STATS, text, strlen(text));
        free(text);
        return true;
    }
    default: return false;
    }
}

static bool take_input(struct client *client, const struct frame *frame) {
    if (!client->has_input || frame->length > CLIENT_INPUT - client->input_end + client->input_start)
        return false; /* more than it was granted */
    if (frame->length > CLIENT_INPUT - client->input_end) {
        memmove(client->input, client->input + client->input_start, client->input_end - client->input_start);
        client->input_end -= client->input_start;
        client->input_start = 0;
    }
    memcpy(client->input + client->input_end, frame->payload, frame->length);
    client->input_end += frame->length;
    return true;
}

static bool take_attached(struct client *client, const struct frame *frame) {
    switch (frame->type) {
    case FRAME_INPUT: return take_input(client, frame);
    case FRAME_INPUT_END: client->input_ended = client->has_input; return true;
    case FRAME_SIZE:
    case FRAME_SIGNAL: to_guest(frame->type, 0, frame->payload, frame->length); return true;
    default: return false;
    }
}

static bool take_client_frame(struct client *client, const struct frame *frame) {
    switch (client->role) {
    case CLIENT_NEW: return take_wish(client, frame);
    case CLIENT_ATTACHED: return take_attached(client, frame);
    case CLIENT_SESSION:
        if (!strchr("IZSKV", frame->type))
            return false;
        to_guest(frame->type, client->session, frame->payload, frame->length);
        return true;
    default: return true;
    }
}

/* What it has sent, as long as the guest takes it. False: it talks nonsense. */
bool take_client_frames(struct client *client) {
    struct frame frame;
    int got = 0;

    while (to_guest_waiting() < 2 * TO_GUEST_FULL && (got = frame_next(&client->decoder, &frame)) == 1) {
        if (!take_client_frame(client, &frame))
            return false;
    }
    return got >= 0;
}

/* ---- From the guest ---- */

static void to_attached(const struct frame *frame) {
    for (struct client *client = monitor.clients; client; client = client->next) {
        if (client->role == CLIENT_ATTACHED)
            client_send(client, frame->type, frame->payload, frame->length);
    }
}

static void take_program_frame(const struct frame *frame) {
    switch (frame->type) {
    case FRAME_OUTPUT:
    case FRAME_ERROR:
        if (monitor.logfile)
            logfile_add(monitor.logfile, frame->type == FRAME_ERROR ? 2 : 1, frame->payload, frame->length);
        to_attached(frame);
        tell_ready(true, 0);
        break;
    case FRAME_WINDOW: {
        uint32_t more = frame_number(frame);
        monitor.window = more > UINT32_MAX - monitor.window ? UINT32_MAX : monitor.window + more;
        break;
    }
    case FRAME_MESSAGE:
        free(monitor.error);
        monitor.error = xasprintf("%.*s", (int)frame->length, (const char *)frame->payload);
        if (monitor.setup->foreground < 0)
            say("%s", monitor.error);
        to_attached(frame);
        break;
    case FRAME_STARTED: tell_ready(true, 0); break;
    case FRAME_EXIT: {
        int status = frame_exit_status(frame);
        end_run(status < 0 ? STATUS_FAILED : status, EXIT_KIND_KNARR, STATUS_FAILED);
        if (status >= 0)
            memcpy(monitor.end, frame->payload, sizeof(monitor.end));
        monitor.log.failed = status == STATUS_FAILED && monitor.end[0] == EXIT_KIND_KNARR;
        break;
    }
    }
}

static void take_session_frame(const struct frame *frame) {
    struct client *client = client_of_session(frame->session);

    if (client)
        client_send(client, frame->type, frame->payload, frame->length);
    if (frame->type == FRAME_EXIT) {
        monitor.sessions[frame->session] = SESSION_FREE;
        if (client) {
            client->session = 0;
            client->role = CLIENT_LEAVING;
        }
    } else if (!client && (frame->type == FRAME_OUTPUT || frame->type == FRAME_ERROR)) {
        uint8_t grant[4];
        frame_number_payload(grant, frame->length);
        to_guest(FRAME_GRANT, frame->session, grant, sizeof(grant));
    }
}

/* Whether the one in the foreground is so far behind that the machine must wait. */
bool held_back(void) {
    for (const struct client *client = monitor.clients; client; client = client->next) {
        if (client->foreground && client_waiting(client) > CLIENT_OUT_FULL)
            return true;
    }
    return false;
}

void take_guest_frames(void) {
    struct frame frame;
    int got = 0;

    while (!held_back() && monitor.status < 0 && (got = frame_next(&monitor.decoder, &frame)) == 1) {
        if (frame.session == 0)
            take_program_frame(&frame);
        else
            take_session_frame(&frame);
    }
    if (got < 0) {
        say("the guest does not speak the protocol of this knarr (docs/boot-protocol.md)");
        monitor.log.failed = true;
        end_run(STATUS_FAILED, EXIT_KIND_KNARR, STATUS_FAILED);
    }
}
