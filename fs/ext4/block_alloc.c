// Finding free blocks: near a goal, in one run. What a transaction frees may not be used again before that transaction is on the disk:
// until then the old owner may come back. Such blocks are free in the bitmap, and marked in the group's `pending`.
// Lock: ext4_fs.alloc_lock.
#include "fs/ext4/ext4.h"
#include "fs/internal.h"
#include "kernel/string.h"

static bool privileged(const struct ext4_fs *fs) {
    return capable(CAP_SYS_RESOURCE) || current_cred()->fsuid == fs->reserved_uid ||
           (fs->reserved_gid && credentials_in_group(fs->reserved_gid));
}

static uint64_t less(uint64_t a, uint64_t b) { return a > b ? a - b : 0; }

// Blocks that whoever asks now may have. alloc_lock held.
static uint64_t available(const struct ext4_fs *fs, unsigned flags) {
    if (flags & (ALLOC_RESERVED | ALLOC_POOL))
        return fs->free_blocks;
    return less(fs->free_blocks,
                fs->delayed + fs->delayed / 64 + fs->pool + (privileged(fs) ? 0 : fs->reserved_blocks));
}

uint64_t ext4_free_for(struct ext4_fs *fs, bool all) {
    mutex_lock(&fs->alloc_lock);
    uint64_t n = less(fs->free_blocks, fs->delayed + (all ? 0 : fs->reserved_blocks + fs->pool));
    mutex_unlock(&fs->alloc_lock);
    return n;
}

int ext4_reserve(struct ext4_fs *fs, uint32_t blocks) {
    mutex_lock(&fs->alloc_lock);
    int err = available(fs, 0) >= blocks ? 0 : -ENOSPC;
    if (err == 0)
        fs->delayed += blocks;
    mutex_unlock(&fs->alloc_lock);
    return err;
}

void ext4_unreserve(struct ext4_fs *fs, uint32_t blocks) {
    mutex_lock(&fs->alloc_lock);
    fs->delayed = less(fs->delayed, blocks);
    mutex_unlock(&fs->alloc_lock);
}

// --- In one group ---

struct view {
    const uint8_t *used, *pending; // pending may be NULL
    uint32_t bits;
};

static inline uint8_t view_byte(const struct view *v, uint32_t n) {
    return v->used[n] | (v->pending ? v->pending[n] : 0);
}

static uint32_t next_free(const struct view *v, uint32_t at) {
    while (at < v->bits) {
        uint8_t byte = (uint8_t)~view_byte(v, at >> 3) & (uint8_t)(0xff << (at & 7));
        if (byte)
            return MIN((at & ~7u) + (uint32_t)__builtin_ctz(byte), v->bits);
        at = (at & ~7u) + 8;
    }
    return v->bits;
}

static uint32_t run_length(const struct view *v, uint32_t at, uint32_t max) {
    uint32_t n = 0, end = MIN(v->bits - at, max);
    while (n < end) {
        uint32_t bit = at + n;
        uint8_t byte = view_byte(v, bit >> 3);
        if (byte == 0 && !(bit & 7)) {
            n += 8;
        } else if (!(byte >> (bit & 7) & 1)) {
            n++;
        } else {
            break;
        }
    }
    return MIN(n, end);
}

// The first run of `want` free bits at or behind `from`, or the longest one. Its length; 0: none.
static uint32_t find_run(const struct view *v, uint32_t from, uint32_t want, uint32_t *at) {
    uint32_t best = 0;
    for (uint32_t k = next_free(v, from); k < v->bits;) {
        uint32_t n = run_length(v, k, want);
        if (n > best) {
            best = n;
            *at = k;
        }
        if (n == want)
            break;
        k = next_free(v, k + n);
    }
    return best;
}

// Takes them. The bitmap is loaded.
static int take(struct ext4_handle *h, struct ext4_group_ref *g, struct ext4_buffer *bitmap, uint32_t first,
                uint32_t count) {
    struct ext4_fs *fs = h->fs;
    int err = ext4_change(h, bitmap);
    if (err == 0)
        err = ext4_change(h, g->b);
    if (err < 0)
        return err;
    uint32_t free = ext4_group_free_blocks(fs, g->desc);
    if (free < count)
        return ext4_corrupt(fs, "group %u has more free blocks than it counts", g->group);
    for (uint32_t k = first; k < first + count; k++)
        bit_set(bitmap->data, k);
    ext4_group_set_free_blocks(fs, g->desc, free - count);
    ext4_block_bitmap_changed(fs, g, bitmap);
    ext4_group_changed(fs, g);
    fs->free_blocks = less(fs->free_blocks, count);
    return 0;
}

// Tries one group. 1: nothing there that is long enough.
static int try_group(struct ext4_handle *h, uint32_t group, uint32_t goal, uint32_t want, uint32_t enough,
                     uint64_t *block, uint32_t *count) {
    struct ext4_fs *fs = h->fs;
    struct ext4_group *mine = &fs->group[group];
    struct ext4_group_ref g;
    int err = ext4_group_get(fs, group, &g);
    if (err < 0)
        return err;
    uint32_t free = less(ext4_group_free_blocks(fs, g.desc), mine->pending_count), at = 0, n = 0;
    struct ext4_buffer *bitmap = NULL;
    if (free >= enough) {
        bitmap = ext4_load_block_bitmap(fs, &g);
        if (IS_ERR(bitmap)) {
            ext4_group_put(fs, &g);
            return (int)PTR_ERR(bitmap);
        }
        struct view v = {bitmap->data, mine->pending, ext4_group_blocks(fs, group)};
        if (goal && goal < v.bits && next_free(&v, goal) == goal && (n = run_length(&v, goal, want)) >= MIN(enough, 8u))
            at = goal; // right behind what was before is better than a long run elsewhere
        else if ((n = find_run(&v, goal < v.bits ? goal : 0, want, &at)) < enough)
            n = find_run(&v, MIN(mine->hint, v.bits), want, &at);
        if (n < enough && mine->hint)
            n = find_run(&v, 0, want, &at);
    }
    n = MIN(n, ext4_group_free_blocks(fs, g.desc));
    err = n >= MIN(enough, 8u) && n ? take(h, &g, bitmap, at, n) : 1;
    if (err == 0) {
        *block = ext4_group_start(fs, group) + at;
        *count = n;
        if (at <= mine->hint)
            mine->hint = at + n;
    }
    ext4_buffer_put(fs, bitmap);
    ext4_group_put(fs, &g);
    return err;
}

int ext4_blocks_alloc(struct ext4_handle *h, uint64_t goal, uint32_t *count, unsigned flags, uint64_t *block) {
    struct ext4_fs *fs = h->fs;
    if (goal <= fs->first_block || goal >= fs->blocks)
        goal = fs->first_block;
    uint32_t first = (uint32_t)((goal - fs->first_block) / fs->blocks_per_group);
    uint32_t offset = (uint32_t)((goal - fs->first_block) % fs->blocks_per_group);
    mutex_lock(&fs->alloc_lock);
    uint32_t want = (uint32_t)MIN((uint64_t)*count, available(fs, flags)), given = *count;
    int err = want ? 1 : -ENOSPC;
    // First a run of some length, then whatever there is.
    for (uint32_t pass = 0, enough = MIN(want, 256u); err == 1 && pass < 3;
         pass++, enough = pass == 1 ? MIN(want, 16u) : 1) {
        for (uint32_t k = 0; k < fs->groups && err == 1; k++) {
            uint32_t group = (first + k) % fs->groups;
            err = try_group(h, group, k == 0 ? offset : 0, want, enough, block, &given);
        }
    }
    mutex_unlock(&fs->alloc_lock);
    *count = given;
    return err == 1 ? -ENOSPC : err;
}

// --- Freeing ---

static bool pending_make(struct ext4_fs *fs, struct ext4_group *g) {
    return g->pending || (g->pending = kzalloc(fs->blocks_per_group / 8));
}

static void pending_add(struct ext4_fs *fs, struct ext4_group *g, uint32_t first, uint32_t count) {
    for (uint32_t k = first; k < first + count; k++)
        bit_set(g->pending, k);
    g->pending_count += count;
    fs->pending += count;
}

static int free_in_group(struct ext4_handle *h, uint32_t group, uint32_t first, uint32_t count) {
    struct ext4_fs *fs = h->fs;
    struct ext4_group_ref g;
    int err = ext4_group_get(fs, group, &g);
    if (err < 0)
        return err;
    struct ext4_buffer *bitmap = ext4_load_block_bitmap(fs, &g);
    err = IS_ERR(bitmap) ? (int)PTR_ERR(bitmap) : 0;
    for (uint32_t k = first; k < first + count && err == 0; k++)
        if (!bit_get(bitmap->data, k))
            err = ext4_corrupt(fs, "block %lu is freed twice", ext4_group_start(fs, group) + k);
    if (err == 0)
        err = ext4_change(h, bitmap);
    if (err == 0)
        err = ext4_change(h, g.b);
    if (err == 0 && !pending_make(fs, &fs->group[group]))
        err = -ENOMEM;
    if (err == 0)
        err = ext4_note_freed(h, ext4_group_start(fs, group) + first, count);
    if (err == 0) {
        pending_add(fs, &fs->group[group], first, count);
        for (uint32_t k = first; k < first + count; k++)
            bit_clear(bitmap->data, k);
        ext4_group_set_free_blocks(fs, g.desc, ext4_group_free_blocks(fs, g.desc) + count);
        ext4_block_bitmap_changed(fs, &g, bitmap);
        ext4_group_changed(fs, &g);
        fs->free_blocks += count;
        fs->group[group].hint = MIN(fs->group[group].hint, first);
    }
    ext4_buffer_put(fs, bitmap);
    ext4_group_put(fs, &g);
    return err;
}

int ext4_blocks_free(struct ext4_handle *h, uint64_t block, uint32_t count, bool metadata) {
    struct ext4_fs *fs = h->fs;
    if (!ext4_data_blocks_valid(fs, block, count))
        return ext4_corrupt(fs, "blocks %lu to %lu are freed and lie outside", block, block + count);
    int err = 0;
    bool part = false; // done: the rest may not fail, somebody still points to all of it
    for (uint32_t k = 0; metadata && k < count && err == 0; k++) {
        err = ext4_revoke(h, block + k);
        part |= err == 0;
    }
    mutex_lock(&fs->alloc_lock);
    while (count && err == 0) {
        uint32_t group = (uint32_t)((block - fs->first_block) / fs->blocks_per_group);
        uint32_t first = (uint32_t)((block - fs->first_block) % fs->blocks_per_group);
        uint32_t n = MIN(count, fs->blocks_per_group - first);
        err = free_in_group(h, group, first, n);
        part |= err == 0;
        block += n;
        count -= n;
    }
    mutex_unlock(&fs->alloc_lock);
    return err < 0 && part ? ext4_corrupt(fs, "blocks could be freed in part only (error %d)", -err) : err;
}

void ext4_freed_done(struct ext4_fs *fs, struct ext4_transaction *t) {
    mutex_lock(&fs->alloc_lock);
    for (uint32_t k = 0; k < t->freed_count; k++) {
        uint64_t at = t->freed[k].block - fs->first_block;
        struct ext4_group *g = &fs->group[at / fs->blocks_per_group];
        uint32_t first = (uint32_t)(at % fs->blocks_per_group), count = t->freed[k].count;
        for (uint32_t bit = first; g->pending && bit < first + count; bit++)
            bit_clear(g->pending, bit);
        g->pending_count -= count;
        fs->pending -= count;
        if (!g->pending_count) {
            kfree(g->pending);
            g->pending = NULL;
        }
    }
    mutex_unlock(&fs->alloc_lock);
}
