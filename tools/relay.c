/*
 * The loop between the guest and the outside; see the header. All of it is one poll(2): nothing here waits for one
 * stream while another has something to do. Output is taken from the guest only as fast as it can be written, input is
 * read only as far as the guest has room for it.
 */
#include "tools/relay.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/ending.h"
#include "tools/frame.h"
#include "tools/log.h"
#include "tools/terminal.h"

enum {
    INPUT_CHUNK = 32 << 10,
    TO_GUEST = 128 << 10,
    OUTPUT_WINDOW = 256 << 10,
    ESCAPE = 0x1d, /* Ctrl-] */
};

/* Times of the last events of a kind, to notice three in a short while. */
struct triple {
    int64_t before_last, last;
};

struct relay {
    struct qemu *qemu;
    const struct relay_options *options;
    struct frame_decoder decoder;
    struct frame output; /* being written when output_fd is not -1 */
    size_t output_done;
    int output_fd;
    bool discard[3]; /* by descriptor: whoever read it has gone */
    bool is_file[3]; /* never blocks */
    uint8_t input[INPUT_CHUNK];
    size_t input_start, input_end;
    uint32_t owed;   /* bytes of output to be granted */
    bool in_open;    /* stdin may have more */
    uint32_t window; /* so many bytes of input the guest takes */
    uint8_t to_guest[TO_GUEST];
    size_t to_start, to_end;
    struct log log;
    bool said;  /* the guest sent a line for the person */
    int status; /* -1 until it is known */
    struct triple escapes, interrupts;
};

static int signal_pipe[2];
static struct relay relay;

static void on_signal(int number) {
    int error = errno;
    uint8_t byte = (uint8_t)number;

    if (write(signal_pipe[1], &byte, 1) < 0) {
        /* The pipe is full of signals already. */
    }
    errno = error;
}

void relay_signals(void) {
    static const int relayed[] = {SIGHUP,  SIGINT,   SIGQUIT, SIGTERM, SIGUSR1,
                                  SIGUSR2, SIGWINCH, SIGTSTP, SIGCONT, SIGCHLD};
    struct sigaction action = {.sa_handler = on_signal}; /* no SA_RESTART: a write that waits must end */

    if (pipe2(signal_pipe, O_CLOEXEC | O_NONBLOCK) != 0)
        die(STATUS_FAILED, "pipe: %s", strerror(errno));
    signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < sizeof(relayed) / sizeof(relayed[0]); i++) {
        struct sigaction former;
        sigaction(relayed[i], NULL, &former);
        if (former.sa_handler != SIG_IGN || relayed[i] == SIGCHLD) /* nohup stays nohup */
            sigaction(relayed[i], &action, NULL);
    }
}

/* Counts an event; true when it is the third within so many milliseconds. */
static bool third(struct triple *triple, int within) {
    int64_t now = now_ms() + within + 1; /* so that the zeros at the beginning are long ago */
    bool is_third = now - triple->before_last <= within;

    triple->before_last = triple->last;
    triple->last = now;
    return is_third;
}

static void to_guest(uint8_t type, const void *payload, uint16_t length) {
    if (relay.to_start == relay.to_end)
        relay.to_start = relay.to_end = 0;
    if (TO_GUEST - relay.to_end >= FRAME_HEADER + (size_t)length)
        relay.to_end += frame_put(relay.to_guest + relay.to_end, type, 0, payload, length);
}

static void send_signal(int number) {
    uint8_t byte = (uint8_t)number;

    to_guest(FRAME_SIGNAL, &byte, 1);
}

static void send_size(void) {
    unsigned rows, columns;

    if (relay.options->raw && terminal_size(STDIN_FILENO, &rows, &columns)) {
        uint8_t payload[4] = {(uint8_t)rows, (uint8_t)(rows >> 8), (uint8_t)columns, (uint8_t)(columns >> 8)};
        to_guest(FRAME_SIZE, payload, sizeof(payload));
    }
}

/* Ctrl-Z from outside: the machine stops with knarr, and the terminal is the shell's meanwhile. */
static void suspend(void) {
    terminal_restore();
    if (relay.qemu->pid > 0)
        kill(relay.qemu->pid, SIGSTOP);
    raise(SIGSTOP);
}

static void resume(void) {
    if (relay.qemu->pid > 0)
        kill(relay.qemu->pid, SIGCONT);
    if (relay.options->raw)
        terminal_raw();
    send_size();
}

static void take_signals(void) {
    uint8_t number;

    while (read(signal_pipe[0], &number, 1) == 1) {
        switch (number) {
        case SIGCHLD: break; /* the console's end says it */
        case SIGWINCH: send_size(); break;
        case SIGTSTP: suspend(); break;
        case SIGCONT: resume(); break;
        case SIGINT:
        case SIGTERM:
            if (third(&relay.interrupts, 2000)) {
                say(relay.options->remote ? "the program does not react: detached"
                                          : "the program does not react: stopped");
                relay.status = STATUS_SIGNAL + number;
                return;
            }
            send_signal(number);
            break;
        default: send_signal(number);
        }
    }
}

static void read_input(void) {
    uint8_t scratch[INPUT_CHUNK];
    size_t room = sizeof(relay.input) - relay.input_end;

    /* The window bounds what is read, so that bytes the program never asked for stay with whoever reads stdin next;
     * a terminal is always read, because of the escape, and drops what is too much. */
    size_t limit = relay.options->raw ? sizeof(scratch) : room;
    if (!relay.options->raw && limit > relay.window)
        limit = relay.window;
    ssize_t got = read(STDIN_FILENO, scratch, limit);
    if (got < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (got <= 0) {
        relay.in_open = false;
        return;
    }
    for (ssize_t i = 0; relay.options->raw && i < got; i++) {
        if (scratch[i] != ESCAPE) {
            relay.escapes = (struct triple){0};
        } else if (third(&relay.escapes, 1000)) {
            say(relay.options->remote ? "detached" : "stopped by Ctrl-]");
            relay.status = relay.options->remote ? 0 : STATUS_SIGNAL + SIGKILL;
            return;
        }
    }
    size_t taken = (size_t)got < room ? (size_t)got : room;
    memcpy(relay.input + relay.input_end, scratch, taken);
    relay.input_end += taken;
}

static void pass_input(void) {
    size_t waiting = relay.input_end - relay.input_start;
    size_t count = waiting < relay.window ? waiting : relay.window;

    /* Where there is no room, writing makes some, and there is another round. */
    if (count > 0 && (relay.to_start == relay.to_end || TO_GUEST - relay.to_end > FRAME_HEADER + count)) {
        to_guest(FRAME_INPUT, relay.input + relay.input_start, (uint16_t)count);
        relay.input_start += count;
        relay.window -= (uint32_t)count;
        if (relay.input_start == relay.input_end)
            relay.input_start = relay.input_end = 0;
    }
    if (!relay.in_open && relay.input_start == relay.input_end && relay.options->has_in) {
        static bool ended;
        if (!ended)
            to_guest(FRAME_INPUT_END, NULL, 0);
        ended = true;
    }
}

static void write_to_guest(void) {
    ssize_t done = send(relay.qemu->console, relay.to_guest + relay.to_start, relay.to_end - relay.to_start,
                        MSG_NOSIGNAL | MSG_DONTWAIT);

    if (done > 0)
        relay.to_start += (size_t)done;
    else if (done < 0 && errno != EAGAIN && errno != EINTR)
        relay.to_start = relay.to_end; /* nobody listens any more; reading tells why */
}

/* Whoever reads the output has gone: the program gets what it would get from Linux when it writes on. */
static void output_closed(int fd) {
    relay.discard[fd] = true;
    if (errno == EPIPE) {
        send_signal(SIGPIPE);
    } else {
        say("standard %s: %s", fd == STDOUT_FILENO ? "output" : "error", strerror(errno));
        relay.status = STATUS_FAILED;
    }
}

/* What was written, or thrown away, may come again: together with what could not be said before. */
static void grant(uint32_t bytes) {
    uint8_t payload[4];

    relay.owed += relay.options->windowed ? bytes : 0;
    if (relay.owed == 0 || relay.to_start != relay.to_end)
        return;
    frame_number_payload(payload, relay.owed);
    to_guest(FRAME_GRANT, payload, sizeof(payload));
    relay.owed = 0;
}

/* Writes of the current output what can be written without waiting. */
static void write_output(void) {
    while (relay.output_fd >= 0 && relay.status < 0) {
        int fd = relay.output_fd;
        size_t left = relay.output.length - relay.output_done;
        struct pollfd ready = {.fd = fd, .events = POLLOUT};

        if (left == 0 || relay.discard[fd]) {
            relay.output_fd = -1;
            grant(relay.output.length);
            return;
        }
        if (!relay.is_file[fd]) {
            if (poll(&ready, 1, 0) <= 0)
                return;
            left = left < PIPE_BUF ? left : PIPE_BUF; /* a pipe that is ready takes so much */
        }
        ssize_t done = write(fd, relay.output.payload + relay.output_done, left);
        if (done >= 0)
            relay.output_done += (size_t)done;
        else if (errno == EAGAIN || errno == EINTR)
            return;
        else
            output_closed(fd);
    }
}

static void print_message(const struct frame *frame) {
    size_t length = frame->length;

    while (length > 0 && (frame->payload[length - 1] == '\n' || frame->payload[length - 1] == '\r'))
        length--;
    say("%.*s", (int)length, (const char *)frame->payload);
    relay.said = true;
}

static void take_frame(const struct frame *frame) {
    switch (frame->type) {
    case FRAME_OUTPUT:
    case FRAME_ERROR:
        relay.output = *frame;
        relay.output_done = 0;
        relay.output_fd = frame->type == FRAME_OUTPUT ? STDOUT_FILENO : STDERR_FILENO;
        write_output();
        break;
    case FRAME_WINDOW: {
        uint32_t more = frame_number(frame);
        relay.window = more > UINT32_MAX - relay.window ? UINT32_MAX : relay.window + more;
        break;
    }
    case FRAME_MESSAGE: print_message(frame); break;
    case FRAME_EXIT:
        relay.status = frame_exit_status(frame);
        if (relay.status < 0) {
            say("the guest gave no valid exit status");
            relay.status = STATUS_FAILED;
        } else if (frame->payload[0] == EXIT_KIND_KNARR && relay.status == STATUS_FAILED && !relay.said) {
            say("the kernel failed");
        }
        if (frame->length == 8 && frame->payload[0] == EXIT_KIND_KNARR && relay.status == STATUS_FAILED)
            relay.log.failed = true;
        break;
    }
}

/* All frames that are complete, as long as their output can be written. */
static void take_frames(void) {
    struct frame frame;
    int got = 0;

    while (relay.output_fd < 0 && relay.status < 0 && (got = frame_next(&relay.decoder, &frame)) == 1)
        take_frame(&frame);
    if (got < 0) {
        say("the guest does not speak the protocol of this knarr (docs/boot-protocol.md)");
        relay.log.failed = true;
        relay.status = STATUS_FAILED;
    }
}

/* Reads the console. False at its end. */
static bool read_console(void) {
    size_t space;
    uint8_t *to = frame_space(&relay.decoder, &space);
    ssize_t got = read(relay.qemu->console, to, space);

    if (got > 0)
        relay.decoder.end += (size_t)got;
    return got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR));
}

/* One round of the loop: waits for something to do and does it. */
static void round_trip(void) {
    enum { SIGNALS, CONSOLE, LOG, ERRORS, IN, OUT, COUNT };
    bool wants_input = relay.in_open && (relay.options->raw || (relay.window > 0 && relay.input_end == 0));
    struct pollfd fds[COUNT] = {
        [SIGNALS] = {.fd = signal_pipe[0], .events = POLLIN},
        [CONSOLE] = {.fd = relay.qemu->console,
                     .events =
                         (short)((relay.output_fd < 0 ? POLLIN : 0) | (relay.to_start < relay.to_end ? POLLOUT : 0))},
        [LOG] = {.fd = relay.qemu->log, .events = POLLIN},
        [ERRORS] = {.fd = relay.qemu->errors, .events = POLLIN},
        [IN] = {.fd = wants_input ? STDIN_FILENO : -1, .events = POLLIN},
        [OUT] = {.fd = relay.output_fd, .events = POLLOUT},
    };

    if (fds[CONSOLE].events == 0)
        fds[CONSOLE].fd = -1; /* its end is not news while there is output to write */
    if (poll(fds, COUNT, -1) < 0)
        return;
    if (fds[SIGNALS].revents)
        take_signals();
    if (fds[LOG].revents && !log_read(&relay.log, relay.qemu->log))
        close_fd(&relay.qemu->log);
    if (fds[ERRORS].revents && !log_read(&relay.log, relay.qemu->errors))
        close_fd(&relay.qemu->errors);
    if (fds[OUT].revents)
        write_output();
    if (fds[IN].revents)
        read_input();
    if (relay.output_fd < 0) {
        bool open = !(fds[CONSOLE].revents & ~POLLOUT) || read_console();
        take_frames();
        if (!open && relay.output_fd < 0)
            close_fd(&relay.qemu->console);
    }
    grant(0);
    pass_input();
    if (relay.to_start < relay.to_end && relay.qemu->console >= 0)
        write_to_guest();
}

static bool is_file(int fd) {
    struct stat status;

    return fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
}

int relay_run(struct qemu *qemu, const struct relay_options *options) {
    relay.qemu = qemu;
    relay.options = options;
    relay.output_fd = -1;
    relay.status = -1;
    relay.in_open = options->has_in;
    relay.log.show = options->show_log;
    for (int fd = STDOUT_FILENO; fd <= STDERR_FILENO; fd++)
        relay.is_file[fd] = is_file(fd);
    send_size();
    grant(OUTPUT_WINDOW);

    while (relay.status < 0 && qemu->console >= 0)
        round_trip();

    if (!options->remote)
        return ending(qemu, &relay.log, relay.status);
    if (relay.status < 0)
        say("the machine's monitor has gone");
    return relay.status < 0 ? STATUS_FAILED : relay.status;
}
