/*
 * One who is connected to a monitor: what is to be written to it, what it has sent, and what it wants. Belongs to monitor.c.
 */
#pragma once

#include "tools/frame.h"

enum client_role { CLIENT_NEW, CLIENT_ATTACHED, CLIENT_SESSION, CLIENT_WAITING, CLIENT_LEAVING };

enum {
    CLIENT_INPUT = 32 << 10,     /* bytes that are granted to one who is attached */
    CLIENT_OUT_FULL = 256 << 10, /* from here on the machine waits for the one in the foreground */
    CLIENT_OUT_MOST = 4 << 20,   /* who reads less than that much too slowly is let go */
    CLIENT_RECORDS_MOST = 1 << 20,
};

struct client {
    struct client *next;
    int fd;
    enum client_role role;
    bool foreground, has_input, input_ended, stops;
    uint8_t session;
    struct frame_decoder decoder;
    uint8_t *out;
    size_t out_start, out_end, out_room;
    uint8_t input[CLIENT_INPUT]; /* for the program, when it has room */
    size_t input_start, input_end;
    uint8_t *records; /* of a session that is not started yet */
    size_t records_size;
};

struct client *client_new(int fd);
void client_free(struct client *client); /* closes the socket */

/* A frame for it (of session 0); it comes when there is room. */
void client_send(struct client *client, uint8_t type, const void *payload, size_t size);
size_t client_waiting(const struct client *client); /* bytes that are not written yet */

/* Writes and reads what can be done without waiting. False: it has gone. */
bool client_write(struct client *client);
bool client_read(struct client *client);
