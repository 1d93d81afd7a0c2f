// Partition tables: GPT with its backup, and MBR with logical partitions. What does not fit on the disk, or into another
// partition's place, is left out with a line in the log; a table whose checksum is wrong is none.
// Lock: scan_lock, held while a device is read, so that each is scanned once.
#include "kernel/partition.h"

#include "kernel/log.h"
#include "kernel/memory/slab.h"
#include "kernel/string.h"
#include "kernel/threads/lock.h"

#define PARTITIONS 15 // that there are minor numbers for
#define GPT_TABLE_MAX (128u << 10)
#define GPT_ENTRY_SIZE 128u
#define GPT_NAME 36 // characters of a partition's name
#define MBR_SIGNATURE 0xaa55
#define MBR_TYPE_GPT 0xee

struct gpt_header {
    char signature[8]; // "EFI PART"
    uint32_t revision, header_size, header_crc, reserved;
    uint64_t my_lba, other_lba, first_usable, last_usable;
    uint8_t guid[16];
    uint64_t table_lba;
    uint32_t entries, entry_size, table_crc;
} PACKED;
struct gpt_entry {
    uint64_t type[2], guid[2];
    uint64_t first, last; // both included
    uint64_t attributes;
    uint16_t name[GPT_NAME];
};
_Static_assert(sizeof(struct gpt_header) == 92 && sizeof(struct gpt_entry) == GPT_ENTRY_SIZE, "UEFI 2.10, 5.3");
struct mbr_entry {
    uint8_t status, chs_first[3], type, chs_last[3];
    uint32_t start, count;
};
struct mbr {
    uint8_t code[446];
    struct mbr_entry entry[4];
    uint16_t signature;
} PACKED;
_Static_assert(sizeof(struct mbr) == 512, "UEFI 2.10, 5.2");

static struct mutex scan_lock = MUTEX_INIT(scan_lock);

struct scan {
    struct block_device *dev;
    partition_read read;
    uint64_t blocks; // of the device
    uint32_t ratio;  // sectors in one
    unsigned found;
    struct {
        uint64_t start, end;
    } taken[PARTITIONS];
};

// Blocks [start, start + count) are partition `number`.
static void add(struct scan *s, unsigned number, uint64_t start, uint64_t count, const char *label) {
    bool bad = count == 0 || start == 0 || start >= s->blocks || count > s->blocks - start;
    for (unsigned i = 0; i < s->found; i++)
        bad |= !bad && start < s->taken[i].end && start + count > s->taken[i].start;
    if (bad || number > PARTITIONS || s->found == PARTITIONS) {
        log_warn("%s: partition %u is left out: %s", s->dev->name, number,
                 bad ? "it does not fit on the disk or beside others" : "there are too many");
        return;
    }
    if (blockdev_register_partition(s->dev, number, start * s->ratio, count * s->ratio, label) < 0)
        return;
    s->taken[s->found].start = start;
    s->taken[s->found++].end = start + count;
}

static int read_blocks(struct scan *s, uint64_t block, void *buf, size_t len) {
    return s->read(s->dev, block * s->ratio * SECTOR_SIZE, buf, len);
}

// --- GPT ---

static uint32_t crc32(const void *data, size_t len) {
    uint32_t crc = ~0u;
    for (const uint8_t *p = data; len--; p++) {
        crc ^= *p;
        for (int i = 0; i < 8; i++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    }
    return ~crc;
}

static bool header_valid(const struct scan *s, struct gpt_header *h, uint64_t lba, size_t room) {
    if (memcmp(h->signature, "EFI PART", 8) || h->header_size < sizeof(*h) || h->header_size > room)
        return false;
    uint32_t crc = h->header_crc;
    h->header_crc = 0;
    if (crc32(h, h->header_size) != crc)
        return false;
    uint64_t bytes = (uint64_t)h->entries * h->entry_size, block = (uint64_t)s->ratio * SECTOR_SIZE;
    return h->my_lba == lba && h->first_usable <= h->last_usable && h->last_usable < s->blocks && h->entries > 0 &&
           h->entry_size >= GPT_ENTRY_SIZE && h->entry_size % 8 == 0 && bytes <= GPT_TABLE_MAX && h->table_lba > 1 &&
           h->table_lba < s->blocks && (bytes + block - 1) / block <= s->blocks - h->table_lba;
}

// UTF-16; control characters and what is not ASCII are replaced.
static const char *gpt_name(const struct gpt_entry *e, char name[GPT_NAME + 1]) {
    unsigned n = 0;
    for (; n < GPT_NAME && e->name[n]; n++)
        name[n] = e->name[n] >= ' ' && e->name[n] < 0x7f ? (char)e->name[n] : '?';
    name[n] = '\0';
    return name;
}

static bool gpt_table(struct scan *s, const struct gpt_header *h) {
    size_t bytes = (size_t)h->entries * h->entry_size;
    char *table = kmalloc(ALIGN_UP(bytes, PAGE_SIZE)), name[GPT_NAME + 1];
    if (!table)
        return false;
    bool good = read_blocks(s, h->table_lba, table, ALIGN_UP(bytes, (size_t)s->ratio * SECTOR_SIZE)) == 0 &&
                crc32(table, bytes) == h->table_crc;
    for (unsigned i = 0; good && i < h->entries; i++) {
        const struct gpt_entry *e = (const struct gpt_entry *)(table + (size_t)i * h->entry_size);
        if (!e->type[0] && !e->type[1])
            continue;
        if (e->first < h->first_usable || e->last > h->last_usable || e->first > e->last)
            add(s, i + 1, 0, 0, "");
        else
            add(s, i + 1, e->first, e->last - e->first + 1, gpt_name(e, name));
    }
    kfree(table);
    return good;
}

static bool gpt_at(struct scan *s, uint64_t lba, void *buf) {
    size_t block = (size_t)s->ratio * SECTOR_SIZE;
    struct gpt_header *h = buf;
    return read_blocks(s, lba, buf, block) == 0 && header_valid(s, h, lba, block) && gpt_table(s, h);
}

// --- MBR ---

static bool mbr_valid(const struct mbr *m) {
    if (m->signature != MBR_SIGNATURE)
        return false;
    for (unsigned i = 0; i < 4; i++) // a file system's boot sector has the same signature
        if (m->entry[i].status & 0x7f)
            return false;
    return true;
}

static bool is_extended(const struct mbr_entry *e) { return e->type == 0x05 || e->type == 0x0f || e->type == 0x85; }

// A chain of tables, each with one logical partition and the place of the next table.
static void scan_extended(struct scan *s, const struct mbr_entry *extended, struct mbr *buf) {
    uint64_t base = extended->start, at = base;
    for (unsigned number = 5; number <= PARTITIONS; number++) {
        if (at >= s->blocks || read_blocks(s, at, buf, (size_t)s->ratio * SECTOR_SIZE) < 0 || !mbr_valid(buf))
            return;
        struct mbr_entry part = buf->entry[0], next = buf->entry[1];
        if (part.type && part.count && !is_extended(&part))
            add(s, number, at + part.start, part.count, "");
        if (!is_extended(&next) || !next.count || !next.start || base + next.start <= at) // only forward
            return;
        at = base + next.start;
    }
}

static void scan_mbr(struct scan *s, struct mbr *m) {
    struct mbr_entry extended = {0};
    for (unsigned i = 0; i < 4; i++) {
        struct mbr_entry e = m->entry[i];
        if (!e.type || !e.count)
            continue;
        if (is_extended(&e))
            extended = e;
        else
            add(s, i + 1, e.start, e.count, "");
    }
    if (extended.count && extended.start)
        scan_extended(s, &extended, m);
}

static void scan(struct scan *s, struct mbr *m) {
    if (read_blocks(s, 0, m, (size_t)s->ratio * SECTOR_SIZE) < 0 || !mbr_valid(m))
        return;
    bool gpt = false;
    for (unsigned i = 0; i < 4; i++)
        gpt |= m->entry[i].type == MBR_TYPE_GPT;
    if (!gpt)
        scan_mbr(s, m);
    else if (s->blocks < 3 || (!gpt_at(s, 1, m) && !gpt_at(s, s->blocks - 1, m)))
        log_warn("%s: its partition table (GPT) is damaged", s->dev->name);
}

int partition_read_direct(struct block_device *dev, uint64_t offset, void *buf, size_t len) {
    return block_io(dev, BLOCK_READ, offset / SECTOR_SIZE, buf, len);
}

void partition_scan(struct block_device *dev, partition_read read) {
    if (load_acquire(&dev->scanned))
        return;
    mutex_lock(&scan_lock);
    void *buf = dev->scanned ? NULL : kmalloc(PAGE_SIZE); // a block is no larger
    if (buf) {
        struct scan s = {.dev = dev, .read = read, .ratio = dev->block_size / SECTOR_SIZE};
        s.blocks = dev->sectors / s.ratio;
        scan(&s, buf);
        store_release(&dev->scanned, true);
        kfree(buf);
    }
    mutex_unlock(&scan_lock);
}
