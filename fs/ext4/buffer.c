// Cached blocks of metadata. They are not pages of the device's own cache: a block that a transaction changes may not be written home
// before the log has it, and the log needs its contents as they were when the transaction ended.
// A buffer stays while somebody has a reference, a transaction knows it, or it is not home yet; otherwise it is in the list of those
// that may go. Everything is under ext4_fs.lock; a buffer's own mutex is held while it is read.
#include "fs/ext4/ext4.h"
#include "kernel/memory/reclaim.h"
#include "kernel/memory/slab.h"
#include "kernel/string.h"

static struct slab_cache buffer_cache = SLAB_CACHE("ext4_buffer", sizeof(struct ext4_buffer), 8);

int ext4_buffers_create(struct ext4_fs *fs) {
    list_init(&fs->lru);
    fs->hash = kzalloc(EXT4_HASH_SIZE * sizeof(*fs->hash));
    // A 64th of the memory, within reason.
    uint64_t room = page_total() * PAGE_SIZE / 64 >> fs->block_shift;
    fs->buffer_max = (uint32_t)MIN(MAX(room, 64ul), 8192ul);
    return fs->hash ? 0 : -ENOMEM;
}

static struct ext4_buffer **slot(struct ext4_fs *fs, uint64_t block) {
    return &fs->hash[(block ^ block >> 10 ^ block >> 20) % EXT4_HASH_SIZE];
}

static void buffer_free(struct ext4_buffer *b) {
    kfree(b->data);
    slab_free(&buffer_cache, b);
}

static bool busy(const struct ext4_buffer *b) { return b->refs || b->running || b->committing || b->checkpoint; }

void ext4_buffer_drop_locked(struct ext4_fs *fs, struct ext4_buffer *b) {
    if (b->forgotten)
        return;
    struct ext4_buffer **at = slot(fs, b->block);
    while (*at != b)
        at = &(*at)->hash_next;
    *at = b->hash_next;
    b->forgotten = true;
    fs->buffer_count--;
}

void ext4_buffer_idle_locked(struct ext4_fs *fs, struct ext4_buffer *b) {
    if (busy(b))
        return;
    list_remove(&b->lru);
    if (b->forgotten)
        buffer_free(b);
    else
        list_push_back(&fs->lru, &b->lru);
}

// Throws away the oldest ones that nobody needs.
void ext4_buffers_trim(struct ext4_fs *fs) {
    spin_lock(&fs->lock);
    while (fs->buffer_count > fs->buffer_max && !list_empty(&fs->lru)) {
        struct ext4_buffer *b = list_first(&fs->lru, struct ext4_buffer, lru);
        list_remove(&b->lru);
        ext4_buffer_drop_locked(fs, b);
        buffer_free(b);
    }
    spin_unlock(&fs->lock);
}

void ext4_buffers_destroy(struct ext4_fs *fs) {
    if (!fs->hash)
        return;
    for (unsigned i = 0; i < EXT4_HASH_SIZE; i++) {
        for (struct ext4_buffer *b = fs->hash[i], *next; b; b = next) {
            next = b->hash_next;
            buffer_free(b);
        }
    }
    kfree(fs->hash);
}

static struct ext4_buffer *find_locked(struct ext4_fs *fs, uint64_t block) {
    struct ext4_buffer *b = *slot(fs, block);
    while (b && b->block != block)
        b = b->hash_next;
    if (b && b->refs++ == 0)
        list_remove(&b->lru);
    return b;
}

struct ext4_buffer *ext4_buffer_find(struct ext4_fs *fs, uint64_t block) {
    spin_lock(&fs->lock);
    struct ext4_buffer *b = find_locked(fs, block);
    spin_unlock(&fs->lock);
    return b;
}

static struct ext4_buffer *buffer_get(struct ext4_fs *fs, uint64_t block) {
    spin_lock(&fs->lock);
    struct ext4_buffer *b = find_locked(fs, block);
    spin_unlock(&fs->lock);
    if (b)
        return b;
    struct ext4_buffer *new = slab_zalloc(&buffer_cache);
    uint8_t *data = reclaim_kmalloc(fs->block_size);
    if (!new || !data) {
        slab_free(&buffer_cache, new);
        kfree(data);
        return ERR_PTR(-ENOMEM);
    }
    new->block = block;
    new->data = data;
    new->refs = 1;
    list_init(&new->lru);
    list_init(&new->checkpoint_link);
    mutex_init(&new->lock);
    spin_lock(&fs->lock);
    b = find_locked(fs, block);
    if (!b) {
        new->hash_next = *slot(fs, block);
        *slot(fs, block) = new;
        fs->buffer_count++;
    }
    bool full = fs->buffer_count > fs->buffer_max && !list_empty(&fs->lru);
    spin_unlock(&fs->lock);
    if (b)
        buffer_free(new);
    if (full)
        ext4_buffers_trim(fs);
    return b ? b : new;
}

struct ext4_buffer *ext4_buffer_read(struct ext4_fs *fs, uint64_t block) {
    if (block >= fs->blocks)
        return ERR_PTR(ext4_corrupt(fs, "block %lu lies behind the end", block));
    struct ext4_buffer *b = buffer_get(fs, block);
    if (IS_ERR(b) || load_acquire(&b->valid))
        return b;
    mutex_lock(&b->lock);
    int err = b->valid ? 0 : ext4_io_block(fs, BLOCK_READ, block, b->data, 1);
    if (err == 0)
        store_release(&b->valid, true);
    mutex_unlock(&b->lock);
    if (err < 0) {
        log_warn("ext4 (%s): block %lu cannot be read", fs->dev->name, block);
        ext4_buffer_put(fs, b);
        return ERR_PTR(err);
    }
    return b;
}

struct ext4_buffer *ext4_buffer_zero(struct ext4_fs *fs, uint64_t block) {
    if (block >= fs->blocks)
        return ERR_PTR(ext4_corrupt(fs, "block %lu lies behind the end", block));
    struct ext4_buffer *b = buffer_get(fs, block);
    if (IS_ERR(b))
        return b;
    mutex_lock(&b->lock);
    memset(b->data, 0, fs->block_size);
    b->checked = 0;
    store_release(&b->valid, true);
    mutex_unlock(&b->lock);
    return b;
}

void ext4_buffer_put(struct ext4_fs *fs, struct ext4_buffer *b) {
    if (!b || IS_ERR(b))
        return;
    spin_lock(&fs->lock);
    if (--b->refs == 0)
        ext4_buffer_idle_locked(fs, b);
    spin_unlock(&fs->lock);
}
