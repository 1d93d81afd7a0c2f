/*
 * A GUID partition table (UEFI specification, chapter 5) with a protective MBR.
 */
#pragma once

#include "tools/common.h"

enum { SECTOR = 512, GPT_FIRST = 34, GPT_BEHIND = 33, GPT_ENTRIES = 128 };

struct partition {
    uint8_t type[16]; /* as on the disk */
    const char *name; /* ASCII, at most 35 characters */
    uint64_t start, sectors;
};

extern const uint8_t gpt_type_bios_boot[16], gpt_type_efi_system[16], gpt_type_linux[16];

/*
 * Writes the table, its copy at the end and the MBR with `boot` (440 bytes of code) in it. The disk's GUID and those of the
 * partitions are made of the 32 bytes of seed. False with errno when it cannot be written.
 */
bool gpt_write(int fd, uint64_t sectors, const struct partition *partitions, size_t count, const uint8_t *boot,
               const uint8_t seed[32]);

/* Whether the file has such a table. */
bool gpt_is_there(int fd);

/*
 * The first partition of that name: true with its place in bytes, which lies within the file of that size. Nothing on the disk is
 * trusted.
 */
bool gpt_find(int fd, uint64_t size, const char *name, uint64_t *start, uint64_t *length);
