// The commit of a transaction: it is closed and its handles are waited for; then the next one may begin, while this one waits for the
// data under it, writes its blocks to the log, and with a flush before and after it the block that makes it count.
// Without a journal the blocks go home instead.
// Locks: commit_lock for the whole of it; ext4_fs.lock for each look at what handles change.
#include "fs/ext4/ext4.h"
#include "kernel/memory/slab.h"
#include "kernel/string.h"
#include "kernel/time.h"

// A writer of consecutive log blocks through the bounce memory.
struct log_writer {
    struct ext4_fs *fs;
    uint32_t seq;
    uint32_t at;    // the log block that memory[0] goes to
    uint32_t count; // blocks in memory
    uint8_t *memory;
    int error;
};

static void writer_flush(struct log_writer *w) {
    struct ext4_journal *j = &w->fs->journal;
    struct ext4_io io;
    ext4_io_init(&io);
    for (uint32_t done = 0; done < w->count && w->error == 0;) {
        uint64_t block;
        int run = ext4_journal_map(w->fs, w->at, &block);
        if (run < 0) {
            w->error = run;
            break;
        }
        uint32_t n = MIN(MIN((uint32_t)run, w->count - done), j->end - w->at);
        ext4_io_start(w->fs, &io, BLOCK_WRITE, block, w->memory + ((size_t)done << w->fs->block_shift), n);
        done += n;
        w->at = w->at + n == j->end ? j->first : w->at + n;
    }
    int err = ext4_io_wait(&io);
    if (w->error == 0)
        w->error = err;
    w->count = 0;
}

// The memory of the next log block, zeroed when `clear`; `keep` blocks stay together in memory with it.
static uint8_t *writer_next(struct log_writer *w, bool clear) {
    uint8_t *p = w->memory + ((size_t)w->count << w->fs->block_shift);
    w->count++;
    if (clear)
        memset(p, 0, w->fs->block_size);
    return p;
}

static uint32_t writer_room(const struct log_writer *w) { return (EXT4_BOUNCE >> w->fs->block_shift) - w->count; }

static bool has_sums(const struct ext4_journal *j) { return j->features & (JOURNAL_CSUM_V2 | JOURNAL_CSUM_V3); }

static void *start_block(struct log_writer *w, uint32_t type) {
    struct journal_header *h = (struct journal_header *)writer_next(w, true);
    *h = (struct journal_header){__builtin_bswap32(JOURNAL_MAGIC), __builtin_bswap32(type), __builtin_bswap32(w->seq)};
    return h;
}

// The checksum at the end of a descriptor or revoke block.
static void seal_tail(struct log_writer *w, void *block) {
    const struct ext4_journal *j = &w->fs->journal;
    uint32_t *tail = (uint32_t *)((char *)block + w->fs->block_size - 4);
    if (!has_sums(j))
        return;
    *tail = 0;
    *tail = __builtin_bswap32(ext4_crc32c(j->seed, block, w->fs->block_size));
}

static void write_revokes(struct log_writer *w, const struct ext4_transaction *t) {
    const struct ext4_journal *j = &w->fs->journal;
    uint32_t size = j->features & JOURNAL_64BIT ? 8 : 4, room = w->fs->block_size - (has_sums(j) ? 4 : 0);
    for (uint32_t k = 0; k < t->revoke_count;) {
        if (!writer_room(w))
            writer_flush(w);
        struct journal_revoke *r = start_block(w, JOURNAL_REVOKE);
        uint32_t used = sizeof(*r);
        for (; k < t->revoke_count && used + size <= room; k++, used += size) {
            uint64_t block = t->revokes[k];
            if (size == 8)
                *(uint64_t *)((char *)r + used) = __builtin_bswap64(block);
            else
                *(uint32_t *)((char *)r + used) = __builtin_bswap32((uint32_t)block);
        }
        r->count = __builtin_bswap32(used);
        seal_tail(w, r);
    }
}

static void write_tag(const struct ext4_journal *j, char *at, uint64_t block, uint32_t flags, uint32_t sum) {
    if (j->features & JOURNAL_CSUM_V3) {
        *(struct journal_tag3 *)at =
            (struct journal_tag3){__builtin_bswap32((uint32_t)block), __builtin_bswap32(flags),
                                  __builtin_bswap32((uint32_t)(block >> 32)), __builtin_bswap32(sum)};
        return;
    }
    struct journal_tag tag = {__builtin_bswap32((uint32_t)block), 0, __builtin_bswap16((uint16_t)flags),
                              __builtin_bswap32((uint32_t)(block >> 32))};
    memcpy(at, &tag, ext4_tag_size(j));
}

// Copies a buffer as it was when the transaction was closed. A block that begins with the journal's magic number is escaped.
static uint8_t *copy_item(struct log_writer *w, struct ext4_item *item, bool *escaped) {
    uint8_t *to = writer_next(w, false);
    spin_lock(&w->fs->lock);
    memcpy(to, item->frozen ? item->frozen : item->b->data, w->fs->block_size);
    item->copied = true;
    spin_unlock(&w->fs->lock);
    kfree(item->frozen);
    item->frozen = NULL;
    uint32_t *magic = (uint32_t *)to;
    *escaped = *magic == __builtin_bswap32(JOURNAL_MAGIC);
    if (*escaped)
        *magic = 0;
    return to;
}

// One descriptor with its blocks. Returns the index of the first item that was not written.
static uint32_t write_descriptor(struct log_writer *w, struct ext4_transaction *t, uint32_t k, uint32_t last) {
    const struct ext4_journal *j = &w->fs->journal;
    uint32_t tag_size = ext4_tag_size(j), used = sizeof(struct journal_header);
    uint32_t room = w->fs->block_size - (has_sums(j) ? 4 : 0), seq = __builtin_bswap32(w->seq);
    if (writer_room(w) < 2)
        writer_flush(w);
    char *d = start_block(w, JOURNAL_DESCRIPTOR);
    for (bool first = true; k <= last; k++) {
        struct ext4_item *item = &t->items[k];
        if (item->forgotten)
            continue;
        if (!writer_room(w) || used + tag_size + (first ? 16 : 0) > room)
            break;
        bool escaped;
        uint8_t *data = copy_item(w, item, &escaped);
        uint32_t sum = has_sums(j) ? ext4_crc32c(ext4_crc32c(j->seed, &seq, 4), data, w->fs->block_size) : 0;
        uint32_t next = k + 1;
        while (next <= last && t->items[next].forgotten)
            next++;
        bool end = next > last || !writer_room(w) || used + 2 * tag_size + (first ? 16 : 0) > room;
        write_tag(j, d + used, item->b->block,
                  (escaped ? JOURNAL_TAG_ESCAPE : 0) | (first ? 0 : JOURNAL_TAG_SAME_UUID) |
                      (end ? JOURNAL_TAG_LAST : 0),
                  sum);
        used += tag_size;
        if (first) {
            memcpy(d + used, j->super->uuid, 16);
            used += 16;
        }
        first = false;
    }
    seal_tail(w, d);
    return k;
}

static void write_commit(struct log_writer *w) {
    const struct ext4_journal *j = &w->fs->journal;
    struct journal_commit *c = start_block(w, JOURNAL_COMMIT);
    nsec_t now = time_realtime();
    c->seconds = __builtin_bswap64((uint64_t)(now / NSEC_PER_SEC));
    c->nanoseconds = __builtin_bswap32((uint32_t)(now % NSEC_PER_SEC));
    if (has_sums(j))
        c->checksum[0] = __builtin_bswap32(ext4_crc32c(j->seed, c, w->fs->block_size));
    writer_flush(w);
}

// A transaction that is longer than was promised may not run over the log's oldest part.
static bool fits(struct ext4_fs *fs, const struct ext4_transaction *t) {
    const struct ext4_journal *j = &fs->journal;
    uint32_t size = j->end - j->first, used = j->head >= j->tail ? j->head - j->tail : j->head + size - j->tail;
    uint64_t blocks = t->count, revokes = t->revoke_count;
    for (uint32_t k = 0; k < t->count; k++)
        blocks -= t->items[k].forgotten;
    // Descriptors end with the bounce memory, too.
    blocks += blocks / (fs->block_size / 32) + blocks / ((EXT4_BOUNCE >> fs->block_shift) - 2) + 2;
    return used + blocks + revokes / (fs->block_size / 8 - 3) + 2 < size;
}

static int write_log(struct ext4_fs *fs, struct ext4_transaction *t) {
    struct ext4_journal *j = &fs->journal;
    if (!fits(fs, t)) {
        log_err("ext4 (%s): a transaction of %u blocks does not fit into the journal", fs->dev->name, t->count);
        return -EIO;
    }
    struct log_writer w = {.fs = fs, .seq = t->seq, .at = j->head, .memory = j->bounce};
    write_revokes(&w, t);
    uint32_t last = t->count;
    while (last && t->items[last - 1].forgotten)
        last--;
    for (uint32_t k = 0; k < last && w.error == 0;)
        k = write_descriptor(&w, t, k, last - 1);
    writer_flush(&w);
    if (w.error == 0)
        w.error = ext4_flush(fs); // the log's blocks, and the data that was written before
    if (w.error == 0)
        write_commit(&w);
    if (w.error == 0)
        w.error = ext4_flush(fs);
    t->log_end = w.at;
    return w.error;
}

// Closes the running transaction. NULL: it is not the one, or there is none.
static struct ext4_transaction *close_running(struct ext4_fs *fs, uint32_t seq) {
    struct ext4_journal *j = &fs->journal;
    spin_lock(&fs->lock);
    struct ext4_transaction *t = j->running;
    if (!t || ext4_seq_after(t->seq, seq)) {
        spin_unlock(&fs->lock);
        return NULL;
    }
    t->locked = true;
    spin_unlock(&fs->lock);
    wait_event(&j->wait, READ_ONCE(t->handles) == 0);
    // Nobody else changes anything now. The superblock's counters go with each transaction that changes something.
    if (t->count && !j->aborted) {
        struct ext4_handle h = {.fs = fs, .t = t};
        if (ext4_super_change(&h) == 0)
            ext4_super_counts(fs);
    }
    spin_lock(&fs->lock);
    for (uint32_t k = 0; k < t->count; k++) {
        t->items[k].b->running = NULL;
        t->items[k].b->committing = &t->items[k];
    }
    j->committing = t;
    j->running = NULL;
    spin_unlock(&fs->lock);
    waitq_wake_all(&j->wait);
    return t;
}

// It is on the disk (or lost): its buffers wait to be written home.
static void finish(struct ext4_fs *fs, struct ext4_transaction *t, bool good) {
    struct ext4_journal *j = &fs->journal;
    if (good)
        ext4_freed_done(fs, t);
    spin_lock(&fs->lock);
    for (uint32_t k = 0; k < t->count; k++) {
        struct ext4_item *item = &t->items[k];
        struct ext4_buffer *b = item->b;
        kfree(item->frozen);
        b->committing = NULL;
        list_remove(&b->checkpoint_link);
        b->checkpoint = item->forgotten ? NULL : t;
        if (b->checkpoint)
            list_push_back(&t->checkpoint, &b->checkpoint_link);
        else
            j->pinned -= !b->running;
        ext4_buffer_idle_locked(fs, b);
    }
    kfree(t->items);
    t->items = NULL;
    t->count = t->capacity = 0;
    list_push_back(&j->checkpoints, &t->link);
    j->head = t->log_end;
    j->committing = NULL;
    j->committed = t->seq;
    spin_unlock(&fs->lock);
}

static int commit_one(struct ext4_fs *fs, struct ext4_transaction *t) {
    struct ext4_journal *j = &fs->journal;
    wait_event(&j->wait, READ_ONCE(t->data_io) == 0);
    uint64_t flags = spin_lock_irqsave(&j->wait.lock); // whoever ended the last one may still be in there
    spin_unlock_irqrestore(&j->wait.lock, flags);
    int err = READ_ONCE(j->aborted);
    t->log_end = j->head;
    if (err == 0 && j->present)
        err = write_log(fs, t); // an empty one, too: the log's numbers have no gaps
    if (err < 0)
        ext4_abort(fs, err);
    finish(fs, t, err == 0);
    if (err == 0 && !j->present)
        err = ext4_checkpoint(fs);
    waitq_wake_all(&j->wait);
    return err;
}

int ext4_commit(struct ext4_fs *fs, uint32_t seq) {
    struct ext4_journal *j = &fs->journal;
    int err = 0;
    mutex_lock(&j->commit_lock);
    struct ext4_transaction *t = close_running(fs, seq);
    if (t)
        err = commit_one(fs, t);
    else
        err = j->aborted;
    if (err == 0 && j->pinned > 2 * j->max) // more than the memory bears
        err = ext4_checkpoint(fs);
    mutex_unlock(&j->commit_lock);
    return err;
}

int ext4_commit_all(struct ext4_fs *fs) {
    spin_lock(&fs->lock);
    uint32_t seq = fs->journal.next_seq - 1;
    spin_unlock(&fs->lock);
    return ext4_commit(fs, seq);
}
