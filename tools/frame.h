/*
 * The frames on the virtio console between knarr and the guest: docs/boot-protocol.md. A frame is a header of four bytes
 * (type, session, length as little-endian u16) and its payload. The decoder takes the guest's bytes in any portions; the
 * encoder appends to a buffer. Nothing that the guest sends is trusted.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    FRAME_OUTPUT = 'O',
    FRAME_ERROR = 'E',
    FRAME_WINDOW = 'W',
    FRAME_MESSAGE = 'M',
    FRAME_EXIT = 'X',
    FRAME_STARTED = 'P', /* the program has been started */
    FRAME_INPUT = 'I',
    FRAME_INPUT_END = 'Z',
    FRAME_SIZE = 'S',
    FRAME_SIGNAL = 'K',
    FRAME_RECORDS = 'R', /* of a session: what it is to do; an empty one starts it */
    FRAME_GRANT = 'V',   /* of a session: so many more bytes of output may come */
};

#define FRAMES_OF_GUEST "OEWMXP"

enum { FRAME_HEADER = 4, FRAME_PAYLOAD_MAX = 65535 };

enum { EXIT_KIND_EXITED = 0, EXIT_KIND_SIGNALED = 1, EXIT_KIND_KNARR = 2 };

/* What the other side has sent and nobody has looked at yet. All zero is an empty one. */
struct frame_decoder {
    const char *types; /* of frames that there are; NULL: FRAMES_OF_GUEST */
    bool sessions;     /* they may be of other sessions than 0 */
    size_t start, end; /* the bytes to decode */
    uint8_t bytes[2 * (FRAME_HEADER + FRAME_PAYLOAD_MAX)];
};

struct frame {
    uint8_t type, session; /* session 0: the program */
    uint16_t length;
    const uint8_t *payload; /* valid until the decoder is filled again */
};

/* Where to read more bytes to and how many fit; afterwards add those that came to decoder->end. */
uint8_t *frame_space(struct frame_decoder *decoder, size_t *size);

/* Takes the next frame: 1 with it in *frame, 0 when more bytes are needed, -1 when the stream is not one of frames. */
int frame_next(struct frame_decoder *decoder, struct frame *frame);

/* Appends a frame to out, which has room for FRAME_HEADER + length bytes. Returns that number. */
size_t frame_put(uint8_t *out, uint8_t type, uint8_t session, const void *payload, uint16_t length);

/* The payload of an exit frame as an exit status of knarr; -1 when it is not one. */
int frame_exit_status(const struct frame *frame);

/* The u32 of a frame that has one and nothing else (FRAME_WINDOW, FRAME_GRANT); 0 when it is not one. */
uint32_t frame_number(const struct frame *frame);

/* Such a payload. */
void frame_number_payload(uint8_t payload[4], uint32_t number);
