/*
 * The boot partition: a FAT file system made by mtools inside a larger file.
 */
#pragma once

#include "tools/common.h"

struct fat_file {
    const char *path; /* "/EFI/BOOT/BOOTX64.EFI"; directories come before what is in them, with no data */
    const void *data; /* NULL: a directory */
    size_t size;
};

/* How many sectors a file system for these needs, with `slack` bytes left over; whole MiB. */
uint64_t fat_sectors(const struct fat_file *files, size_t count, uint64_t slack);

/* Makes it at a byte of a file that has only zeros there. The same files give the same bytes. Dies when it cannot. */
void fat_make(int fd, uint64_t start, uint64_t sectors, const struct fat_file *files, size_t count);
