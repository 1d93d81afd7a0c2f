/*
 * The footer of a fixed VHD: Microsoft's Virtual Hard Disk Image Format Specification, "Hard Disk Footer Format". Big endian. Its unique
 * identifier is made of the disk's, its time is that of the format: the same disk gives the same bytes.
 */
#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/image/disk.h"
#include "tools/image/gpt.h"

struct vhd_footer {
    char cookie[8];
    uint32_t features, version;
    uint64_t data_offset;
    uint32_t time;
    char creator[4];
    uint32_t creator_version;
    char creator_os[4];
    uint64_t original_size, current_size;
    uint16_t cylinders;
    uint8_t heads, sectors;
    uint32_t type, checksum;
    uint8_t uuid[16];
    uint8_t saved, reserved[427];
} __attribute__((packed));
_Static_assert(sizeof(struct vhd_footer) == SECTOR, "the footer is one sector");

/* The specification's appendix "CHS Calculation". */
static void set_geometry(struct vhd_footer *footer, uint64_t total) {
    uint64_t sectors, heads, rest;

    if (total > 65535ULL * 16 * 255)
        total = 65535ULL * 16 * 255;
    if (total >= 65535ULL * 16 * 63) {
        sectors = 255;
        heads = 16;
        rest = total / sectors;
    } else {
        sectors = 17;
        rest = total / sectors;
        heads = (rest + 1023) / 1024;
        heads = heads < 4 ? 4 : heads;
        if (rest >= heads * 1024 || heads > 16) {
            sectors = 31;
            heads = 16;
            rest = total / sectors;
        }
        if (rest >= heads * 1024) {
            sectors = 63;
            heads = 16;
            rest = total / sectors;
        }
    }
    footer->cylinders = htobe16((uint16_t)(rest / heads));
    footer->heads = (uint8_t)heads;
    footer->sectors = (uint8_t)sectors;
}

void disk_add_vhd_footer(int fd, const char *name) {
    struct vhd_footer footer = {
        .cookie = "conectix",
        .features = htobe32(2),
        .version = htobe32(0x10000),
        .data_offset = UINT64_MAX,
        .creator = "win ", /* those of others make QEMU round the size down to whole cylinders */
        .creator_version = htobe32(0x10000),
        .creator_os = "Wi2k",
        .type = htobe32(2), /* fixed */
    };
    const uint8_t *bytes = (const uint8_t *)&footer;
    struct stat status;
    uint32_t sum = 0;

    if (fstat(fd, &status) != 0 || pread(fd, footer.uuid, 16, SECTOR + 56) != 16) /* the disk's GUID */
        die(STATUS_FAILED, "%s: %s", name, strerror(errno));
    footer.original_size = footer.current_size = htobe64((uint64_t)status.st_size);
    set_geometry(&footer, (uint64_t)status.st_size / SECTOR);
    for (size_t i = 0; i < sizeof(footer); i++)
        sum += bytes[i];
    footer.checksum = htobe32(~sum);
    errno = ENOSPC;
    if (pwrite(fd, &footer, sizeof(footer), status.st_size) != sizeof(footer))
        die(STATUS_FAILED, "%s: %s", name, strerror(errno));
}
