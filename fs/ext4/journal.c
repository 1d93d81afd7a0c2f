// Transactions. All changes of metadata since the last commit make up the running transaction; each change is made under a handle,
// which keeps the transaction open until its last buffer is right. A commit (commit.c) closes it, and the next one begins at once:
// a buffer that belongs to the one being written is copied before it is changed again.
// A transaction begins only when the log has room for the longest one behind what is being written; so a commit never waits for room.
// Locks: ext4_fs.lock (spin) for all that is reached from struct ext4_journal; commit_lock for committing and checkpoints.
#include "fs/ext4/ext4.h"
#include "kernel/memory/reclaim.h"
#include "kernel/memory/slab.h"
#include "kernel/string.h"
#include "kernel/time.h"

static struct slab_cache transaction_cache = SLAB_CACHE("ext4_transaction", sizeof(struct ext4_transaction), 8);

void ext4_transaction_free(struct ext4_transaction *t) {
    kfree(t->items);
    kfree(t->revokes);
    kfree(t->freed);
    slab_free(&transaction_cache, t);
}

void ext4_abort(struct ext4_fs *fs, int error) {
    struct ext4_journal *j = &fs->journal;
    int none = 0;
    if (__atomic_compare_exchange_n(&j->aborted, &none, error, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        log_err("ext4 (%s): error %d: the file system is read-only from now on", fs->dev->name, -error);
    fs->sb->flags |= SB_RDONLY;
    waitq_wake_all(&j->wait);
}

// --- Handles ---

static uint32_t log_used(const struct ext4_journal *j) {
    return j->head >= j->tail ? j->head - j->tail : j->head + (j->end - j->first) - j->tail;
}

// What a transaction of n blocks may need in the log: the blocks, their descriptors, revokes, the commit.
static uint32_t log_need(const struct ext4_fs *fs, uint32_t n) { return n + n / (fs->block_size / 32) + 16; }

// Is there room for the longest transaction behind the one that is being written? lock held.
static bool log_has_room(struct ext4_fs *fs) {
    struct ext4_journal *j = &fs->journal;
    if (!j->present)
        return j->pinned < 4 * j->max;
    uint32_t need = log_need(fs, j->max) + (j->committing ? log_need(fs, j->max) : 0);
    return j->end - j->first - 1 >= log_used(j) + need;
}

// No transaction is running and the log is full: what is committed goes home.
static int make_room(struct ext4_fs *fs) {
    mutex_lock(&fs->journal.commit_lock);
    spin_lock(&fs->lock);
    bool room = log_has_room(fs);
    spin_unlock(&fs->lock);
    int err = room ? 0 : ext4_checkpoint(fs);
    mutex_unlock(&fs->journal.commit_lock);
    return err;
}

static struct ext4_transaction *transaction_new(struct ext4_fs *fs) {
    struct ext4_transaction *t = slab_zalloc(&transaction_cache);
    if (t) {
        list_init(&t->checkpoint);
        list_init(&t->link);
        t->started = time_monotonic();
    }
    return t;
}

// Joins the running transaction when it takes so many more blocks. lock held.
static bool join(struct ext4_fs *fs, struct ext4_handle *h) {
    struct ext4_transaction *t = fs->journal.running;
    uint32_t revokes = t ? t->revoke_count / (fs->block_size / 8 - 3) : 0; // blocks of the log for them
    if (!t || t->locked ||
        (t->handles + t->count + revokes && t->count + revokes + t->credits + h->credits > fs->journal.max))
        return false;
    t->handles++;
    t->credits += h->credits;
    h->t = t;
    return true;
}

static bool still_locked(struct ext4_fs *fs, uint32_t seq) {
    spin_lock(&fs->lock);
    struct ext4_transaction *t = fs->journal.running;
    bool yes = t && t->seq == seq && !fs->journal.aborted;
    spin_unlock(&fs->lock);
    return yes;
}

int ext4_begin(struct ext4_handle *h, struct ext4_fs *fs, uint32_t credits) {
    struct ext4_journal *j = &fs->journal;
    h->fs = fs;
    h->credits = MIN(credits, j->max);
    struct ext4_transaction *new = NULL;
    int err = 0;
    bool fresh = false;
    while (err == 0) {
        if (READ_ONCE(j->aborted) || fs->read_only) {
            err = -EROFS;
            break;
        }
        if (!new && !READ_ONCE(j->running) && !(new = transaction_new(fs))) {
            err = -ENOMEM;
            break;
        }
        spin_lock(&fs->lock);
        bool room = j->running || log_has_room(fs);
        if (!j->running && new &&room) {
            new->seq = j->next_seq++;
            j->running = new;
            new = NULL;
            fresh = true;
        }
        bool joined = join(fs, h);
        struct ext4_transaction *t = j->running;
        bool locked = t && t->locked;
        uint32_t seq = t ? t->seq : 0;
        spin_unlock(&fs->lock);
        if (joined)
            break;
        if (!room)
            err = make_room(fs);
        else if (locked)
            wait_event(&j->wait, !still_locked(fs, seq));
        else if (t) // it is full
            err = ext4_commit(fs, seq);
    }
    if (new)
        ext4_transaction_free(new);
    if (fresh)
        ext4_thread_wake(fs);
    return err;
}

void ext4_end(struct ext4_handle *h) {
    struct ext4_fs *fs = h->fs;
    struct ext4_transaction *t = h->t;
    spin_lock(&fs->lock);
    t->credits -= h->credits;
    bool last = --t->handles == 0 && t->locked;
    spin_unlock(&fs->lock);
    h->t = NULL;
    if (last)
        waitq_wake_all(&fs->journal.wait);
}

// --- What a transaction changes ---

// Room for one more in an array that grows. lock held; dropped meanwhile when it must grow.
static int grow(struct ext4_fs *fs, void **array, uint32_t *capacity, const uint32_t *count, size_t size) {
    while (*count == *capacity) {
        uint32_t had = *capacity, want = had ? had * 2 : 32;
        spin_unlock(&fs->lock);
        void *bigger = kmalloc(want * size);
        spin_lock(&fs->lock);
        if (!bigger)
            return -ENOMEM;
        if (*capacity == had) {
            if (*count)
                memcpy(bigger, *array, *count * size);
            void *old = *array;
            *array = bigger;
            *capacity = want;
            bigger = old;
        }
        kfree(bigger);
    }
    return 0;
}

// The log has not got this buffer yet: it gets a copy. lock held; dropped meanwhile.
static int freeze(struct ext4_fs *fs, struct ext4_buffer *b) {
    while (b->committing && !b->committing->copied && !b->committing->frozen && !b->committing->forgotten) {
        spin_unlock(&fs->lock);
        uint8_t *copy = reclaim_kmalloc(fs->block_size);
        spin_lock(&fs->lock);
        if (!copy)
            return -ENOMEM;
        struct ext4_item *item = b->committing;
        if (item && !item->copied && !item->frozen) {
            memcpy(copy, b->data, fs->block_size);
            item->frozen = copy;
            copy = NULL;
        }
        kfree(copy);
    }
    return 0;
}

int ext4_change(struct ext4_handle *h, struct ext4_buffer *b) {
    struct ext4_fs *fs = h->fs;
    struct ext4_transaction *t = h->t;
    if (READ_ONCE(b->running) == t)
        return 0;
    spin_lock(&fs->lock);
    int err = freeze(fs, b);
    while (err == 0 && b->running != t) {
        if (t->count == t->capacity) {
            err = grow(fs, (void **)&t->items, &t->capacity, &t->count, sizeof(*t->items));
            continue;
        }
        b->running = t;
        b->running_at = t->count;
        t->items[t->count++] = (struct ext4_item){.b = b};
        if (h->credits) { // one that was promised
            h->credits--;
            t->credits--;
        }
        fs->journal.pinned += !b->checkpoint && !b->committing;
    }
    spin_unlock(&fs->lock);
    return err;
}

int ext4_revoke(struct ext4_handle *h, uint64_t block) {
    struct ext4_fs *fs = h->fs;
    struct ext4_transaction *t = h->t;
    struct ext4_buffer *b = ext4_buffer_find(fs, block);
    int err = b ? ext4_change(h, b) : 0;
    spin_lock(&fs->lock);
    if (err == 0)
        err = grow(fs, (void **)&t->revokes, &t->revoke_capacity, &t->revoke_count, sizeof(*t->revokes));
    if (err == 0) {
        t->revokes[t->revoke_count++] = block;
        if (b) { // what the log has of it may be written home until this is on the disk, and no longer
            t->items[b->running_at].forgotten = true;
            ext4_buffer_drop_locked(fs, b);
        }
    }
    spin_unlock(&fs->lock);
    ext4_buffer_put(fs, b);
    return err;
}

int ext4_note_freed(struct ext4_handle *h, uint64_t block, uint32_t count) {
    struct ext4_transaction *t = h->t;
    spin_lock(&h->fs->lock);
    int err = grow(h->fs, (void **)&t->freed, &t->freed_capacity, &t->freed_count, sizeof(*t->freed));
    if (err == 0)
        t->freed[t->freed_count++] = (struct ext4_freed){block, count};
    spin_unlock(&h->fs->lock);
    return err;
}

void ext4_data_start(struct ext4_handle *h) { atomic_add(&h->t->data_io, 1); }

void ext4_data_end(struct ext4_fs *fs, struct ext4_transaction *t) {
    // The committer frees the transaction only after it had the queue's lock.
    uint64_t flags = spin_lock_irqsave(&fs->journal.wait.lock);
    if (atomic_sub(&t->data_io, 1) == 1)
        waitq_wake_locked(&fs->journal.wait, ~0u, 0);
    spin_unlock_irqrestore(&fs->journal.wait.lock, flags);
}

// --- The log as a whole ---

uint32_t ext4_journal_next(const struct ext4_journal *j, uint32_t log_block) {
    return log_block + 1 == j->end ? j->first : log_block + 1;
}

int ext4_journal_map(struct ext4_fs *fs, uint32_t log_block, uint64_t *block) {
    const struct ext4_journal *j = &fs->journal;
    for (uint32_t k = 0; k < j->run_count; k++) {
        const struct ext4_run *r = &j->runs[k];
        if (log_block - r->first < r->count) {
            *block = r->block + (log_block - r->first);
            return (int)MIN(r->count - (log_block - r->first), 0x10000u);
        }
    }
    return ext4_corrupt(fs, "the journal has no block %u", log_block);
}

int ext4_journal_write_super(struct ext4_fs *fs, uint32_t start, uint32_t seq) {
    struct ext4_journal *j = &fs->journal;
    struct journal_super *s = j->super;
    s->start = __builtin_bswap32(start);
    s->sequence = __builtin_bswap32(seq);
    s->feature_incompat = __builtin_bswap32(j->features);
    if (j->features & (JOURNAL_CSUM_V2 | JOURNAL_CSUM_V3)) {
        s->checksum_type = 4; // CRC-32C
        s->checksum = 0;
        s->checksum = __builtin_bswap32(ext4_crc32c(~0u, s, sizeof(*s)));
    }
    uint64_t block;
    int err = ext4_journal_map(fs, 0, &block);
    if (err >= 0)
        err = ext4_io_block(fs, BLOCK_WRITE, block, s, 1); // a whole block of memory
    if (err >= 0)
        err = ext4_flush(fs);
    return MIN(err, 0);
}

static int map_log(struct ext4_fs *fs, struct ext4_inode *i) {
    struct ext4_journal *j = &fs->journal;
    uint64_t blocks = i->vfs.size >> fs->block_shift;
    if (blocks < 256 || blocks > 0x7fffffff || !S_ISREG(i->vfs.mode))
        return ext4_corrupt(fs, "the journal has %lu blocks", blocks);
    uint32_t capacity = 0;
    for (uint32_t at = 0; at < blocks;) {
        struct ext4_map m;
        int err = ext4_map_find(i, at, (uint32_t)blocks - at, &m);
        if (err == 0 && (m.block == 0 || m.unwritten))
            err = ext4_corrupt(fs, "the journal has a hole");
        if (err < 0)
            return err;
        struct ext4_run *last = j->run_count ? &j->runs[j->run_count - 1] : NULL;
        if (last && last->block + last->count == m.block) {
            last->count += m.count;
        } else {
            if (j->run_count == capacity) {
                capacity = capacity ? capacity * 2 : 8;
                struct ext4_run *runs = capacity > 65536 ? NULL : krealloc(j->runs, capacity * sizeof(*runs));
                if (!runs)
                    return -ENOMEM;
                j->runs = runs;
            }
            j->runs[j->run_count++] = (struct ext4_run){at, m.count, m.block};
        }
        at += m.count;
    }
    j->end = (uint32_t)blocks;
    return 0;
}

static int check_super(struct ext4_fs *fs) {
    struct ext4_journal *j = &fs->journal;
    struct journal_super *s = j->super;
    uint32_t type = __builtin_bswap32(s->header.type), len = __builtin_bswap32(s->max_len);
    if (__builtin_bswap32(s->header.magic) != JOURNAL_MAGIC || (type != JOURNAL_SUPER_V1 && type != JOURNAL_SUPER_V2) ||
        __builtin_bswap32(s->block_size) != fs->block_size || len > j->end || len < 256)
        return ext4_corrupt(fs, "the journal's superblock is damaged");
    j->end = len;
    j->first = __builtin_bswap32(s->first);
    j->features = type == JOURNAL_SUPER_V2 ? __builtin_bswap32(s->feature_incompat) : 0;
    uint32_t known = JOURNAL_REVOKES | JOURNAL_64BIT | JOURNAL_ASYNC_COMMIT | JOURNAL_CSUM_V2 | JOURNAL_CSUM_V3;
    if ((j->features & ~known) || (type == JOURNAL_SUPER_V2 && s->feature_ro_compat)) {
        log_warn("ext4 (%s): the journal has features that are not supported: %x", fs->dev->name, j->features & ~known);
        return -EINVAL;
    }
    if (j->features & (JOURNAL_CSUM_V2 | JOURNAL_CSUM_V3)) {
        uint32_t sum = s->checksum;
        s->checksum = 0;
        bool good = __builtin_bswap32(sum) == ext4_crc32c(~0u, s, sizeof(*s));
        s->checksum = sum;
        if (!good)
            return ext4_corrupt(fs, "the checksum of the journal's superblock is wrong");
    }
    uint32_t start = __builtin_bswap32(s->start);
    if (j->first < 1 || j->first >= len / 2 || (start && (start < j->first || start >= len)))
        return ext4_corrupt(fs, "the journal's superblock is damaged");
    j->seed = ext4_crc32c(~0u, s->uuid, sizeof(s->uuid));
    return 0;
}

static int journal_load(struct ext4_fs *fs) {
    struct ext4_journal *j = &fs->journal;
    uint32_t ino = fs->super->journal_inum;
    if (!ino || fs->super->journal_dev) {
        log_warn("ext4 (%s): a journal on another device is not supported", fs->dev->name);
        return -EINVAL;
    }
    struct inode *inode = ext4_inode_get(fs->sb, ino);
    if (IS_ERR(inode))
        return (int)PTR_ERR(inode);
    int err = map_log(fs, ext4_i(inode));
    inode_unref(inode);
    uint64_t block;
    if (err == 0)
        err = ext4_journal_map(fs, 0, &block);
    j->super = kmalloc(MAX(fs->block_size, 1024u));
    if (err >= 0 && !j->super)
        err = -ENOMEM;
    if (err >= 0)
        err = ext4_io_block(fs, BLOCK_READ, block, j->super, 1);
    return err >= 0 ? check_super(fs) : err;
}

int ext4_journal_create(struct ext4_fs *fs) {
    struct ext4_journal *j = &fs->journal;
    mutex_init(&j->commit_lock);
    waitq_init(&j->wait);
    list_init(&j->checkpoints);
    j->next_seq = 1;
    j->bounce = kmalloc(EXT4_BOUNCE);
    if (!j->bounce)
        return -ENOMEM;
    j->max = 1024;
    if (fs->compat & COMPAT_HAS_JOURNAL) {
        int err = journal_load(fs);
        if (err < 0)
            return err;
        // Four transactions fit into the log; one takes no more than a 32nd of the memory, but what the longest change needs.
        j->max = (j->end - j->first) / 5;
        j->present = true;
        j->next_seq = __builtin_bswap32(j->super->sequence);
        if (j->super->start && (err = ext4_recover(fs)) < 0)
            return err;
    }
    uint64_t memory = page_total() * PAGE_SIZE / 32 >> fs->block_shift;
    j->max = (uint32_t)MIN(j->max, MIN(MAX(memory, 256ul), 8192ul));
    j->committed = j->next_seq - 1;
    return 0;
}

int ext4_journal_start(struct ext4_fs *fs) {
    struct ext4_journal *j = &fs->journal;
    j->head = j->tail = j->first;
    j->tail_seq = j->next_seq;
    if (!j->present)
        return 0;
    // As Linux does: checksums of the journal go with those of metadata.
    j->features &= ~(uint32_t)(JOURNAL_CSUM_V2 | JOURNAL_CSUM_V3 | JOURNAL_ASYNC_COMMIT);
    j->features |=
        JOURNAL_REVOKES | (fs->csum ? JOURNAL_CSUM_V3 : 0) | (fs->incompat & INCOMPAT_64BIT ? JOURNAL_64BIT : 0);
    j->super->header.type = __builtin_bswap32(JOURNAL_SUPER_V2);
    return ext4_journal_write_super(fs, j->head, j->next_seq);
}

int ext4_journal_stop(struct ext4_fs *fs) {
    struct ext4_journal *j = &fs->journal;
    int err = ext4_commit_all(fs);
    mutex_lock(&j->commit_lock);
    if (err == 0)
        err = ext4_checkpoint(fs);
    if (err == 0 && j->present)
        err = ext4_journal_write_super(fs, 0, j->next_seq);
    mutex_unlock(&j->commit_lock);
    return err;
}

// After an error there may be transactions that are never written.
static void abandon(struct ext4_fs *fs) {
    struct ext4_journal *j = &fs->journal;
    struct ext4_transaction *t, *next;
    spin_lock(&fs->lock);
    for (uint32_t k = 0; j->running && k < j->running->count; k++) {
        j->running->items[k].b->running = NULL;
        ext4_buffer_idle_locked(fs, j->running->items[k].b);
    }
    if (j->running)
        list_push_back(&j->checkpoints, &j->running->link);
    j->running = NULL;
    list_for_each_safe (t, next, &j->checkpoints, link) {
        while (!list_empty(&t->checkpoint)) {
            struct ext4_buffer *b = list_first(&t->checkpoint, struct ext4_buffer, checkpoint_link);
            list_remove(&b->checkpoint_link);
            b->checkpoint = NULL;
            ext4_buffer_idle_locked(fs, b);
        }
        list_remove(&t->link);
        ext4_transaction_free(t);
    }
    spin_unlock(&fs->lock);
}

void ext4_journal_destroy(struct ext4_fs *fs) {
    struct ext4_journal *j = &fs->journal;
    if (j->checkpoints.next)
        abandon(fs);
    kfree(j->runs);
    kfree(j->super);
    kfree(j->bounce);
}
