/*
 * The frames on the virtio console between knarr and the guest: docs/boot-protocol.md. A frame is a header of four bytes
 * (type, 0, length as little-endian u16) and its payload. The decoder takes the guest's bytes in any portions; the
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
    FRAME_INPUT = 'I',
    FRAME_INPUT_END = 'Z',
    FRAME_SIZE = 'S',
    FRAME_SIGNAL = 'K',
};

enum { FRAME_HEADER = 4, FRAME_PAYLOAD_MAX = 65535 };

enum { EXIT_KIND_EXITED = 0, EXIT_KIND_SIGNALED = 1, EXIT_KIND_KNARR = 2 };

/* What the guest has sent and nobody has looked at yet. All zero is an empty one. */
struct frame_decoder {
    size_t start, end; /* the bytes to decode */
    uint8_t bytes[2 * (FRAME_HEADER + FRAME_PAYLOAD_MAX)];
};

struct frame {
    uint8_t type;
    uint16_t length;
    const uint8_t *payload; /* valid until the decoder is filled again */
};

/* Where to read more bytes to and how many fit; afterwards add those that came to decoder->end. */
uint8_t *frame_space(struct frame_decoder *decoder, size_t *size);

/* Takes the next frame: 1 with it in *frame, 0 when more bytes are needed, -1 when the stream is not one of frames. */
int frame_next(struct frame_decoder *decoder, struct frame *frame);

/* Appends a frame to out, which has room for FRAME_HEADER + length bytes. Returns that number. */
size_t frame_put(uint8_t *out, uint8_t type, const void *payload, uint16_t length);

/* The payload of an exit frame as an exit status of knarr; -1 when it is not one. */
int frame_exit_status(const struct frame *frame);

/* The u32 of a window frame; 0 when it is not one. */
uint32_t frame_window(const struct frame *frame);
