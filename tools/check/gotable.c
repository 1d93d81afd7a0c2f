/*
 * The functions of a Go program: its runtime carries a table of them (.gopclntab), stripped or not. Three layouts are known: of Go
 * 1.2 to 1.15, 1.16 and 1.17, and since 1.18. An unknown one is left alone; symbols may be there.
 */
#include "tools/check/object.h"

#include <string.h>

static uint64_t get(const uint8_t *table, size_t length, uint64_t at, size_t bytes) {
    uint64_t value = 0;

    if (at <= length && bytes <= length - at)
        memcpy(&value, table + at, bytes);
    return value;
}

static const char *name_at(const uint8_t *table, size_t length, uint64_t at) {
    return at < length && memchr(table + at, 0, length - at) ? (const char *)table + at : NULL;
}

void object_read_go(struct object *object, const uint8_t *table, size_t length) {
    uint64_t magic = get(table, length, 0, 4), count = get(table, length, 8, 8);
    uint64_t text = 0, names = 0, functions;
    size_t width = 8;

    if (length < 72 || table[7] != 8)
        return;
    object->is_go = true;
    if (magic == 0xfffffff0 || magic == 0xfffffff1) {
        text = get(table, length, 24, 8);
        names = get(table, length, 32, 8);
        functions = get(table, length, 64, 8);
        width = 4;
    } else if (magic == 0xfffffffa) {
        names = get(table, length, 24, 8);
        functions = get(table, length, 56, 8);
    } else if (magic == 0xfffffffb) {
        functions = 16;
    } else {
        return;
    }
    if (functions > length || count > (length - functions) / (2 * width))
        return;
    /* Programs that are position independent leave the text's start to the linker. */
    if (width == 4 && text == 0)
        for (size_t i = 0; i < object->segment_count && !text; i++)
            if (object->segments[i].executable)
                text = object->segments[i].address;
    uint64_t base = magic == 0xfffffffb ? 0 : functions;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t start = get(table, length, functions + 2 * i * width, width);
        uint64_t info = get(table, length, functions + (2 * i + 1) * width, width) + base;
        uint64_t end = get(table, length, functions + 2 * (i + 1) * width, width);
        uint64_t name = get(table, length, info + width, 4);
        object_add_extent(object, text + start, text + end, name_at(table, length, names + name));
    }
    object->has_names = true;
}
