/*
 * Writes a newc cpio archive, the format of Linux's initramfs, so that the data of every file of a page or more starts on
 * a page boundary: the guest takes such pages over in place. The name is padded with NULs to get there.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

enum { CPIO_ALIGN = 4096, CPIO_HEADER = 110 };

struct cpio {
    FILE *file;
    uint64_t offset; /* how much has been written */
};

struct cpio_member {
    const char *path; /* no leading slash */
    uint32_t ino, mode, uid, gid, nlink, mtime, rdev_major, rdev_minor;
    uint64_t size; /* of the data that will follow; at most UINT32_MAX */
};

/* Writes the header and the name. Returns the offset where the data is going to start. */
uint64_t cpio_header(struct cpio *cpio, const struct cpio_member *member);

/* Writes a portion of the data. The portions must add up to the member's size. */
void cpio_data(struct cpio *cpio, const void *data, size_t size);

/* Ends the data: pads to the next header. */
void cpio_pad(struct cpio *cpio);

/* Header, data and padding in one. */
void cpio_add(struct cpio *cpio, const struct cpio_member *member, const void *data);

/* Ends the archive and flushes; false with errno when anything could not be written. */
bool cpio_end(struct cpio *cpio);
