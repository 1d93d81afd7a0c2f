/*
 * Connections to monitors; see the header.
 */
#include "tools/machine/connect.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { EARLY_MS = 2000 };

int monitor_connect(const struct machine *machine) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/monitor.sock", machine->directory);
    for (int waited = 0; machine_is_running(machine); waited += 20) {
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
            die(STATUS_FAILED, "socket: %s", strerror(errno));
        if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
            return fd;
        close(fd);
        if (waited >= EARLY_MS) /* it has only just begun */
            break;
        poll(NULL, 0, 20);
    }
    return -1;
}

int monitor_need(const struct machine *machine, const char *word) {
    int fd = monitor_connect(machine);

    if (fd < 0)
        die(STATUS_FAILED, "%s: the machine does not run", word);
    return fd;
}

bool monitor_say(int fd, uint8_t type, const void *payload, uint16_t size) {
    uint8_t frame[FRAME_HEADER + FRAME_PAYLOAD_MAX];
    size_t length = frame_put(frame, type, 0, payload, size);

    for (size_t at = 0; at < length;) {
        ssize_t done = send(fd, frame + at, length - at, MSG_NOSIGNAL);
        if (done < 0 && errno != EINTR)
            return false;
        at += done > 0 ? (size_t)done : 0;
    }
    return true;
}

bool monitor_hear(int fd, struct frame_decoder *decoder, struct frame *frame) {
    decoder->types = FRAMES_OF_GUEST "akt";
    for (;;) {
        int got = frame_next(decoder, frame);
        if (got != 0)
            return got > 0;
        size_t space;
        uint8_t *to = frame_space(decoder, &space);
        ssize_t size = recv(fd, to, space, 0);
        if (size == 0 || (size < 0 && errno != EINTR))
            return false;
        decoder->end += size > 0 ? (size_t)size : 0;
    }
}

int monitor_wait_exit(int fd, struct machine *machine) {
    static struct frame_decoder decoder;
    struct frame frame;

    while (fd >= 0 && monitor_hear(fd, &decoder, &frame)) {
        int status = frame.type == FRAME_EXIT ? frame_exit_status(&frame) : -1;
        if (status >= 0)
            return status;
    }
    if (!machine_reload(machine))
        return STATUS_FAILED;
    return strcmp(machine_text(machine, "status"), "exited") == 0
               ? (int)json_integer_value(json_object_get(machine->json, "exitCode"))
               : STATUS_FAILED;
}
