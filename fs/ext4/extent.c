// Extent trees. The root lies in the inode, the other nodes in blocks of their own. A change that finds a node full splits the lowest
// full node whose parent has room (or lets the tree grow by a level) and looks again.
// Lock: ext4_inode.map; for writing where a handle is given.
#include "fs/ext4/ext4.h"
#include "kernel/string.h"

struct level {
    struct ext4_buffer *b; // NULL: the root
    struct ext4_extent_header *h;
    int at; // the entry at or before the block looked for; -1: there is none
};
struct extent_path {
    struct level level[EXT4_DEPTH_MAX + 1];
    int depth; // index of the leaf
};

static struct ext4_extent *extents(struct ext4_extent_header *h) { return (struct ext4_extent *)(h + 1); }
static struct ext4_extent_index *indexes(struct ext4_extent_header *h) { return (struct ext4_extent_index *)(h + 1); }
static bool is_unwritten(const struct ext4_extent *e) { return e->len > EXT4_EXTENT_MAX; }
static uint32_t length(const struct ext4_extent *e) {
    return e->len > EXT4_EXTENT_MAX ? e->len - EXT4_EXTENT_MAX : e->len;
}
static uint64_t start_of(const struct ext4_extent *e) { return e->start_lo | (uint64_t)e->start_hi << 32; }
static uint64_t leaf_of(const struct ext4_extent_index *x) { return x->leaf_lo | (uint64_t)x->leaf_hi << 32; }

static void set_extent(struct ext4_extent *e, uint32_t at, uint32_t count, uint64_t block, bool unwritten) {
    e->block = at;
    e->len = (uint16_t)(unwritten ? count + EXT4_EXTENT_MAX : count);
    e->start_hi = (uint16_t)(block >> 32);
    e->start_lo = (uint32_t)block;
}

void ext4_extent_init(struct ext4_inode *i) {
    struct ext4_extent_header *h = (struct ext4_extent_header *)i->block;
    memset(i->block, 0, sizeof(i->block));
    *h = (struct ext4_extent_header){.magic = EXT4_EXTENT_MAGIC, .max = 4};
    i->flags |= EXT4_EXTENTS_FL;
}

// --- Reading ---

static uint32_t node_max(const struct ext4_fs *fs) { return (fs->block_size - 12) / 12; }

static uint32_t *node_tail(const struct ext4_extent_header *h) { return (uint32_t *)((char *)h + 12 + 12 * h->max); }

static void seal(struct ext4_inode *i, struct level *l) {
    if (l->b && EXT4_FS(i->vfs.sb)->csum)
        *node_tail(l->h) = ext4_crc32c(i->seed, l->b->data, 12 + 12 * (size_t)l->h->max);
}

// A node's shape: entries in order, leaves inside the file system.
static bool entries_good(const struct ext4_fs *fs, struct ext4_extent_header *h) {
    uint64_t next = 0;
    for (unsigned k = 0; k < h->entries; k++) {
        if (h->depth) {
            struct ext4_extent_index *x = &indexes(h)[k];
            if ((k && x->block < next) || !ext4_data_blocks_valid(fs, leaf_of(x), 1))
                return false;
            next = (uint64_t)x->block + 1;
        } else {
            struct ext4_extent *e = &extents(h)[k];
            uint64_t end = (uint64_t)e->block + length(e);
            if (length(e) == 0 || (k && e->block < next) || end > EXT4_BLOCK_END ||
                !ext4_data_blocks_valid(fs, start_of(e), length(e)))
                return false;
            next = end;
        }
    }
    return true;
}

static int check_node(struct ext4_inode *i, struct ext4_buffer *b, struct ext4_extent_header *h, int depth) {
    struct ext4_fs *fs = EXT4_FS(i->vfs.sb);
    uint32_t most = b ? node_max(fs) : 4;
    bool good = h->magic == EXT4_EXTENT_MAGIC && h->entries <= h->max && h->max && h->max <= most &&
                (depth < 0 || h->depth == depth) && h->depth <= EXT4_DEPTH_MAX && (h->depth == 0 || h->entries);
    if (good && b && fs->csum && b->checked != EXT4_IS_EXTENTS)
        good = 12 + 12 * (uint32_t)h->max + 4 <= fs->block_size &&
               *node_tail(h) == ext4_crc32c(i->seed, b->data, 12 + 12 * (size_t)h->max);
    if (good && (!b || b->checked != EXT4_IS_EXTENTS))
        good = entries_good(fs, h);
    if (!good)
        return ext4_corrupt(fs, "inode %lu: its extents are damaged", i->vfs.ino);
    if (b)
        b->checked = EXT4_IS_EXTENTS;
    return 0;
}

static void path_put(struct ext4_inode *i, struct extent_path *p) {
    for (int k = 0; k <= p->depth; k++)
        ext4_buffer_put(EXT4_FS(i->vfs.sb), p->level[k].b);
    p->depth = -1;
}

// The last entry that begins at or before `at`. Entries of both kinds begin with their block.
static int search(struct ext4_extent_header *h, uint32_t at) {
    int low = 0, high = h->entries;
    while (low < high) {
        int middle = (low + high) / 2;
        if (extents(h)[middle].block <= at)
            low = middle + 1;
        else
            high = middle;
    }
    return low - 1;
}

// The index's key is the first word of an entry, an extent's too.
_Static_assert(offsetof(struct ext4_extent, block) == offsetof(struct ext4_extent_index, block), "search() takes both");

static int find_path(struct ext4_inode *i, uint32_t at, struct extent_path *p) {
    struct ext4_fs *fs = EXT4_FS(i->vfs.sb);
    struct ext4_extent_header *h = (struct ext4_extent_header *)i->block;
    p->depth = -1;
    int err = check_node(i, NULL, h, -1);
    if (err < 0)
        return err;
    int depth = h->depth;
    struct ext4_buffer *b = NULL;
    for (int k = 0;; k++) {
        p->level[k] = (struct level){b, h, search(h, at)};
        p->depth = k;
        if (k == depth)
            return 0;
        if (p->level[k].at < 0)
            p->level[k].at = 0; // before the first one: there is a hole, and an insertion goes there
        b = ext4_buffer_read(fs, leaf_of(&indexes(h)[p->level[k].at]));
        err = IS_ERR(b) ? (int)PTR_ERR(b) : 0;
        if (err == 0) {
            h = (struct ext4_extent_header *)b->data;
            err = check_node(i, b, h, depth - k - 1);
            if (err < 0)
                ext4_buffer_put(fs, b);
        }
        if (err < 0) {
            path_put(i, p);
            return err;
        }
    }
}

// Where the next entry behind the path's begins.
static uint32_t next_block(const struct extent_path *p) {
    for (int k = p->depth; k >= 0; k--) {
        struct ext4_extent_header *h = p->level[k].h;
        if (p->level[k].at + 1 < h->entries)
            return extents(h)[p->level[k].at + 1].block;
    }
    return EXT4_BLOCK_END;
}

int ext4_extent_find(struct ext4_inode *i, uint32_t at, struct ext4_map *out) {
    struct extent_path p;
    int err = find_path(i, at, &p);
    if (err < 0)
        return err;
    struct level *leaf = &p.level[p.depth];
    struct ext4_extent *e = leaf->at >= 0 ? &extents(leaf->h)[leaf->at] : NULL;
    uint32_t next = next_block(&p);
    if (e && at - e->block < length(e)) {
        uint32_t skip = at - e->block;
        *out = (struct ext4_map){start_of(e) + skip, length(e) - skip, is_unwritten(e)};
    } else if (next > at) {
        *out = (struct ext4_map){0, next - at, false};
    } else {
        err = ext4_corrupt(EXT4_FS(i->vfs.sb), "inode %lu: its extents overlap", i->vfs.ino);
    }
    path_put(i, &p);
    return err;
}

// --- Changing ---

static int change(struct ext4_handle *h, struct level *l) { return l->b ? ext4_change(h, l->b) : 0; }

static void insert_entry(struct ext4_extent_header *h, int at, const void *entry) {
    struct ext4_extent *e = extents(h) + at;
    memmove(e + 1, e, (size_t)(h->entries - at) * sizeof(*e));
    memcpy(e, entry, sizeof(*e));
    h->entries++;
}

static void delete_entry(struct ext4_extent_header *h, int at) {
    struct ext4_extent *e = extents(h) + at;
    memmove(e, e + 1, (size_t)(h->entries - at - 1) * sizeof(*e));
    h->entries--;
}

// The first key of a node is its parent's key for it.
static int correct_keys(struct ext4_handle *h, struct ext4_inode *i, struct extent_path *p, int k) {
    for (; k > 0 && k <= EXT4_DEPTH_MAX && p->level[k].h->entries; k--) {
        uint32_t key = extents(p->level[k].h)[0].block;
        struct level *up = &p->level[k - 1];
        if (indexes(up->h)[up->at].block == key)
            return 0;
        int err = change(h, up);
        if (err < 0)
            return err;
        indexes(up->h)[up->at].block = key;
        seal(i, up);
        if (up->at > 0)
            return 0;
    }
    return 0;
}

static struct ext4_buffer *new_node(struct ext4_handle *h, struct ext4_inode *i, uint64_t *block) {
    struct ext4_fs *fs = h->fs;
    uint32_t one = 1;
    int err = ext4_blocks_alloc(h, ext4_goal(i), &one, ALLOC_POOL, block);
    if (err < 0)
        return ERR_PTR(err);
    struct ext4_buffer *b = ext4_buffer_zero(fs, *block);
    err = IS_ERR(b) ? (int)PTR_ERR(b) : ext4_change(h, b);
    if (err < 0) {
        ext4_buffer_put(fs, b);
        (void)ext4_blocks_free(h, *block, 1, false);
        return ERR_PTR(err);
    }
    struct ext4_extent_header *n = (struct ext4_extent_header *)b->data;
    *n = (struct ext4_extent_header){.magic = EXT4_EXTENT_MAGIC, .max = (uint16_t)node_max(fs)};
    b->checked = EXT4_IS_EXTENTS;
    i->disk_blocks += fs->block_size / 512;
    return b;
}

static struct ext4_extent_index make_index(uint32_t key, uint64_t block) {
    return (struct ext4_extent_index){.block = key, .leaf_lo = (uint32_t)block, .leaf_hi = (uint16_t)(block >> 32)};
}

// The root moves into a block of its own, and points to it.
static int grow_tree(struct ext4_handle *h, struct ext4_inode *i) {
    struct ext4_extent_header *root = (struct ext4_extent_header *)i->block;
    if (root->depth >= EXT4_DEPTH_MAX)
        return -EFBIG;
    uint64_t block;
    struct ext4_buffer *b = new_node(h, i, &block);
    if (IS_ERR(b))
        return (int)PTR_ERR(b);
    struct level l = {b, (struct ext4_extent_header *)b->data, 0};
    l.h->entries = root->entries;
    l.h->depth = root->depth;
    memcpy(extents(l.h), extents(root), root->entries * sizeof(struct ext4_extent));
    seal(i, &l);
    indexes(root)[0] = make_index(root->entries ? extents(l.h)[0].block : 0, block);
    root->entries = 1;
    root->depth++;
    ext4_buffer_put(h->fs, b);
    return 0;
}

// Half of a full node goes to a new one behind it; all of nothing when what comes next goes behind its last entry.
static int split(struct ext4_handle *h, struct ext4_inode *i, struct extent_path *p, int k, uint32_t key) {
    struct level *full = &p->level[k], *up = &p->level[k - 1];
    int err = change(h, full);
    if (err == 0)
        err = change(h, up);
    if (err < 0)
        return err;
    uint64_t block;
    struct ext4_buffer *b = new_node(h, i, &block);
    if (IS_ERR(b))
        return (int)PTR_ERR(b);
    struct level new = {b, (struct ext4_extent_header *)b->data, 0};
    unsigned keep = full->at == full->h->entries - 1 ? full->h->entries - 1 : full->h->entries / 2,
             move = full->h->entries - keep;
    new.h->depth = full->h->depth;
    new.h->entries = (uint16_t)move;
    memcpy(extents(new.h), extents(full->h) + keep, move * sizeof(struct ext4_extent));
    full->h->entries = (uint16_t)keep;
    struct ext4_extent_index x = make_index(extents(new.h)[0].block, block);
    insert_entry(up->h, up->at + 1, &x);
    seal(i, full);
    seal(i, &new);
    seal(i, up);
    ext4_buffer_put(h->fs, b);
    return 0;
}

// Makes the path's leaf one with room.
static int make_room(struct ext4_handle *h, struct ext4_inode *i, struct extent_path *p, uint32_t at) {
    while (p->level[p->depth].h->entries == p->level[p->depth].h->max) {
        int k = p->depth, err;
        while (k > 0 && p->level[k - 1].h->entries == p->level[k - 1].h->max)
            k--;
        err = k == 0 ? grow_tree(h, i) : split(h, i, p, k, at);
        path_put(i, p);
        if (err == 0)
            err = find_path(i, at, p);
        if (err < 0)
            return err;
    }
    return 0;
}

// Does b continue a?
static bool continues(const struct ext4_extent *a, uint32_t at, uint32_t count, uint64_t block, bool unwritten) {
    return a->block + length(a) == at && start_of(a) + length(a) == block && is_unwritten(a) == unwritten &&
           length(a) + count <= EXT4_EXTENT_MAX - (unwritten ? 1u : 0u);
}

static int insert(struct ext4_handle *h, struct ext4_inode *i, struct extent_path *p, uint32_t at, uint32_t count,
                  uint64_t block, bool unwritten) {
    struct level *leaf = &p->level[p->depth];
    struct ext4_extent *e = extents(leaf->h);
    int n = leaf->at;
    int err = change(h, leaf);
    if (err < 0)
        return err;
    if (n >= 0 && continues(&e[n], at, count, block, unwritten)) {
        set_extent(&e[n], e[n].block, length(&e[n]) + count, start_of(&e[n]), unwritten);
        if (n + 1 < leaf->h->entries &&
            continues(&e[n], e[n + 1].block, length(&e[n + 1]), start_of(&e[n + 1]), is_unwritten(&e[n + 1]))) {
            set_extent(&e[n], e[n].block, length(&e[n]) + length(&e[n + 1]), start_of(&e[n]), unwritten);
            delete_entry(leaf->h, n + 1);
        }
        seal(i, leaf);
        return 0;
    }
    struct ext4_extent new;
    set_extent(&new, at, count, block, unwritten);
    if (n + 1 < leaf->h->entries &&
        continues(&new, e[n + 1].block, length(&e[n + 1]), start_of(&e[n + 1]), is_unwritten(&e[n + 1]))) {
        set_extent(&e[n + 1], at, count + length(&e[n + 1]), block, unwritten);
    } else {
        err = make_room(h, i, p, at);
        if (err < 0)
            return err;
        leaf = &p->level[p->depth];
        err = change(h, leaf);
        if (err < 0)
            return err;
        insert_entry(leaf->h, leaf->at + 1, &new);
    }
    seal(i, leaf);
    return correct_keys(h, i, p, p->depth);
}

int ext4_extent_insert(struct ext4_handle *h, struct ext4_inode *i, uint32_t at, uint32_t count, uint64_t block,
                       bool unwritten) {
    struct extent_path p;
    int err = find_path(i, at, &p);
    if (err < 0)
        return err;
    err = insert(h, i, &p, at, count, block, unwritten);
    path_put(i, &p);
    return err;
}

// Cuts the extent at the path, which has more on both sides of `at`, into two.
static int split_extent(struct ext4_handle *h, struct ext4_inode *i, uint32_t at) {
    struct extent_path p;
    int err = find_path(i, at, &p);
    if (err == 0)
        err = make_room(h, i, &p, at);
    if (err < 0)
        return err;
    struct level *leaf = &p.level[p.depth];
    struct ext4_extent *e = leaf->at >= 0 ? &extents(leaf->h)[leaf->at] : NULL;
    if (e && e->block < at && at < e->block + length(e) && (err = change(h, leaf)) == 0) {
        uint32_t skip = at - e->block;
        struct ext4_extent rest;
        set_extent(&rest, at, length(e) - skip, start_of(e) + skip, is_unwritten(e));
        set_extent(e, e->block, skip, start_of(e), is_unwritten(e));
        insert_entry(leaf->h, leaf->at + 1, &rest);
        seal(i, leaf);
    }
    path_put(i, &p);
    return err;
}

// Joins the extent at the path with its neighbours in the leaf when they continue each other.
static int join(struct ext4_handle *h, struct ext4_inode *i, struct extent_path *p) {
    struct level *leaf = &p->level[p->depth];
    for (int n = MAX(leaf->at - 1, 0); n + 1 < leaf->h->entries && n <= leaf->at + 1;) {
        struct ext4_extent *e = &extents(leaf->h)[n], *f = e + 1;
        if (!continues(e, f->block, length(f), start_of(f), is_unwritten(f))) {
            n++;
            continue;
        }
        int err = change(h, leaf);
        if (err < 0)
            return err;
        set_extent(e, e->block, length(e) + length(f), start_of(e), is_unwritten(e));
        delete_entry(leaf->h, n + 1);
        seal(i, leaf);
    }
    return 0;
}

int ext4_extent_convert(struct ext4_handle *h, struct ext4_inode *i, uint32_t at, uint32_t count) {
    struct extent_path p;
    int err = split_extent(h, i, at);
    if (err == 0)
        err = split_extent(h, i, at + count);
    if (err == 0)
        err = find_path(i, at, &p);
    if (err < 0)
        return err;
    struct level *leaf = &p.level[p.depth];
    struct ext4_extent *e = leaf->at >= 0 ? &extents(leaf->h)[leaf->at] : NULL;
    if (!e || e->block != at || length(e) != count)
        err = ext4_corrupt(h->fs, "inode %lu: an extent at block %u is not there", i->vfs.ino, at);
    else if ((err = change(h, leaf)) == 0) {
        set_extent(e, at, count, start_of(e), false);
        seal(i, leaf);
        err = join(h, i, &p);
    }
    path_put(i, &p);
    return err;
}

// --- Removing, from the end ---

// A node without entries goes, and so may its parents.
static int prune(struct ext4_handle *h, struct ext4_inode *i, struct extent_path *p) {
    struct ext4_fs *fs = h->fs;
    int k = p->depth, err = 0;
    for (; k > 0 && p->level[k].h->entries == 0 && err == 0; k--) {
        struct level *up = &p->level[k - 1];
        uint64_t block = p->level[k].b->block;
        err = change(h, up);
        if (err == 0)
            err = ext4_blocks_free(h, block, 1, true);
        if (err < 0)
            return err;
        i->disk_blocks -= MIN(i->disk_blocks, (uint64_t)fs->block_size / 512);
        delete_entry(up->h, up->at);
        seal(i, up);
    }
    struct ext4_extent_header *root = (struct ext4_extent_header *)i->block;
    if (k == 0 && root->entries == 0)
        root->depth = 0;
    // The key of the node whose first entry went.
    return k > 0 || root->entries ? correct_keys(h, i, p, k) : 0;
}

// Frees what of the extent at the path lies in [first, end); it lies there whole, or from its first or to its last block.
static int cut(struct ext4_handle *h, struct ext4_inode *i, struct extent_path *p, uint32_t first, uint32_t end) {
    struct level *leaf = &p->level[p->depth];
    struct ext4_extent *e = &extents(leaf->h)[leaf->at];
    uint32_t from = MAX(first, e->block), to = MIN(end, e->block + length(e));
    // One group or two at a time: the handle has promised no more.
    uint32_t count = MIN(to - from, S_ISREG(i->vfs.mode) ? h->fs->blocks_per_group : 512u); // revoked one by one
    if (from > e->block || count < to - from)
        from = to - count; // from its end
    uint64_t block = start_of(e) + (from - e->block);
    int err = change(h, leaf);
    if (err == 0)
        err = ext4_blocks_free(h, block, count, !S_ISREG(i->vfs.mode));
    if (err < 0)
        return err;
    i->disk_blocks -= MIN(i->disk_blocks, (uint64_t)count << (h->fs->block_shift - 9));
    bool unwritten = is_unwritten(e);
    if (count == length(e))
        delete_entry(leaf->h, leaf->at);
    else if (from == e->block)
        set_extent(e, from + count, length(e) - count, start_of(e) + count, unwritten);
    else
        set_extent(e, e->block, length(e) - count, start_of(e), unwritten);
    seal(i, leaf);
    return leaf->h->entries ? correct_keys(h, i, p, p->depth) : prune(h, i, p);
}

int ext4_extent_remove(struct ext4_handle *h, struct ext4_inode *i, uint32_t first, uint32_t end) {
    if (first >= end)
        return 0;
    // An extent with something to keep at both ends.
    int err = end != EXT4_BLOCK_END ? split_extent(h, i, end) : 0;
    for (int budget = 3; err == 0; budget--) {
        struct extent_path p;
        err = find_path(i, end - 1, &p);
        if (err < 0)
            return err;
        struct level *leaf = &p.level[p.depth];
        struct ext4_extent *e = leaf->at >= 0 ? &extents(leaf->h)[leaf->at] : NULL;
        if (!e || e->block + length(e) <= first) {
            path_put(i, &p);
            return 0;
        }
        if (budget == 0) {
            path_put(i, &p);
            return 1;
        }
        end = MIN(end, e->block + length(e));
        err = cut(h, i, &p, first, end);
        path_put(i, &p);
    }
    return err;
}
