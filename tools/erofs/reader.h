/*
 * Looks files up in an EROFS image, as the guest will: to say early what is wrong with a program, or that it is not there. Nothing in
 * the image is trusted.
 */
#pragma once

#include <sys/types.h>

#include "tools/common.h"

struct erofs_image {
    int fd;
    uint64_t start; /* where it begins in the file */
    uint64_t size;  /* of what the file has from there on */
    unsigned block_bits;
    uint64_t meta; /* where inodes are counted from, in bytes */
    uint64_t root; /* nid */
};

struct erofs_file {
    uint64_t nid, size;
    uint64_t data; /* whole blocks, or the chunks' numbers */
    uint64_t tail; /* what lies behind the inode */
    uint32_t mode;
    unsigned layout, chunk_format;
};

/* Whether the file begins as an EROFS image. */
bool erofs_is_image(int fd);

/* NULL, or what is wrong with the image. */
const char *erofs_open(struct erofs_image *image, int fd);
/* The same of an image that lies in `size` bytes of a file from `start` on. */
const char *erofs_open_at(struct erofs_image *image, int fd, uint64_t start, uint64_t size);

/* Follows an absolute path with its symbolic links. False with errno (ENOENT, ENOTDIR, ELOOP, EIO, ...) when it is not there. */
bool erofs_lookup(const struct erofs_image *image, const char *path, struct erofs_file *file);

/* The whole content of a regular file of at most `most` bytes, with a NUL behind it, allocated; NULL when it is not there or not such. */
char *erofs_read_file(const struct erofs_image *image, const char *path, size_t most);

/* Calls for each name in a directory, "." and ".." left out, until one answers false. False with errno when the directory is damaged. */
bool erofs_list(const struct erofs_image *image, const struct erofs_file *dir,
                bool (*each)(void *context, const char *name, const struct erofs_file *file), void *context);

/* Reads from a file or symbolic link. Returns how many bytes there were, or -1 with errno. */
ssize_t erofs_read(const struct erofs_image *image, const struct erofs_file *file, void *data, size_t size,
                   uint64_t offset);
