// The older map of ext2 and ext3: twelve blocks in the inode, then blocks full of block numbers, up to three deep.
// Lock: ext4_inode.map; for writing where a handle is given.
#include "fs/ext4/ext4.h"
#include "kernel/string.h"

#define DIRECT 12

struct place {
    int level;      // 0: in the inode; else the slot 12, 13, 14 and so many blocks of numbers
    uint32_t slot;  // in the inode
    uint32_t at[3]; // in the blocks, the outermost first
};

static bool locate(const struct ext4_fs *fs, uint64_t n, struct place *p) {
    uint64_t per = fs->block_size / 4;
    if (n < DIRECT) {
        *p = (struct place){.level = 0, .slot = (uint32_t)n};
        return true;
    }
    n -= DIRECT;
    for (int level = 1; level <= 3; level++) {
        uint64_t size = level == 1 ? per : level == 2 ? per * per : per * per * per;
        if (n >= size) {
            n -= size;
            continue;
        }
        p->level = level;
        p->slot = DIRECT + (uint32_t)level - 1;
        for (int k = level - 1; k >= 0; k--) {
            p->at[k] = (uint32_t)(n % per);
            n /= per;
        }
        return true;
    }
    return false;
}

static struct ext4_buffer *numbers(struct ext4_inode *i, uint32_t block) {
    struct ext4_fs *fs = EXT4_FS(i->vfs.sb);
    if (!ext4_data_blocks_valid(fs, block, 1))
        return ERR_PTR(ext4_corrupt(fs, "inode %lu: block numbers in block %u", i->vfs.ino, block));
    return ext4_buffer_read(fs, block);
}

// What the slots from `at` on say: a run of blocks or of holes.
static void describe(const uint32_t *slots, uint32_t at, uint32_t end, struct ext4_map *out) {
    uint32_t n = 1;
    while (at + n < end && (slots[at] ? slots[at + n] == slots[at] + n : slots[at + n] == 0))
        n++;
    *out = (struct ext4_map){slots[at], n, false};
}

int ext4_indirect_find(struct ext4_inode *i, uint32_t at, struct ext4_map *out) {
    struct ext4_fs *fs = EXT4_FS(i->vfs.sb);
    uint32_t per = fs->block_size / 4;
    struct place p;
    if (!locate(fs, at, &p)) {
        *out = (struct ext4_map){0, 1, false};
        return 0;
    }
    if (p.level == 0) {
        describe(i->block, p.slot, DIRECT, out);
        return 0;
    }
    uint32_t block = i->block[p.slot];
    for (int k = 0; k < p.level; k++) {
        if (!block) { // nothing below: the hole goes on to the end of the last block of numbers at least
            *out = (struct ext4_map){0, per - p.at[p.level - 1], false};
            return 0;
        }
        struct ext4_buffer *b = numbers(i, block);
        if (IS_ERR(b))
            return (int)PTR_ERR(b);
        if (k == p.level - 1)
            describe((uint32_t *)b->data, p.at[k], per, out);
        else
            block = ((uint32_t *)b->data)[p.at[k]];
        ext4_buffer_put(fs, b);
    }
    return 0;
}

// The block of numbers that the slot points to, made when there is none. `holder` is the buffer that the slot lies in, or NULL.
static struct ext4_buffer *get_numbers(struct ext4_handle *h, struct ext4_inode *i, struct ext4_buffer *holder,
                                       uint32_t *slot) {
    struct ext4_fs *fs = h->fs;
    if (*slot)
        return numbers(i, *slot);
    uint32_t one = 1;
    uint64_t block;
    int err = holder ? ext4_change(h, holder) : 0;
    if (err == 0)
        err = ext4_blocks_alloc(h, ext4_goal(i), &one, ALLOC_POOL, &block);
    if (err < 0)
        return ERR_PTR(err);
    struct ext4_buffer *b = ext4_buffer_zero(fs, block);
    err = IS_ERR(b) ? (int)PTR_ERR(b) : ext4_change(h, b);
    if (err < 0) {
        ext4_buffer_put(fs, b);
        (void)ext4_blocks_free(h, block, 1, false);
        return ERR_PTR(err);
    }
    *slot = (uint32_t)block;
    i->disk_blocks += fs->block_size / 512;
    return b;
}

static int fill(struct ext4_handle *h, struct ext4_inode *i, struct ext4_buffer *b, uint32_t *slots, uint32_t at,
                uint32_t end, uint32_t count, unsigned flags, struct ext4_map *out) {
    struct ext4_map hole;
    describe(slots, at, end, &hole);
    uint32_t given = MIN(hole.count, count);
    uint64_t block, goal = at && slots[at - 1] ? slots[at - 1] + 1u : ext4_goal(i);
    int err = b ? ext4_change(h, b) : 0;
    if (err == 0)
        err = ext4_blocks_alloc(h, goal, &given, flags, &block);
    if (err < 0)
        return err;
    for (uint32_t k = 0; k < given; k++)
        slots[at + k] = (uint32_t)block + k;
    i->goal = block + given;
    i->disk_blocks += (uint64_t)given << (h->fs->block_shift - 9);
    *out = (struct ext4_map){block, given, false};
    return 0;
}

int ext4_indirect_allocate(struct ext4_handle *h, struct ext4_inode *i, uint32_t at, uint32_t count, unsigned flags,
                           struct ext4_map *out) {
    struct ext4_fs *fs = h->fs;
    struct place p;
    if (!locate(fs, at, &p))
        return -EFBIG;
    if (p.level == 0)
        return fill(h, i, NULL, i->block, p.slot, DIRECT, count, flags, out);
    struct ext4_buffer *holder = NULL;
    uint32_t *slot = &i->block[p.slot];
    int err = 0;
    for (int k = 0; k < p.level && err == 0; k++) {
        struct ext4_buffer *b = get_numbers(h, i, holder, slot);
        ext4_buffer_put(fs, holder);
        holder = b;
        if (IS_ERR(b))
            return (int)PTR_ERR(b);
        if (k == p.level - 1)
            err = fill(h, i, b, (uint32_t *)b->data, p.at[k], fs->block_size / 4, count, flags, out);
        else
            slot = &((uint32_t *)b->data)[p.at[k]];
    }
    ext4_buffer_put(fs, holder);
    return err;
}

// --- Removing ---

struct removal {
    struct ext4_handle *h;
    struct ext4_inode *i;
    uint64_t first, end;
    int budget; // runs of blocks that this handle may still free
};

static int free_run(struct removal *r, uint32_t block, uint32_t count, bool metadata) {
    r->budget--;
    int err = ext4_blocks_free(r->h, block, count, metadata);
    if (err == 0)
        r->i->disk_blocks -= MIN(r->i->disk_blocks, (uint64_t)count << (r->h->fs->block_shift - 9));
    return err;
}

static bool all_zero(const struct ext4_buffer *b, uint32_t size) {
    const uint64_t *w = (const uint64_t *)b->data;
    for (uint32_t k = 0; k < size / 8; k++)
        if (w[k])
            return false;
    return true;
}

// The blocks of [first, end) that `count` slots point to, the last ones first; slot 0 stands for block `base`. 1: the budget is used up.
static int remove_data(struct removal *r, uint32_t *slots, uint32_t count, uint64_t base) {
    uint32_t low = r->first > base ? (uint32_t)MIN(r->first - base, (uint64_t)count) : 0;
    uint32_t high = r->end > base ? (uint32_t)MIN(r->end - base, (uint64_t)count) : 0;
    while (high > low) {
        uint32_t n = 1, last = slots[high - 1];
        if (!last) {
            high--;
            continue;
        }
        while (high - n > low && slots[high - n - 1] == last - n)
            n++;
        if (r->budget <= 0)
            return 1;
        int err = free_run(r, last - n + 1, n, !S_ISREG(r->i->vfs.mode));
        if (err < 0)
            return err;
        high -= n;
        memset(&slots[high], 0, n * sizeof(*slots));
    }
    return 0;
}

// What of [first, end) lies below a slot that begins with block `base`; the blocks of numbers go when they are empty.
static int remove_below(struct removal *r, uint32_t *slot, int level, uint64_t base) {
    struct ext4_fs *fs = r->h->fs;
    uint64_t per = fs->block_size / 4, step = level == 3 ? per * per : level == 2 ? per : 1;
    if (!*slot || base >= r->end || base + step * per <= r->first)
        return 0;
    if (r->budget <= 0)
        return 1;
    struct ext4_buffer *b = numbers(r->i, *slot);
    if (IS_ERR(b))
        return (int)PTR_ERR(b);
    int err = ext4_change(r->h, b);
    uint32_t *slots = (uint32_t *)b->data;
    if (err == 0 && level == 1)
        err = remove_data(r, slots, (uint32_t)per, base);
    for (uint64_t k = per; k-- > 0 && err == 0 && level > 1;)
        err = remove_below(r, &slots[k], level - 1, base + k * step);
    bool empty = err == 0 && all_zero(b, fs->block_size);
    ext4_buffer_put(fs, b);
    if (empty) {
        uint32_t block = *slot;
        err = free_run(r, block, 1, true);
        if (err == 0)
            *slot = 0;
    }
    return err;
}

int ext4_indirect_remove(struct ext4_handle *h, struct ext4_inode *i, uint32_t first, uint32_t end) {
    uint64_t per = h->fs->block_size / 4;
    struct removal r = {h, i, first, end, 5};
    int err = remove_below(&r, &i->block[14], 3, DIRECT + per + per * per);
    if (err == 0)
        err = remove_below(&r, &i->block[13], 2, DIRECT + per);
    if (err == 0)
        err = remove_below(&r, &i->block[12], 1, DIRECT);
    return err ? err : remove_data(&r, i->block, DIRECT, 0);
}
