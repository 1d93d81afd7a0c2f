// Blocks to and from the device: several requests at once, waited for together.
#include "fs/ext4/ext4.h"
#include "kernel/memory/slab.h"

struct request {
    struct block_request r;
    struct block_segment segment;
};

void ext4_io_init(struct ext4_io *io) {
    io->pending = 1; // the starter's own
    io->error = 0;
    waitq_init(&io->wait);
}

static void io_end(struct ext4_io *io, int error) {
    if (error < 0)
        WRITE_ONCE(io->error, error);
    // With the queue's lock: the waiter's stack frame stays until the lock is free again.
    uint64_t flags = spin_lock_irqsave(&io->wait.lock);
    if (atomic_sub(&io->pending, 1) == 1)
        waitq_wake_locked(&io->wait, ~0u, 0);
    spin_unlock_irqrestore(&io->wait.lock, flags);
}

static void request_done(struct block_request *r) {
    struct ext4_io *io = r->owner;
    int error = r->error;
    kfree(container_of(r, struct request, r));
    io_end(io, error);
}

static void start_one(struct ext4_fs *fs, struct ext4_io *io, enum block_op op, uint64_t sector, void *data,
                      uint32_t len) {
    struct request *q = kzalloc(sizeof(*q));
    if (!q) {
        int error = block_io(fs->dev, op, sector, data, len);
        if (error < 0)
            WRITE_ONCE(io->error, error);
        return;
    }
    q->segment = (struct block_segment){data, len};
    q->r = (struct block_request){
        .op = op, .sector = sector, .segments = &q->segment, .count = 1, .done = request_done, .owner = io};
    atomic_add(&io->pending, 1);
    block_submit(fs->dev, &q->r);
}

void ext4_io_start(struct ext4_fs *fs, struct ext4_io *io, enum block_op op, uint64_t block, void *data,
                   uint32_t blocks) {
    uint64_t sector = block << fs->sectors_shift, len = (uint64_t)blocks << fs->block_shift;
    uint32_t most = fs->dev->bytes_max ? MAX(ALIGN_DOWN(fs->dev->bytes_max, fs->block_size), fs->block_size) : 1u << 20;
    for (uint64_t at = 0; at < len; at += most)
        start_one(fs, io, op, sector + (at >> SECTOR_SHIFT), (char *)data + at,
                  (uint32_t)MIN(len - at, (uint64_t)most));
}

int ext4_io_wait(struct ext4_io *io) {
    io_end(io, 0);
    wait_event(&io->wait, READ_ONCE(io->pending) == 0);
    // Whoever ended the last one may still hold the queue's lock.
    uint64_t flags = spin_lock_irqsave(&io->wait.lock);
    spin_unlock_irqrestore(&io->wait.lock, flags);
    return io->error;
}

int ext4_io_block(struct ext4_fs *fs, enum block_op op, uint64_t block, void *data, uint32_t blocks) {
    return block_io(fs->dev, op, block << fs->sectors_shift, data, (size_t)blocks << fs->block_shift);
}

int ext4_flush(struct ext4_fs *fs) { return block_flush(fs->dev); }
