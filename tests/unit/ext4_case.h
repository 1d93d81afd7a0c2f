/* Disks of memory for the ext4 tests: what was written since the last flush may be lost when the power goes, in any part. */
#ifndef TESTS_UNIT_EXT4_CASE_H
#define TESTS_UNIT_EXT4_CASE_H

#include "fs/vfs.h"
#include "kernel/blockdev.h"

struct ext4_disk {
    struct block_device dev;
    unsigned char *data, *durable; /* as it is read; as it is on the medium for sure. durable NULL: not kept */
    size_t size;
    struct written *first, *last; /* since the last flush */
    unsigned long requests, writes, flushes;
    long fail_after; /* writes that succeed; -1: all */
    bool fail_reads;
    void (*on_write)(struct ext4_disk *disk); /* before each */
};
extern struct ext4_disk ext4_disks[2]; /* vda, vdb */

/* The disk gets these contents (copied). `keep`: what a power cut would leave is kept track of. */
void ext4_disk_insert(struct ext4_disk *disk, const unsigned char *data, size_t size, bool keep);
void ext4_disk_eject(struct ext4_disk *disk);
/* The medium after a power cut now: unflushed sectors are there or not. malloc'ed. */
unsigned char *ext4_disk_cut(struct ext4_disk *disk, uint64_t (*random)(void));

void ext4_case_start(void);
int ext4_case_mount(struct ext4_disk *disk, const char *at, unsigned long flags); /* 0 or -errno */
void ext4_case_unmount(const char *at);
struct page_cache;

#endif
