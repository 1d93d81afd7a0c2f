// The frames on the console: see fs/frame.h and docs/boot-protocol.md.
#include "fs/frame.h"

#include "kernel/string.h"

void frame_put_header(uint8_t out[FRAME_HEADER_SIZE], uint8_t type, uint16_t length) {
    out[0] = type;
    out[1] = 0;
    out[2] = (uint8_t)length;
    out[3] = (uint8_t)(length >> 8);
}

static bool in_portions(const struct frame_reader *r) { return r->header[0] == 'I' || r->header[0] == 'R'; }

static void payload(struct frame_reader *r, const uint8_t *data, size_t n, const struct frame_sink *sink, void *arg) {
    if (in_portions(r)) {
        sink->input(arg, r->header[1], r->header[0], data, n);
    } else if (r->have < FRAME_CONTROL_MAX) {
        memcpy(r->control + r->have, data, MIN(n, (size_t)(FRAME_CONTROL_MAX - r->have)));
    }
    r->have = (uint16_t)(r->have + n);
}

bool frame_read(struct frame_reader *r, const uint8_t *data, size_t n, const struct frame_sink *sink, void *arg) {
    if (r->lost)
        return true;
    while (n > 0) {
        if (r->header_have < FRAME_HEADER_SIZE) {
            r->header[r->header_have++] = *data++;
            n--;
            if (r->header_have == 2 && r->header[1] != 0 && !strchr("IZSKRV", r->header[0] ? r->header[0] : '?')) {
                r->lost = true;
                return false;
            }
            if (r->header_have < FRAME_HEADER_SIZE)
                continue;
            r->length = (uint16_t)(r->header[2] | r->header[3] << 8);
            r->have = 0;
        } else {
            size_t some = MIN(n, (size_t)(r->length - r->have));
            payload(r, data, some, sink, arg);
            data += some;
            n -= some;
        }
        if (r->have == r->length) {
            r->header_have = 0;
            if (!in_portions(r) || (r->header[0] == 'R' && r->length == 0))
                sink->control(arg, r->header[1], r->header[0], r->control, MIN(r->length, FRAME_CONTROL_MAX));
        }
    }
    return true;
}
