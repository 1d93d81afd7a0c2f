/*
 * Functions by the descriptions that unwinders use (.eh_frame, as the Linux Standard Base has it): they are there in stripped files,
 * too, and say where each function begins and ends.
 */
#include "tools/check/object.h"

#include <string.h>

struct reader {
    const uint8_t *at, *end;
    bool sound;
};

static uint64_t take(struct reader *r, size_t bytes) {
    uint64_t value = 0;

    if ((size_t)(r->end - r->at) < bytes) {
        r->sound = false;
        r->at = r->end;
        return 0;
    }
    memcpy(&value, r->at, bytes);
    r->at += bytes;
    return value;
}

static uint64_t take_leb(struct reader *r) {
    uint64_t value = 0;
    unsigned shift = 0;
    uint8_t byte;

    do {
        byte = (uint8_t)take(r, 1);
        if (shift < 64)
            value |= (uint64_t)(byte & 0x7f) << shift;
        shift += 7;
    } while (byte & 0x80 && r->sound);
    return value;
}

/* A pointer in one of the encodings (DW_EH_PE_*); place: the address of its first byte. */
static uint64_t take_pointer(struct reader *r, unsigned encoding, uint64_t place) {
    uint64_t value;

    switch (encoding & 0x0f) {
    case 0x00:
    case 0x04:
    case 0x0c: value = take(r, 8); break;
    case 0x02: value = take(r, 2); break;
    case 0x0a: value = (uint64_t)(int64_t)(int16_t)take(r, 2); break;
    case 0x03: value = take(r, 4); break;
    case 0x0b: value = (uint64_t)(int64_t)(int32_t)take(r, 4); break;
    default: r->sound = false; return 0;
    }
    return (encoding & 0x70) == 0x10 ? value + place : value;
}

/* The encoding of addresses in the descriptions that belong to a common one (CIE); 0xff: not understood. */
static unsigned read_common(struct reader r, uint64_t place) {
    const uint8_t *base = r.at;
    unsigned version = (unsigned)take(&r, 1);
    const char *augmentation = (const char *)r.at;
    const uint8_t *zero = memchr(r.at, 0, (size_t)(r.end - r.at));

    if (!zero || (version != 1 && version != 3))
        return 0xff;
    r.at = zero + 1;
    take_leb(&r);
    take_leb(&r);
    version == 1 ? take(&r, 1) : take_leb(&r);
    if (*augmentation != 'z')
        return *augmentation ? 0xff : 0;
    take_leb(&r);
    for (const char *c = augmentation + 1; *c && r.sound; c++) {
        if (*c == 'R')
            return (unsigned)take(&r, 1);
        if (*c == 'P') {
            unsigned encoding = (unsigned)take(&r, 1);
            take_pointer(&r, encoding, place + (uint64_t)(r.at - base));
        } else if (*c == 'L') {
            take(&r, 1);
        } else if (*c != 'S' && *c != 'B') {
            return 0xff;
        }
    }
    return r.sound ? 0 : 0xff;
}

void object_read_frames(struct object *object, uint64_t address, size_t length) {
    size_t available, last_common = SIZE_MAX;
    const uint8_t *base = object_at(object, address, &available);
    unsigned encoding = 0xff;
    size_t at = 0;

    length = base ? (length < available ? length : available) : 0;
    while (length - at >= 8) {
        struct reader r = {base + at, base + length, true};
        uint64_t size = take(&r, 4);
        if (size == 0xffffffff)
            size = take(&r, 8);
        size_t body = (size_t)(r.at - base);
        if (!r.sound || size < 4 || size > length - body)
            break; /* 0 is the end */
        r.end = base + body + size;
        uint64_t back = take(&r, 4);
        at = body + size;
        if (back == 0)
            continue; /* a common one: read when it is needed */
        if (back > body)
            continue;
        size_t common = body - back;
        if (common != last_common) {
            struct reader c = {base + common, base + length, true};
            uint64_t common_size = take(&c, 4);
            if (!c.sound || common_size > (size_t)(c.end - c.at) || common_size < 4)
                continue;
            c.end = c.at + common_size;
            encoding = take(&c, 4) == 0 ? read_common(c, address + (uint64_t)(c.at - base)) : 0xff;
            last_common = common;
        }
        if (encoding == 0xff)
            continue;
        uint64_t start = take_pointer(&r, encoding, address + (uint64_t)(r.at - base));
        uint64_t extent = take_pointer(&r, encoding & 0x0f, 0);
        if (r.sound)
            object_add_extent(object, start, start + extent, NULL);
    }
}
