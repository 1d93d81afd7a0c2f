/*
 * GUID partition tables; see the header.
 */
#include "tools/image/gpt.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SIGNATURE 0x5452415020494645ULL /* "EFI PART" */

enum { ENTRY = 128, NAME = 36, BOOT_CODE = 440, MBR_TABLE = 446, HEADER = 92, ENTRIES_MOST = 1024 };

struct gpt_header {
    uint64_t signature;
    uint32_t revision, header_size, header_crc, reserved;
    uint64_t self, other, first, last;
    uint8_t guid[16];
    uint64_t entries_at;
    uint32_t entries, entry_size, entries_crc;
} __attribute__((packed));
_Static_assert(sizeof(struct gpt_header) == HEADER, "UEFI specification, table 5-5");

struct gpt_entry {
    uint8_t type[16], guid[16];
    uint64_t first, last, attributes;
    uint16_t name[NAME];
} __attribute__((packed));
_Static_assert(sizeof(struct gpt_entry) == ENTRY, "UEFI specification, table 5-6");

/* The first three fields of a GUID are little endian. */
const uint8_t gpt_type_bios_boot[16] = {0x48, 0x61, 0x68, 0x21, 0x49, 0x64, 0x6f, 0x6e,
                                        0x74, 0x4e, 0x65, 0x65, 0x64, 0x45, 0x46, 0x49};
const uint8_t gpt_type_efi_system[16] = {0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11,
                                         0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b};
const uint8_t gpt_type_linux[16] = {0xaf, 0x3d, 0xc6, 0x0f, 0x83, 0x84, 0x72, 0x47,
                                    0x8e, 0x79, 0x3d, 0x69, 0xd8, 0x47, 0x7d, 0xe4};

static uint32_t crc32(const void *data, size_t size) {
    const uint8_t *bytes = data;
    uint32_t crc = ~0u;

    for (size_t i = 0; i < size; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
    }
    return ~crc;
}

/* A GUID of version 8: whoever makes it says what it is made of. */
static void make_guid(uint8_t guid[16], const uint8_t seed[32], unsigned number) {
    for (unsigned i = 0; i < 16; i++)
        guid[i] = seed[i] ^ seed[16 + (i + 5 * number) % 16];
    guid[15] ^= (uint8_t)number;
    guid[7] = (guid[7] & 0x0f) | 0x80;
    guid[8] = (guid[8] & 0x3f) | 0x80;
}

static void fill_mbr(uint8_t *mbr, uint64_t sectors, const uint8_t *boot) {
    uint32_t size = sectors - 1 > UINT32_MAX ? UINT32_MAX : (uint32_t)(sectors - 1), first = 1;
    static const uint8_t head[8] = {0x00, 0x00, 0x02, 0x00, 0xee, 0xff, 0xff, 0xff};

    memcpy(mbr, boot, BOOT_CODE);
    memcpy(mbr + MBR_TABLE, head, 8);
    memcpy(mbr + MBR_TABLE + 8, &first, 4);
    memcpy(mbr + MBR_TABLE + 12, &size, 4);
    mbr[510] = 0x55;
    mbr[511] = 0xaa;
}

static bool write_at(int fd, const void *data, size_t size, uint64_t sector) {
    errno = ENOSPC; /* a short write has no errno of its own */
    return pwrite(fd, data, size, (off_t)(sector * SECTOR)) == (ssize_t)size;
}

bool gpt_write(int fd, uint64_t sectors, const struct partition *partitions, size_t count, const uint8_t *boot,
               const uint8_t seed[32]) {
    struct gpt_entry entries[GPT_ENTRIES] = {0};
    uint8_t sector[2 * SECTOR] = {0};
    struct gpt_header header = {
        .signature = SIGNATURE,
        .revision = 0x10000,
        .header_size = HEADER,
        .first = GPT_FIRST,
        .last = sectors - GPT_BEHIND - 1,
        .entries = GPT_ENTRIES,
        .entry_size = ENTRY,
    };

    for (size_t i = 0; i < count && i < GPT_ENTRIES; i++) {
        memcpy(entries[i].type, partitions[i].type, 16);
        make_guid(entries[i].guid, seed, (unsigned)i + 1);
        entries[i].first = partitions[i].start;
        entries[i].last = partitions[i].start + partitions[i].sectors - 1;
        for (size_t j = 0; j < NAME - 1 && partitions[i].name[j]; j++)
            entries[i].name[j] = (uint8_t)partitions[i].name[j];
    }
    make_guid(header.guid, seed, 0);
    header.entries_crc = crc32(entries, sizeof(entries));
    fill_mbr(sector, sectors, boot);
    for (int copy = 0; copy < 2; copy++) {
        header.self = copy ? sectors - 1 : 1;
        header.other = copy ? 1 : sectors - 1;
        header.entries_at = copy ? sectors - GPT_BEHIND : 2;
        header.header_crc = 0;
        header.header_crc = crc32(&header, HEADER);
        memcpy(sector + SECTOR, &header, HEADER);
        if (!write_at(fd, entries, sizeof(entries), header.entries_at) ||
            !(copy ? write_at(fd, sector + SECTOR, SECTOR, header.self) : write_at(fd, sector, 2 * SECTOR, 0)))
            return false;
    }
    return true;
}

bool gpt_is_there(int fd) {
    uint64_t signature;

    return pread(fd, &signature, sizeof(signature), SECTOR) == sizeof(signature) && signature == SIGNATURE;
}

bool gpt_find(int fd, uint64_t size, const char *name, uint64_t *start, uint64_t *length) {
    struct gpt_header header;
    struct gpt_entry entry;
    uint64_t sectors = size / SECTOR;

    if (pread(fd, &header, sizeof(header), SECTOR) != sizeof(header) || header.signature != SIGNATURE ||
        header.entry_size < ENTRY || header.entries > ENTRIES_MOST || header.entry_size > SECTOR ||
        header.entries_at > sectors)
        return false;
    for (uint32_t i = 0; i < header.entries; i++) {
        size_t same = 0;
        off_t at = (off_t)(header.entries_at * SECTOR + (uint64_t)i * header.entry_size);
        if (pread(fd, &entry, sizeof(entry), at) != sizeof(entry))
            return false;
        while (same < NAME - 1 && entry.name[same] == (uint8_t)name[same] && name[same])
            same++;
        if (name[same] || entry.name[same] || entry.first == 0 || entry.last < entry.first || entry.last >= sectors)
            continue;
        *start = entry.first * SECTOR;
        *length = (entry.last - entry.first + 1) * SECTOR;
        return true;
    }
    return false;
}
