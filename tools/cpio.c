/*
 * The writer of newc cpio archives; see the header. A failed write is remembered by the stream and reported at the end.
 */
#include "tools/cpio.h"

#include <string.h>

static const char zeros[CPIO_ALIGN];

void cpio_data(struct cpio *cpio, const void *data, size_t size) {
    if (size > 0)
        fwrite(data, 1, size, cpio->file);
    cpio->offset += size;
}

void cpio_pad(struct cpio *cpio) { cpio_data(cpio, zeros, -cpio->offset % 4); }

uint64_t cpio_header(struct cpio *cpio, const struct cpio_member *member) {
    size_t name = strlen(member->path) + 1;
    uint64_t data = cpio->offset + CPIO_HEADER + name;
    uint64_t aligned = member->size >= CPIO_ALIGN ? -data % CPIO_ALIGN : 0;
    char header[CPIO_HEADER + 1];

    snprintf(header, sizeof(header), "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X", member->ino,
             member->mode, member->uid, member->gid, member->nlink, member->mtime, (uint32_t)member->size, 0, 0,
             member->rdev_major, member->rdev_minor, (uint32_t)(name + aligned), 0);
    cpio_data(cpio, header, CPIO_HEADER);
    cpio_data(cpio, member->path, name);
    cpio_data(cpio, zeros, aligned);
    cpio_pad(cpio);
    return cpio->offset;
}

void cpio_add(struct cpio *cpio, const struct cpio_member *member, const void *data) {
    cpio_header(cpio, member);
    if (member->size > 0)
        cpio_data(cpio, data, member->size);
    cpio_pad(cpio);
}

bool cpio_end(struct cpio *cpio) {
    cpio_add(cpio, &(struct cpio_member){.path = "TRAILER!!!", .nlink = 1}, "");
    return fflush(cpio->file) == 0 && !ferror(cpio->file);
}
