// The frames on the console between host and guest, docs/boot-protocol.md: u8 type, u8 session, u16 length (little endian), then
// `length` bytes. This side writes O E W M X and reads I Z S K. No lock, no state but the reader's.
#ifndef FS_FRAME_H
#define FS_FRAME_H

#include "kernel/types.h"

#define FRAME_HEADER_SIZE 4
#define FRAME_CONTROL_MAX 8 // payload of the frames that are handed over whole; what is behind is skipped

struct frame_sink {
    // Bytes of an I or R frame, in any portions.
    void (*input)(void *arg, uint8_t session, uint8_t type, const uint8_t *data, size_t n);
    // Any other frame, when it is complete, and an R frame without bytes.
    void (*control)(void *arg, uint8_t session, uint8_t type, const uint8_t *data, size_t n);
};

// Takes a stream of frames in any portions. All zero is the start.
struct frame_reader {
    uint8_t header[FRAME_HEADER_SIZE], control[FRAME_CONTROL_MAX];
    uint8_t header_have;
    uint16_t length, have; // of the payload: whole, and taken so far
    bool lost;             // the stream is not one of frames: all that follows is ignored
};
// False: it just lost the stream (once).
bool frame_read(struct frame_reader *r, const uint8_t *data, size_t n, const struct frame_sink *sink, void *arg);
void frame_put_header(uint8_t out[FRAME_HEADER_SIZE], uint8_t type, uint16_t length);

#endif
