// Writing home what is committed, so that the log's oldest part is no longer needed. A buffer that the running transaction has changed
// again has to wait: its committed contents are in the log alone; the log's tail stops at it.
// Lock: commit_lock, so nothing is being committed.
#include "fs/ext4/ext4.h"
#include "kernel/string.h"

#define BATCH_MAX 128 // blocks of 1 KiB in the bounce memory

struct batch {
    struct ext4_buffer *b[BATCH_MAX];
    uint32_t count, max;
};

static void sort(struct batch *batch) {
    for (uint32_t gap = batch->count / 2; gap; gap /= 2) {
        for (uint32_t k = gap; k < batch->count; k++) {
            struct ext4_buffer *b = batch->b[k];
            uint32_t at = k;
            for (; at >= gap && batch->b[at - gap]->block > b->block; at -= gap)
                batch->b[at] = batch->b[at - gap];
            batch->b[at] = b;
        }
    }
}

// The next buffers of this transaction that may be written, copied: they may be changed while they are on their way.
static void collect(struct ext4_fs *fs, struct ext4_transaction *t, struct batch *batch) {
    batch->count = 0;
    spin_lock(&fs->lock);
    struct ext4_buffer *b, *next;
    list_for_each_safe (b, next, &t->checkpoint, checkpoint_link) {
        if (b->running)
            continue;
        if (batch->count == batch->max)
            break;
        b->refs++;
        batch->b[batch->count++] = b;
    }
    sort(batch);
    for (uint32_t k = 0; k < batch->count; k++)
        memcpy((char *)fs->journal.bounce + ((size_t)k << fs->block_shift), batch->b[k]->data, fs->block_size);
    spin_unlock(&fs->lock);
}

static int write_batch(struct ext4_fs *fs, struct batch *batch) {
    struct ext4_io io;
    ext4_io_init(&io);
    for (uint32_t k = 0, n; k < batch->count; k += n) {
        for (n = 1; k + n < batch->count && batch->b[k + n]->block == batch->b[k]->block + n; n++)
            ;
        ext4_io_start(fs, &io, BLOCK_WRITE, batch->b[k]->block,
                      (char *)fs->journal.bounce + ((size_t)k << fs->block_shift), n);
    }
    return ext4_io_wait(&io);
}

static void written(struct ext4_fs *fs, struct batch *batch, bool good) {
    spin_lock(&fs->lock);
    for (uint32_t k = 0; k < batch->count; k++) {
        struct ext4_buffer *b = batch->b[k];
        b->refs--;
        if (good) {
            list_remove(&b->checkpoint_link);
            b->checkpoint = NULL;
            fs->journal.pinned -= !b->running;
        }
        ext4_buffer_idle_locked(fs, b);
    }
    spin_unlock(&fs->lock);
}

static int write_transaction(struct ext4_fs *fs, struct ext4_transaction *t) {
    struct batch batch = {.max = MIN(EXT4_BOUNCE >> fs->block_shift, BATCH_MAX)};
    for (;;) {
        collect(fs, t, &batch);
        if (batch.count == 0)
            return 0;
        int err = write_batch(fs, &batch);
        written(fs, &batch, err == 0);
        if (err < 0)
            return err;
    }
}

// Forgets the transactions that are home. The log begins behind them.
static bool move_tail(struct ext4_fs *fs) {
    struct ext4_journal *j = &fs->journal;
    bool moved = false;
    for (;;) {
        spin_lock(&fs->lock);
        struct ext4_transaction *t =
            list_empty(&j->checkpoints) ? NULL : list_first(&j->checkpoints, struct ext4_transaction, link);
        if (t && list_empty(&t->checkpoint))
            list_remove(&t->link);
        else
            t = NULL;
        spin_unlock(&fs->lock);
        if (!t)
            return moved;
        moved = true;
        WRITE_ONCE(j->tail, t->log_end);
        j->tail_seq = t->seq + 1;
        ext4_transaction_free(t);
    }
}

int ext4_checkpoint(struct ext4_fs *fs) {
    struct ext4_journal *j = &fs->journal;
    if (j->aborted)
        return j->aborted;
    int err = 0;
    struct ext4_transaction *t;
    list_for_each (t, &j->checkpoints, link) { // changes under commit_lock only
        err = write_transaction(fs, t);
        if (err < 0)
            break;
    }
    if (err == 0)
        err = ext4_flush(fs);
    uint32_t tail = j->tail, tail_seq = j->tail_seq;
    if (err == 0 && move_tail(fs) && j->present) {
        uint32_t new_tail = j->tail, new_seq = j->tail_seq;
        // Room counts as free only when the disk knows of it.
        WRITE_ONCE(j->tail, tail);
        err = ext4_journal_write_super(fs, new_tail, new_seq);
        j->tail_seq = err == 0 ? new_seq : tail_seq;
        WRITE_ONCE(j->tail, err == 0 ? new_tail : tail);
    }
    if (err < 0)
        ext4_abort(fs, err);
    ext4_buffers_trim(fs);
    return err;
}
