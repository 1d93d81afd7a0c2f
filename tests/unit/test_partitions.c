// link: kernel/partition.c
/* Partition tables: good ones, damaged ones, and ones that were made to do harm. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernel/log.h"
#include "kernel/memory/slab.h"
#include "kernel/partition.h"
#include "kernel/threads/lock.h"

void *kmalloc(size_t size) { return malloc(size); }
void kfree(void *p) { free(p); }
void mutex_lock(struct mutex *m) {}
void mutex_unlock(struct mutex *m) {}
enum log_level log_threshold;
static unsigned lines;
void log_print(enum log_level level, const char *fmt, ...) { lines++; }
int block_io(struct block_device *dev, enum block_op op, uint64_t sector, void *buf, size_t len) { return -EIO; }

#define SECTORS 4096u
static uint8_t disk[SECTORS * 512];
static unsigned reads;
static uint64_t unreadable;
static int read_disk(struct block_device *dev, uint64_t offset, void *buf, size_t len) {
    assert_true(offset % dev->block_size == 0 && len % dev->block_size == 0);
    assert_true(offset + len <= sizeof(disk) && offset + len > offset);
    reads++;
    if (unreadable && unreadable >= offset && unreadable < offset + len)
        return -EIO;
    memcpy(buf, disk + offset, len);
    return 0;
}

static struct {
    unsigned number;
    uint64_t offset, sectors;
    char label[40];
} found[100];
static unsigned count;
int blockdev_register_partition(struct block_device *parent, unsigned number, uint64_t offset, uint64_t sectors,
                                const char *label) {
    assert_true(number >= 1 && number <= 15 && sectors > 0);
    assert_true(offset > 0 && offset < parent->sectors && sectors <= parent->sectors - offset);
    for (unsigned i = 0; i < count; i++)
        assert_true(offset >= found[i].offset + found[i].sectors || offset + sectors <= found[i].offset);
    found[count].number = number;
    assert_true(strlen(label) <= 36);
    strcpy(found[count].label, label);
    found[count].offset = offset;
    found[count++].sectors = sectors;
    return 0;
}

static void scan(unsigned block_size) {
    struct block_device dev = {.name = "vda", .sectors = SECTORS, .block_size = block_size};
    count = reads = lines = 0;
    partition_scan(&dev, read_disk);
    assert_true(dev.scanned);
    unsigned before = reads;
    partition_scan(&dev, read_disk); /* once */
    assert_int_equal(reads, before);
    assert_true(reads < 40);
}

static void put(uint64_t at, uint64_t value, unsigned size) { memcpy(disk + at, &value, size); }

static uint32_t crc(const void *data, size_t n) {
    uint32_t c = ~0u;
    for (const uint8_t *p = data; n--; p++)
        for (int i = (c ^= *p, 0); i < 8; i++)
            c = c >> 1 ^ (c & 1 ? 0xedb88320u : 0);
    return ~c;
}

static void mbr_entry(uint64_t sector, unsigned i, uint8_t type, uint32_t start, uint32_t n) {
    uint64_t at = sector * 512 + 446 + i * 16;
    disk[at + 4] = type;
    put(at + 8, start, 4);
    put(at + 12, n, 4);
    put(sector * 512 + 510, 0xaa55, 2);
}

static unsigned block = 512; /* bytes of one */
static void header(uint64_t lba, uint64_t table) {
    uint8_t *h = disk + lba * block;
    put(lba * block + 88, crc(disk + table * block, 128 * 16), 4);
    memset(h + 16, 0, 4);
    put(lba * block + 16, crc(h, 92), 4);
}

/* 16 entries; the table at block 2, the other at the end. */
static void gpt(void) {
    uint64_t blocks = SECTORS * 512 / block, places[2][2] = {{1, 2}, {blocks - 1, blocks - 33}};
    memset(disk, 0, sizeof(disk));
    mbr_entry(0, 0, 0xee, 1, (uint32_t)blocks - 1);
    for (int i = 0; i < 2; i++) {
        uint64_t at = places[i][0] * block;
        memcpy(disk + at, "EFI PART\0\0\1\0", 12);
        put(at + 12, 92, 4);
        put(at + 24, places[i][0], 8);
        put(at + 32, places[!i][0], 8);
        put(at + 40, 34, 8);
        put(at + 48, blocks - 34, 8);
        put(at + 72, places[i][1], 8);
        put(at + 80, 16, 4);
        put(at + 84, 128, 4);
        for (int p = 0; p < 2; p++) {
            uint64_t e = places[i][1] * block + (uint64_t)p * 3 * 128; /* numbers 1 and 4 */
            put(e, 0x1234, 8);
            put(e + 32, 100 + (uint64_t)p * 50, 8);
            put(e + 40, 149 + (uint64_t)p * 50, 8);
            for (unsigned c = 0; c < 36; c++) /* the second fills its place, and has what is not ASCII */
                put(e + 56 + c * 2, p ? (c == 3 ? 0x2603 : c == 4 ? 7 : 'a' + c % 26) : c < 4 ? (uint64_t)"root"[c] : 0, 2);
        }
        header(places[i][0], places[i][1]);
    }
}

static void none(void **state) {
    memset(disk, 0, sizeof(disk));
    scan(512);
    assert_int_equal(count, 0);
    assert_int_equal(reads, 1);
    memset(disk, 0xff, sizeof(disk)); /* no boot sector looks so */
    scan(4096);
    assert_int_equal(count, 0);
    memset(disk, 0, sizeof(disk)); /* a file system's: code in place of a table */
    memset(disk + 400, 0x61, 110);
    put(510, 0xaa55, 2);
    scan(512);
    assert_int_equal(count, 0);
    unreadable = 100;
    scan(512);
    assert_int_equal(count, 0);
    unreadable = 0;
}

static void finds_gpt(void **state) {
    for (block = 512; block <= 4096; block *= 8) {
        gpt();
        scan(block);
        assert_int_equal(count, 2);
        assert_int_equal(found[0].number, 1);
        assert_string_equal(found[0].label, "root");
        assert_string_equal(found[1].label, "abc\?\?fghijklmnopqrstuvwxyzabcdefghij");
        assert_int_equal(found[0].offset, 100 * block / 512);
        assert_int_equal(found[0].sectors, 50 * block / 512);
        assert_int_equal(found[1].number, 4);
        assert_int_equal(found[1].offset, 150 * block / 512);
        /* The first one is damaged, or cannot be read: there is another. */
        disk[block + 56] ^= 1;
        scan(block);
        assert_int_equal(count, 2);
        gpt();
        unreadable = 2 * block + 5;
        scan(block);
        assert_int_equal(count, 2);
        unreadable = 0;
        /* Both. */
        disk[block + 56] ^= 1;
        disk[sizeof(disk) - block + 56] ^= 1;
        scan(block);
        assert_int_equal(count, 0);
        assert_int_equal(lines, 1);
    }
    block = 512;
}

static void distrusts_gpt(void **state) {
    /* What the header says, with right checksums; the backup is gone. */
    static const struct {
        unsigned at, size;
        uint64_t value;
    } lies[] = {{12, 4, 91},      {12, 4, 513},         {12, 4, ~0u},  {24, 8, 2},   {40, 8, 5000},
                {48, 8, 33},      {48, 8, SECTORS},     {48, 8, ~0ul}, {72, 8, 0},   {72, 8, 1},
                {72, 8, SECTORS}, {72, 8, SECTORS - 2}, {72, 8, ~0ul}, {80, 4, 0},   {80, 4, ~0u},
                {80, 4, 2000},    {84, 4, 0},           {84, 4, 64},   {84, 4, 129}, {84, 4, ~0u}};
    for (unsigned i = 0; i < ARRAY_SIZE(lies); i++) {
        gpt();
        memset(disk + sizeof(disk) - 512, 0, 512);
        put(512 + lies[i].at, lies[i].value, lies[i].size);
        memset(disk + 512 + 16, 0, 4);
        put(512 + 16, crc(disk + 512, lies[i].at == 12 && lies[i].value < 512 ? lies[i].value : 92), 4);
        scan(512);
        assert_int_equal(count, 0);
    }
    /* Entries: outside of what may be used, backwards, over each other. */
    static const uint64_t bad[][2] = {{1, 5},       {33, 40},      {0, 0},     {149, 100}, {4000, 4063}, {4000, ~0ul},
                                      {~0ul, ~0ul}, {~0ul - 5, 3}, {120, 130}, {149, 149}, {90, 200}};
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        gpt();
        put(2 * 512 + 3 * 128 + 32, bad[i][0], 8);
        put(2 * 512 + 3 * 128 + 40, bad[i][1], 8);
        header(1, 2);
        scan(512);
        assert_int_equal(count, 1);
        assert_int_equal(lines, 1);
    }
    /* More than have names. */
    gpt();
    for (unsigned i = 0; i < 16; i++) {
        put(2 * 512 + i * 128, 1, 8);
        put(2 * 512 + i * 128 + 32, 100 + i, 8);
        put(2 * 512 + i * 128 + 40, 100 + i, 8);
    }
    header(1, 2);
    scan(512);
    assert_int_equal(count, 15);
    assert_int_equal(lines, 1);
}

static void finds_mbr(void **state) {
    memset(disk, 0, sizeof(disk));
    mbr_entry(0, 0, 0x83, 64, 100);
    mbr_entry(0, 1, 0x0f, 1000, 1000);
    mbr_entry(0, 3, 0x07, 164, 36);
    mbr_entry(1000, 0, 0x83, 1, 50);
    mbr_entry(1000, 1, 0x05, 100, 100);
    mbr_entry(1100, 0, 0x83, 2, 60);
    scan(512);
    static const unsigned want[][3] = {{1, 64, 100}, {4, 164, 36}, {5, 1001, 50}, {6, 1102, 60}};
    assert_int_equal(count, 4);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(found[i].number, want[i][0]);
        assert_int_equal(found[i].offset, want[i][1]);
        assert_int_equal(found[i].sectors, want[i][2]);
    }
}

static void distrusts_mbr(void **state) {
    memset(disk, 0, sizeof(disk));
    mbr_entry(0, 0, 0x83, 0, 100);  /* over the table itself */
    mbr_entry(0, 1, 0x83, 4095, 2); /* behind the end */
    mbr_entry(0, 2, 0x83, ~0u, ~0u);
    mbr_entry(0, 3, 0x83, 64, 100);
    scan(512);
    assert_int_equal(count, 1);
    /* A chain of tables that bites its tail, that goes backwards, and one without an end. */
    for (int kind = 0; kind < 3; kind++) {
        memset(disk, 0, sizeof(disk));
        mbr_entry(0, 0, 0x05, 1000, 3000);
        for (unsigned i = 0; i < 100; i++) {
            mbr_entry(1000 + i * 4, 0, 0x83, 1, 2);
            mbr_entry(1000 + i * 4, 1, 0x05, kind == 0 ? i * 4 : kind == 1 ? (uint32_t)-4 : (i + 1) * 4, 4);
        }
        scan(512);
        assert_int_equal(count, kind == 2 ? 11 : 1);
    }
}

/* Any bytes: no access outside, no partition that does not fit (see the asserts above). */
static void survives_noise(void **state) {
    srand(3);
    for (int i = 0; i < 4000; i++) {
        block = i % 2 ? 512 : 4096;
        gpt();
        if (i % 4 < 2)
            mbr_entry(0, 0, 0x05, 1, 4000);
        for (int k = rand() % 12; k > 0; k--) {
            unsigned at = (unsigned)rand() % (rand() % 2 ? 2 * block : 4 * block);
            disk[at] = rand() % 3 ? (uint8_t)rand() : 0xff;
        }
        if (rand() % 4)
            header(1, 2);
        scan(block);
    }
    block = 512;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(none),      cmocka_unit_test(finds_gpt),     cmocka_unit_test(distrusts_gpt),
        cmocka_unit_test(finds_mbr), cmocka_unit_test(distrusts_mbr), cmocka_unit_test(survives_noise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
