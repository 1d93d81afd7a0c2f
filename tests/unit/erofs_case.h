/* An EROFS image on a fake disk, mounted by the real file system: for test_erofs.c and the fuzzer. */
#ifndef TESTS_UNIT_EROFS_CASE_H
#define TESTS_UNIT_EROFS_CASE_H

#include "fs/vfs.h"

struct erofs_disk {
    const unsigned char *data; /* the image */
    size_t size;               /* rounded up to sectors by zeroes */
    bool in_memory;            /* as in the initrd */
    bool later;                /* requests end when somebody sleeps, the last one first */
    unsigned block_size;       /* of the disk */
    long fail_after;           /* requests; those behind it end with -EIO; -1: never */
    unsigned segments_max;
    /* What happened. */
    unsigned long requests, bytes, segments, waits;
};
extern struct erofs_disk erofs_disk;

void erofs_disk_set(const void *data, size_t size, bool in_memory); /* all else to its usual value */
struct superblock *erofs_case_mount(const char *options);           /* ERR_PTR */
int erofs_case_attach(const char *at);                              /* mounts it there, by name: 0 or -errno */
void erofs_case_detach(const char *at);
void erofs_case_wander(const char *dir); /* looks at everything, to a limit: errors are answers, too */
/* One input of the fuzzer: an image, in whose first bytes, where a boot sector would be, is chosen what the disk is like. */
void erofs_case_fuzz(const unsigned char *data, size_t size);

#endif
