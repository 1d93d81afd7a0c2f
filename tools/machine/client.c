/*
 * Clients of a monitor; see the header.
 */
#include "tools/machine/client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tools/common.h"

struct client *client_new(int fd) {
    struct client *client = calloc(1, sizeof(*client));

    if (!client)
        die(STATUS_FAILED, "out of memory");
    client->fd = fd;
    client->decoder.types = "axskwtIZSKV";
    return client;
}

void client_free(struct client *client) {
    close(client->fd);
    free(client->out);
    free(client->records);
    free(client);
}

size_t client_waiting(const struct client *client) { return client->out_end - client->out_start; }

void client_send(struct client *client, uint8_t type, const void *payload, size_t size) {
    size_t waiting = client_waiting(client), needed = waiting + FRAME_HEADER + size;

    if (client->out_end + FRAME_HEADER + size > client->out_room) {
        if (waiting > 0)
            memmove(client->out, client->out + client->out_start, waiting);
        client->out_start = 0;
        client->out_end = waiting;
        if (needed > client->out_room)
            client->out = xrealloc(client->out, client->out_room = 2 * needed);
    }
    client->out_end += frame_put(client->out + client->out_end, type, 0, payload, (uint16_t)size);
}

bool client_write(struct client *client) {
    while (client_waiting(client) > 0) {
        ssize_t done =
            send(client->fd, client->out + client->out_start, client_waiting(client), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (done < 0)
            return errno == EAGAIN || errno == EINTR;
        client->out_start += (size_t)done;
    }
    client->out_start = client->out_end = 0;
    return true;
}

bool client_read(struct client *client) {
    size_t space;
    uint8_t *to = frame_space(&client->decoder, &space);
    ssize_t got = recv(client->fd, to, space, MSG_DONTWAIT);

    if (got > 0)
        client->decoder.end += (size_t)got;
    return got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR));
}
