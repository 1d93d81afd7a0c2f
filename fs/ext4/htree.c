// Indexed directories: the first block is the root of a tree of hash values, whose leaves are ordinary blocks of entries. A leaf that is
// full is split by the hash values of its names; the tree has two levels of index at most.
// Lock: the directory's inode.lock.
#include "fs/ext4/ext4.h"
#include "kernel/memory/slab.h"
#include "kernel/string.h"

// --- Hash functions of names ---

static void tea(uint32_t buf[4], const uint32_t in[4]) {
    uint32_t sum = 0, b0 = buf[0], b1 = buf[1];
    for (int n = 0; n < 16; n++) {
        sum += 0x9e3779b9;
        b0 += ((b1 << 4) + in[0]) ^ (b1 + sum) ^ ((b1 >> 5) + in[1]);
        b1 += ((b0 << 4) + in[2]) ^ (b0 + sum) ^ ((b0 >> 5) + in[3]);
    }
    buf[0] += b0;
    buf[1] += b1;
}

static uint32_t rotate(uint32_t x, unsigned n) { return x << n | x >> (32 - n); }

static void half_md4(uint32_t buf[4], const uint32_t in[8]) {
    static const uint8_t order[3][8] = {{0, 1, 2, 3, 4, 5, 6, 7}, {1, 3, 5, 7, 0, 2, 4, 6}, {3, 7, 2, 6, 1, 5, 0, 4}};
    static const uint8_t shift[3][4] = {{3, 7, 11, 19}, {3, 5, 9, 13}, {3, 9, 11, 15}};
    static const uint32_t constant[3] = {0, 0x5a827999, 0x6ed9eba1};
    uint32_t v[4] = {buf[0], buf[1], buf[2], buf[3]};
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned k = 0; k < 8; k++) {
            uint32_t *a = &v[(4 - k % 4) % 4], x = v[(5 - k % 4) % 4], y = v[(6 - k % 4) % 4], z = v[(7 - k % 4) % 4];
            uint32_t f = round == 0 ? z ^ (x & (y ^ z)) : round == 1 ? (x & y) + ((x ^ y) & z) : x ^ y ^ z;
            *a = rotate(*a + f + in[order[round][k]] + constant[round], shift[round][k % 4]);
        }
    }
    for (unsigned k = 0; k < 4; k++)
        buf[k] += v[k];
}

static int32_t char_at(const char *name, size_t k, bool is_signed) {
    return is_signed ? (int32_t)(signed char)name[k] : (int32_t)(unsigned char)name[k];
}

static uint32_t legacy(const char *name, size_t len, bool is_signed) {
    uint32_t hash0 = 0x12a3fe2d, hash1 = 0x37abe8f9;
    for (size_t k = 0; k < len; k++) {
        uint32_t hash = hash1 + (hash0 ^ (uint32_t)(char_at(name, k, is_signed) * 7152373));
        if (hash & 0x80000000)
            hash -= 0x7fffffff;
        hash1 = hash0;
        hash0 = hash;
    }
    return hash0 << 1;
}

static void to_words(const char *name, size_t len, uint32_t *out, size_t words, bool is_signed) {
    uint32_t pad = (uint32_t)len | (uint32_t)len << 8;
    pad |= pad << 16;
    size_t n = MIN(len, words * 4), word = 0;
    uint32_t value = pad;
    for (size_t k = 0; k < n; k++) {
        value = (uint32_t)char_at(name, k, is_signed) + (value << 8);
        if (k % 4 == 3) {
            out[word++] = value;
            value = pad;
        }
    }
    if (word < words)
        out[word++] = value;
    while (word < words)
        out[word++] = pad;
}

uint32_t ext4_hash(const struct ext4_fs *fs, uint8_t version, const char *name, size_t len) {
    uint32_t buf[4] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476}, in[8], hash;
    bool is_signed = version < 3;
    unsigned kind = version % 3;
    const uint32_t *s = fs->hash_seed;
    if (s[0] | s[1] | s[2] | s[3])
        memcpy(buf, s, sizeof(buf));
    if (kind == 0) {
        hash = legacy(name, len, is_signed);
    } else {
        size_t words = kind == 1 ? 8 : 4;
        for (size_t at = 0; at < len; at += words * 4) {
            to_words(name + at, len - at, in, words, is_signed);
            if (kind == 1)
                half_md4(buf, in);
            else
                tea(buf, in);
        }
        hash = kind == 1 ? buf[1] : buf[0];
    }
    hash &= ~1u;
    return hash == 0xfffffffe ? 0xfffffffc : hash;
}

// --- Blocks of the index ---

#define ROOT_ENTRIES 32 // offset, behind "." and ".." and the root's information
#define NODE_ENTRIES 8  // behind an empty entry

static struct ext4_dx_root_info *root_info(const uint8_t *data) { return (struct ext4_dx_root_info *)(data + 24); }
static struct ext4_dx_entry *entries_of(const uint8_t *data, bool root) {
    return (struct ext4_dx_entry *)(data + (root ? ROOT_ENTRIES : NODE_ENTRIES));
}
static struct ext4_dx_count *count_of(struct ext4_dx_entry *e) { return (struct ext4_dx_count *)e; }

bool ext4_dir_indexed(const struct ext4_inode *dir) {
    return (dir->flags & EXT4_INDEX_FL) && (EXT4_FS(dir->vfs.sb)->compat & COMPAT_DIR_INDEX);
}

bool ext4_htree_is_index(const struct ext4_inode *dir, const uint8_t *data, uint32_t block) {
    const struct ext4_dirent *e = (const struct ext4_dirent *)data;
    return ext4_dir_indexed(dir) && (block == 0 || (e->inode == 0 && e->rec_len == EXT4_FS(dir->vfs.sb)->block_size));
}

static uint32_t limit_of(const struct ext4_fs *fs, bool root) {
    return (fs->block_size - (root ? ROOT_ENTRIES : NODE_ENTRIES) - (fs->csum ? 8 : 0)) / 8;
}

static uint32_t index_sum(struct ext4_inode *dir, const uint8_t *data, bool root) {
    struct ext4_dx_entry *e = entries_of(data, root);
    const struct ext4_dx_tail *t = (const struct ext4_dx_tail *)(e + count_of(e)->limit);
    const uint32_t zero = 0;
    uint32_t sum = ext4_crc32c(dir->seed, data, (root ? ROOT_ENTRIES : NODE_ENTRIES) + 8u * count_of(e)->count);
    return ext4_crc32c(ext4_crc32c(sum, t, 4), &zero, 4);
}

void ext4_htree_seal(struct ext4_inode *dir, struct ext4_buffer *b, uint32_t block) {
    if (!EXT4_FS(dir->vfs.sb)->csum)
        return;
    struct ext4_dx_entry *e = entries_of(b->data, block == 0);
    ((struct ext4_dx_tail *)(e + count_of(e)->limit))->checksum = index_sum(dir, b->data, block == 0);
}

bool ext4_htree_index_valid(const struct ext4_inode *dir, const uint8_t *data, uint32_t block) {
    const struct ext4_fs *fs = EXT4_FS(dir->vfs.sb);
    bool root = block == 0;
    if (root) {
        const struct ext4_dirent *dot = (const struct ext4_dirent *)data,
                                 *dots = (const struct ext4_dirent *)(data + 12);
        const struct ext4_dx_root_info *r = root_info(data);
        if (dot->rec_len != 12 || dot->name_len != 1 || dots->name_len != 2 || dots->rec_len != fs->block_size - 12 ||
            dots->inode > fs->inodes || dot->inode > fs->inodes)
            return false;
        if (r->info_length != 8 || r->hash_version > 5 || r->indirect_levels > 1)
            return false;
    }
    struct ext4_dx_entry *e = entries_of(data, root);
    // An empty block of entries looks like an index without one where there are no checksums.
    if (!root && !fs->csum && count_of(e)->limit != limit_of(fs, root))
        return true;
    if (count_of(e)->limit != limit_of(fs, root) || count_of(e)->count > count_of(e)->limit || count_of(e)->count == 0)
        return false;
    if (!fs->csum)
        return true;
    return ((const struct ext4_dx_tail *)(e + count_of(e)->limit))->checksum ==
           index_sum((struct ext4_inode *)dir, data, root);
}

// --- The way from the root to a leaf ---

struct index_level {
    struct ext4_buffer *b;
    uint32_t block;
    struct ext4_dx_entry *entries;
    uint32_t at;
};
struct index_path {
    struct index_level level[2];
    int levels; // of index; 0: nothing is held
    uint32_t hash;
};

static void index_put(struct ext4_inode *dir, struct index_path *p) {
    while (p->levels)
        ext4_buffer_put(EXT4_FS(dir->vfs.sb), p->level[--p->levels].b);
}

static struct ext4_buffer *index_block(struct ext4_inode *dir, uint32_t block) {
    bool index;
    struct ext4_buffer *b = ext4_dir_block_any(dir, block, &index);
    if (IS_ERR(b))
        return PTR_ERR(b) == -ENODATA
                   ? ERR_PTR(ext4_corrupt(EXT4_FS(dir->vfs.sb), "directory %lu has holes", dir->vfs.ino))
                   : b;
    struct ext4_dx_entry *e = entries_of(b->data, block == 0);
    if (!index || count_of(e)->limit != limit_of(EXT4_FS(dir->vfs.sb), block == 0) || count_of(e)->count == 0) {
        ext4_buffer_put(EXT4_FS(dir->vfs.sb), b);
        return ERR_PTR(ext4_corrupt(EXT4_FS(dir->vfs.sb), "directory %lu: block %u is no index", dir->vfs.ino, block));
    }
    return b;
}

static uint8_t version_of(const struct ext4_fs *fs, const uint8_t *root) {
    uint8_t v = root_info(root)->hash_version;
    return v < 3 && fs->hash_version >= 3 ? (uint8_t)(v + 3) : v;
}

// The last entry whose hash is not above; the first one has none.
static uint32_t index_search(struct ext4_dx_entry *e, uint32_t hash) {
    uint32_t low = 1, high = count_of(e)->count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (e[middle].hash <= hash)
            low = middle + 1;
        else
            high = middle;
    }
    return low - 1;
}

static int index_down(struct ext4_inode *dir, struct index_path *p, uint32_t block) {
    struct ext4_buffer *b = index_block(dir, block);
    if (IS_ERR(b)) {
        index_put(dir, p);
        return (int)PTR_ERR(b);
    }
    struct ext4_dx_entry *e = entries_of(b->data, block == 0);
    p->level[p->levels++] = (struct index_level){b, block, e, index_search(e, p->hash)};
    return 0;
}

static uint32_t child(const struct index_level *l) { return l->entries[l->at].block & 0x0fffffff; }

static int index_find(struct ext4_inode *dir, const char *name, size_t len, struct index_path *p) {
    p->levels = 0;
    p->hash = 0;
    int err = index_down(dir, p, 0);
    if (err < 0)
        return err;
    const uint8_t *root = p->level[0].b->data;
    p->hash = ext4_hash(EXT4_FS(dir->vfs.sb), version_of(EXT4_FS(dir->vfs.sb), root), name, len);
    p->level[0].at = index_search(p->level[0].entries, p->hash);
    return root_info(root)->indirect_levels ? index_down(dir, p, child(&p->level[0])) : 0;
}

static struct ext4_buffer *leaf_block(struct ext4_inode *dir, uint32_t block) {
    bool index;
    struct ext4_buffer *b = ext4_dir_block_any(dir, block, &index);
    if (IS_ERR(b) ? PTR_ERR(b) == -ENODATA : block == 0) {
        ext4_buffer_put(EXT4_FS(dir->vfs.sb), b);
        return ERR_PTR(ext4_corrupt(EXT4_FS(dir->vfs.sb), "directory %lu: its index is wrong", dir->vfs.ino));
    }
    return b;
}

// Names of one hash value may go on in the next leaf, whose entry then has the lowest bit set. 1: there is such a one.
static int index_next(struct ext4_inode *dir, struct index_path *p) {
    int k = p->levels - 1;
    while (k >= 0 && p->level[k].at + 1 >= count_of(p->level[k].entries)->count)
        k--;
    if (k < 0)
        return 0;
    uint32_t hash = p->level[k].entries[p->level[k].at + 1].hash;
    if ((hash & ~1u) != p->hash || !(hash & 1))
        return 0;
    p->level[k].at++;
    if (k == 0 && p->levels == 2) {
        uint32_t block = child(&p->level[0]);
        ext4_buffer_put(EXT4_FS(dir->vfs.sb), p->level[1].b);
        p->levels = 1;
        int err = index_down(dir, p, block);
        if (err < 0)
            return err;
        p->level[1].at = 0;
    }
    return 1;
}

int ext4_htree_find(struct ext4_inode *dir, const char *name, size_t len, struct ext4_dir_place *out) {
    struct index_path p;
    int err = index_find(dir, name, len, &p);
    if (err < 0)
        return err;
    for (;;) {
        uint32_t block = child(&p.level[p.levels - 1]);
        struct ext4_buffer *b = leaf_block(dir, block);
        err = IS_ERR(b) ? (int)PTR_ERR(b) : ext4_dir_search(dir, b, block, name, len, out);
        if (err == 0)
            break;
        ext4_buffer_put(EXT4_FS(dir->vfs.sb), b);
        if (err != -ENOENT)
            break;
        int more = index_next(dir, &p);
        if (more <= 0) {
            err = more < 0 ? more : -ENOENT;
            break;
        }
    }
    index_put(dir, &p);
    return err;
}

struct ext4_buffer *ext4_htree_leaf(struct ext4_inode *dir, uint32_t hash, uint32_t *next, uint8_t *version) {
    struct ext4_fs *fs = EXT4_FS(dir->vfs.sb);
    struct index_path p = {.hash = hash};
    *next = 0;
    *version = fs->hash_version;
    if (!ext4_dir_indexed(dir))
        return ext4_dir_block(dir, 0);
    int err = index_down(dir, &p, 0);
    if (err < 0)
        return ERR_PTR(err);
    *version = version_of(fs, p.level[0].b->data);
    if (root_info(p.level[0].b->data)->indirect_levels && (err = index_down(dir, &p, child(&p.level[0]))) < 0)
        return ERR_PTR(err);
    for (int k = p.levels - 1; k >= 0 && !*next; k--)
        if (p.level[k].at + 1 < count_of(p.level[k].entries)->count)
            *next = p.level[k].entries[p.level[k].at + 1].hash;
    struct ext4_buffer *b = leaf_block(dir, child(&p.level[p.levels - 1]));
    index_put(dir, &p);
    if (!IS_ERR(b) && *next && *next <= hash) { // no end would be in sight
        ext4_buffer_put(fs, b);
        return ERR_PTR(ext4_corrupt(fs, "directory %lu: its index is not in order", dir->vfs.ino));
    }
    return b;
}

// --- Adding ---

uint32_t ext4_htree_sort(struct ext4_inode *dir, const uint8_t *data, uint8_t version, struct ext4_name_ref *names) {
    struct ext4_fs *fs = EXT4_FS(dir->vfs.sb);
    uint32_t size = ext4_dir_space(fs), n = 0;
    for (uint32_t at = 0; at < size;) {
        const struct ext4_dirent *e = (const struct ext4_dirent *)(data + at);
        if (e->inode) {
            struct ext4_name_ref r = {ext4_hash(fs, version, e->name, e->name_len), (uint16_t)at,
                                      (uint16_t)EXT4_DIRENT_SIZE(e->name_len)};
            uint32_t k = n++;
            for (; k > 0 && names[k - 1].hash > r.hash; k--)
                names[k] = names[k - 1];
            names[k] = r;
        }
        at += e->rec_len;
    }
    return n;
}

// Packs names from one block into an empty one; the last one takes the rest.
static void pack(struct ext4_inode *dir, uint8_t *to, const uint8_t *from, const struct ext4_name_ref *names,
                 uint32_t count) {
    uint32_t space = ext4_dir_space(EXT4_FS(dir->vfs.sb)), at = 0;
    struct ext4_dirent *last = NULL;
    memset(to, 0, space);
    for (uint32_t k = 0; k < count; k++) {
        last = (struct ext4_dirent *)(to + at);
        memcpy(last, from + names[k].offset, names[k].size);
        last->rec_len = names[k].size;
        at += names[k].size;
    }
    if (last)
        last->rec_len = (uint16_t)(last->rec_len + space - at);
    else
        ((struct ext4_dirent *)to)->rec_len = (uint16_t)space;
}

static void index_insert(struct ext4_inode *dir, struct index_level *l, uint32_t hash, uint32_t block) {
    struct ext4_dx_count *c = count_of(l->entries);
    memmove(&l->entries[l->at + 2], &l->entries[l->at + 1], (c->count - l->at - 1u) * sizeof(*l->entries));
    l->entries[l->at + 1] = (struct ext4_dx_entry){hash, block};
    c->count++;
    ext4_htree_seal(dir, l->b, l->block);
}

static bool is_full(const struct index_level *l) { return count_of(l->entries)->count >= count_of(l->entries)->limit; }

static void init_node(struct ext4_inode *dir, struct ext4_buffer *b) {
    struct ext4_fs *fs = EXT4_FS(dir->vfs.sb);
    memset(b->data, 0, fs->block_size);
    ((struct ext4_dirent *)b->data)->rec_len = (uint16_t)fs->block_size;
    count_of(entries_of(b->data, false))->limit = (uint16_t)limit_of(fs, false);
    b->checked = EXT4_IS_INDEX;
}

// Makes room for one entry in the lowest level. 1: done, the way must be looked for again.
static int index_room(struct ext4_handle *h, struct ext4_inode *dir, struct index_path *p) {
    struct index_level *low = &p->level[p->levels - 1], *root = &p->level[0];
    if (!is_full(low))
        return 0;
    if (p->levels == 2 && is_full(root)) {
        log_once(LOG_WARN, "ext4 (%s): directory %lu has as many names as its index can hold", h->fs->dev->name,
                 dir->vfs.ino);
        return -ENOSPC;
    }
    int err = ext4_change(h, root->b);
    if (err == 0)
        err = ext4_change(h, low->b);
    if (err < 0)
        return err;
    uint32_t block;
    struct ext4_buffer *b = ext4_dir_append(h, dir, &block);
    if (IS_ERR(b))
        return (int)PTR_ERR(b);
    init_node(dir, b);
    struct ext4_dx_entry *to = entries_of(b->data, false);
    uint32_t count = count_of(low->entries)->count;
    if (p->levels == 1) { // the root's entries move down
        uint16_t limit = count_of(to)->limit;
        memcpy(to, low->entries, count * sizeof(*to));
        *count_of(to) = (struct ext4_dx_count){limit, (uint16_t)count};
        count_of(low->entries)->count = 1;
        low->entries[0].block = block;
        root_info(low->b->data)->indirect_levels = 1;
        ext4_htree_seal(dir, low->b, 0);
    } else {
        uint32_t keep = count / 2;
        uint32_t hash = low->entries[keep].hash;
        uint16_t limit = count_of(to)->limit;
        memcpy(to, &low->entries[keep], (count - keep) * sizeof(*to));
        *count_of(to) = (struct ext4_dx_count){limit, (uint16_t)(count - keep)};
        count_of(low->entries)->count = (uint16_t)keep;
        ext4_htree_seal(dir, low->b, low->block);
        index_insert(dir, root, hash, block);
    }
    ext4_htree_seal(dir, b, block);
    ext4_buffer_put(h->fs, b);
    return 1;
}

// Half of a leaf's names, those with the higher hash values, go to a new one.
static void divide(struct ext4_inode *dir, struct index_path *p, struct ext4_buffer *leaf, struct ext4_buffer *new,
                   uint32_t block, const uint8_t *old, const struct ext4_name_ref *names, uint32_t count) {
    uint32_t keep = 0, size = 0;
    while (keep < count && size < EXT4_FS(dir->vfs.sb)->block_size / 2)
        size += names[keep++].size;
    keep = MAX(MIN(keep, count - 1), 1u);
    uint32_t hash = names[keep].hash, continued = hash == names[keep - 1].hash;
    pack(dir, leaf->data, old, names, keep);
    pack(dir, new->data, old, names + keep, count - keep);
    ext4_dir_seal(dir, leaf);
    ext4_dir_seal(dir, new);
    index_insert(dir, &p->level[p->levels - 1], hash | continued, block);
}

static int split_leaf(struct ext4_handle *h, struct ext4_inode *dir, struct index_path *p, struct ext4_buffer *leaf) {
    struct ext4_fs *fs = h->fs;
    struct ext4_name_ref *names = kmalloc(fs->block_size / 12 * sizeof(*names));
    uint8_t *old = kmalloc(fs->block_size);
    int err = names && old ? ext4_change(h, leaf) : -ENOMEM;
    if (err == 0)
        err = ext4_change(h, p->level[p->levels - 1].b);
    if (err == 0) {
        uint32_t count = ext4_htree_sort(dir, leaf->data, version_of(fs, p->level[0].b->data), names), block;
        memcpy(old, leaf->data, fs->block_size);
        if (count < 2) { // crumbs: there is room, but not in one piece
            pack(dir, leaf->data, old, names, count);
            ext4_dir_seal(dir, leaf);
        } else {
            struct ext4_buffer *new = ext4_dir_append(h, dir, &block);
            err = IS_ERR(new) ? (int)PTR_ERR(new) : 0;
            if (err == 0)
                divide(dir, p, leaf, new, block, old, names, count);
            ext4_buffer_put(fs, new);
        }
    }
    kfree(names);
    kfree(old);
    return err;
}

static int try_add(struct ext4_handle *h, struct ext4_inode *dir, const char *name, size_t len, uint32_t ino,
                   uint8_t type) {
    struct index_path p;
    int err = index_find(dir, name, len, &p);
    if (err < 0)
        return err;
    struct ext4_buffer *leaf = leaf_block(dir, child(&p.level[p.levels - 1]));
    if (IS_ERR(leaf)) {
        index_put(dir, &p);
        return (int)PTR_ERR(leaf);
    }
    err = ext4_change(h, leaf);
    if (err == 0 && ext4_dir_insert(dir, leaf, name, len, ino, type)) {
        ext4_dir_seal(dir, leaf);
    } else if (err == 0 && (err = index_room(h, dir, &p)) == 0) {
        err = split_leaf(h, dir, &p, leaf);
        err = err ? err : 1;
    }
    ext4_buffer_put(h->fs, leaf);
    index_put(dir, &p);
    return err;
}

int ext4_htree_add(struct ext4_handle *h, struct ext4_inode *dir, const char *name, size_t len, uint32_t ino,
                   uint8_t type) {
    int err = 1;
    for (int round = 0; err == 1 && round < 16; round++)
        err = try_add(h, dir, name, len, ino, type);
    return err == 1 ? -ENOSPC : err;
}

int ext4_htree_make(struct ext4_handle *h, struct ext4_inode *dir) {
    struct ext4_fs *fs = h->fs;
    struct ext4_buffer *root = ext4_dir_block(dir, 0);
    if (IS_ERR(root))
        return PTR_ERR(root) == -ENODATA ? ext4_corrupt(fs, "directory %lu has no block", dir->vfs.ino)
                                         : (int)PTR_ERR(root);
    struct ext4_dirent *dot = (struct ext4_dirent *)root->data,
                       *dots = (struct ext4_dirent *)(root->data + dot->rec_len);
    struct ext4_name_ref *names = kmalloc(fs->block_size / 12 * sizeof(*names));
    int err = names ? ext4_change(h, root) : -ENOMEM;
    if (dot->rec_len != 12 || dot->name_len != 1 || dots->name_len != 2 || dots->name[0] != '.' || !dots->inode)
        err = ext4_corrupt(fs, "directory %lu does not begin with \".\" and \"..\"", dir->vfs.ino);
    uint32_t block;
    struct ext4_buffer *leaf = err == 0 ? ext4_dir_append(h, dir, &block) : ERR_PTR(err);
    if (!IS_ERR(leaf)) {
        uint32_t count = ext4_htree_sort(dir, root->data, fs->hash_version, names), kept = 0;
        for (uint32_t k = 0; k < count; k++) // all but the first two
            if (names[k].offset > 12)
                names[kept++] = names[k];
        pack(dir, leaf->data, root->data, names, kept);
        ext4_dir_seal(dir, leaf);
        dir->flags |= EXT4_INDEX_FL;
        dots->rec_len = (uint16_t)(fs->block_size - 12);
        memset(root->data + 24, 0, fs->block_size - 24);
        *root_info(root->data) = (struct ext4_dx_root_info){.hash_version = fs->hash_version % 3, .info_length = 8};
        struct ext4_dx_entry *e = entries_of(root->data, true);
        *count_of(e) = (struct ext4_dx_count){(uint16_t)limit_of(fs, true), 1};
        e[0].block = block;
        root->checked = EXT4_IS_INDEX;
        ext4_htree_seal(dir, root, 0);
        err = ext4_inode_write(h, dir);
        ext4_buffer_put(fs, leaf);
    } else {
        err = (int)PTR_ERR(leaf);
    }
    kfree(names);
    ext4_buffer_put(fs, root);
    return err;
}
