/*
 * Encodes and decodes the frames on the virtio console; see the header.
 */
#include "tools/frame.h"

#include <string.h>

#include "tools/common.h"

uint8_t *frame_space(struct frame_decoder *decoder, size_t *size) {
    /* The tail is moved only when the space behind it could not hold a whole frame: seldom. */
    if (sizeof(decoder->bytes) - decoder->end < FRAME_HEADER + FRAME_PAYLOAD_MAX) {
        memmove(decoder->bytes, decoder->bytes + decoder->start, decoder->end - decoder->start);
        decoder->end -= decoder->start;
        decoder->start = 0;
    }
    *size = sizeof(decoder->bytes) - decoder->end;
    return decoder->bytes + decoder->end;
}

int frame_next(struct frame_decoder *decoder, struct frame *frame) {
    const uint8_t *bytes = decoder->bytes + decoder->start;
    size_t available = decoder->end - decoder->start;

    if (available < FRAME_HEADER)
        return 0;
    frame->type = bytes[0];
    frame->session = bytes[1];
    frame->length = (uint16_t)(bytes[2] | bytes[3] << 8);
    frame->payload = bytes + FRAME_HEADER;
    if (frame->type == 0 || (frame->session != 0 && !decoder->sessions) || !strchr(decoder->types ? decoder->types : FRAMES_OF_GUEST, frame->type))
        return -1;
    if (available < FRAME_HEADER + (size_t)frame->length)
        return 0;
    decoder->start += FRAME_HEADER + (size_t)frame->length;
    return 1;
}

size_t frame_put(uint8_t *out, uint8_t type, uint8_t session, const void *payload, uint16_t length) {
    out[0] = type;
    out[1] = session;
    out[2] = (uint8_t)length;
    out[3] = (uint8_t)(length >> 8);
    if (length > 0 && payload != out + FRAME_HEADER)
        memcpy(out + FRAME_HEADER, payload, length);
    return FRAME_HEADER + (size_t)length;
}

static uint32_t le32(const uint8_t *bytes) {
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

int frame_exit_status(const struct frame *frame) {
    if (frame->type != FRAME_EXIT || frame->length != 8)
        return -1;

    uint32_t code = le32(frame->payload + 4);
    switch (frame->payload[0]) {
    case EXIT_KIND_EXITED: return code & 0xff;
    case EXIT_KIND_SIGNALED: return code >= 1 && code <= 64 ? STATUS_SIGNAL + (int)code : -1;
    case EXIT_KIND_KNARR:
        /* 0 is the answer to a probe. */
        return code == 0 || code == STATUS_CHECK || (code >= STATUS_FAILED && code <= STATUS_NOT_FOUND) ? (int)code
                                                                                                        : -1;
    default: return -1;
    }
}

uint32_t frame_number(const struct frame *frame) { return frame->length == 4 ? le32(frame->payload) : 0; }

void frame_number_payload(uint8_t payload[4], uint32_t number) {
    for (int i = 0; i < 4; i++)
        payload[i] = (uint8_t)(number >> 8 * i);
}
