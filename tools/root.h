/*
 * What --root names: an EROFS image is used as it is, a directory or a tar archive is packed into one, a cpio archive becomes part of
 * the initrd. A small image lies in the initrd, where the guest uses it in place; a large one is the guest's first disk.
 */
#pragma once

#include "tools/erofs/reader.h"
#include "tools/options.h"

enum root_kind { ROOT_NONE, ROOT_CPIO, ROOT_IMAGE };

struct root {
    enum root_kind kind;
    int fd;        /* the archive or the image */
    uint64_t size; /* of the image */
    bool is_disk;
    char *path;         /* of the image, for QEMU; readable with the descriptors of this process */
    const char *source; /* where the guest finds it */
    struct erofs_image image;
};

/* Dies when it cannot be used. */
struct root root_open(const struct run_options *options);
