// Groups: their descriptors and bitmaps. Each block of them is checked when it is first seen in the cache; bitmaps that the disk does
// not have yet (uninitialised groups) are made in memory.
// Lock: ext4_fs.alloc_lock for changes.
#include "fs/ext4/ext4.h"
#include "kernel/string.h"

static bool is_power(uint32_t n, uint32_t base) {
    while (n > 1 && n % base == 0)
        n /= base;
    return n == 1;
}

bool ext4_group_has_super(const struct ext4_fs *fs, uint32_t group) {
    if (group == 0)
        return true;
    if (fs->compat & 0x200) // sparse_super2
        return group == fs->super->backup_bgs[0] || group == fs->super->backup_bgs[1];
    if (group == 1 || !(fs->ro_compat & RO_SPARSE_SUPER))
        return true;
    return is_power(group, 3) || is_power(group, 5) || is_power(group, 7);
}

uint64_t ext4_group_start(const struct ext4_fs *fs, uint32_t group) {
    return fs->first_block + (uint64_t)group * fs->blocks_per_group;
}

uint32_t ext4_group_blocks(const struct ext4_fs *fs, uint32_t group) {
    return group + 1 < fs->groups ? fs->blocks_per_group : (uint32_t)(fs->blocks - ext4_group_start(fs, group));
}

static uint32_t descriptor_blocks(const struct ext4_fs *fs) { return DIV_ROUND_UP(fs->groups, fs->desc_per_block); }

// Blocks at the start of a group for copies of the superblock and the descriptors.
static uint32_t base_blocks(const struct ext4_fs *fs, uint32_t group) {
    uint32_t n = ext4_group_has_super(fs, group), first_meta = fs->super->first_meta_bg;
    bool meta = fs->incompat & INCOMPAT_META_BG;
    if (!meta || group < first_meta * fs->desc_per_block)
        return n ? 1 + (meta ? first_meta : descriptor_blocks(fs)) + fs->super->reserved_gdt_blocks : 0;
    uint32_t first = group / fs->desc_per_block * fs->desc_per_block;
    return n + (group == first || group == first + 1 || group == first + fs->desc_per_block - 1);
}

static uint64_t descriptor_block(const struct ext4_fs *fs, uint32_t n) {
    if (!(fs->incompat & INCOMPAT_META_BG) || n < fs->super->first_meta_bg)
        return EXT4_SUPER_OFFSET / fs->block_size + n + 1;
    uint32_t group = n * fs->desc_per_block;
    return ext4_group_start(fs, group) + ext4_group_has_super(fs, group);
}

#define HALVES(name, lo, hi)                                                                                           \
    static uint64_t name(const struct ext4_fs *fs, const struct ext4_disk_group *d) {                                  \
        return d->lo | (fs->desc_size >= 64 ? (uint64_t)d->hi << (8 * sizeof(d->lo)) : 0);                             \
    }
HALVES(get_block_bitmap, block_bitmap_lo, block_bitmap_hi)
HALVES(get_inode_bitmap, inode_bitmap_lo, inode_bitmap_hi)
HALVES(get_inode_table, inode_table_lo, inode_table_hi)
HALVES(get_free_blocks, free_blocks_lo, free_blocks_hi)
HALVES(get_free_inodes, free_inodes_lo, free_inodes_hi)
HALVES(get_dirs, used_dirs_lo, used_dirs_hi)
HALVES(get_unused, itable_unused_lo, itable_unused_hi)
#define SET_HALVES(lo, hi)                                                                                             \
    d->lo = (uint16_t)n;                                                                                               \
    if (fs->desc_size >= 64)                                                                                           \
        d->hi = (uint16_t)(n >> 16);

uint64_t ext4_block_bitmap(struct ext4_fs *fs, const struct ext4_disk_group *d) { return get_block_bitmap(fs, d); }
uint64_t ext4_inode_bitmap(struct ext4_fs *fs, const struct ext4_disk_group *d) { return get_inode_bitmap(fs, d); }
uint64_t ext4_inode_table(struct ext4_fs *fs, const struct ext4_disk_group *d) { return get_inode_table(fs, d); }
uint32_t ext4_group_free_blocks(struct ext4_fs *fs, const struct ext4_disk_group *d) {
    return (uint32_t)get_free_blocks(fs, d);
}
uint32_t ext4_group_free_inodes(struct ext4_fs *fs, const struct ext4_disk_group *d) {
    return (uint32_t)get_free_inodes(fs, d);
}
uint32_t ext4_group_dirs(struct ext4_fs *fs, const struct ext4_disk_group *d) { return (uint32_t)get_dirs(fs, d); }
uint32_t ext4_group_unused(struct ext4_fs *fs, const struct ext4_disk_group *d) {
    return fs->ro_compat & (RO_GDT_CSUM | RO_METADATA_CSUM) ? MIN((uint32_t)get_unused(fs, d), fs->inodes_per_group)
                                                            : 0;
}
void ext4_group_set_free_blocks(struct ext4_fs *fs, struct ext4_disk_group *d, uint32_t n) {
    SET_HALVES(free_blocks_lo, free_blocks_hi)
}
void ext4_group_set_free_inodes(struct ext4_fs *fs, struct ext4_disk_group *d, uint32_t n) {
    SET_HALVES(free_inodes_lo, free_inodes_hi)
}
void ext4_group_set_dirs(struct ext4_fs *fs, struct ext4_disk_group *d, uint32_t n) {
    SET_HALVES(used_dirs_lo, used_dirs_hi)
}
void ext4_group_set_unused(struct ext4_fs *fs, struct ext4_disk_group *d, uint32_t n) {
    SET_HALVES(itable_unused_lo, itable_unused_hi)
}

static uint16_t descriptor_sum(const struct ext4_fs *fs, uint32_t group, const struct ext4_disk_group *d) {
    const uint16_t zero = 0;
    const uint32_t at = offsetof(struct ext4_disk_group, checksum), behind = at + 2;
    if (fs->csum) {
        uint32_t c = ext4_crc32c(fs->seed, &group, 4);
        c = ext4_crc32c(c, d, at);
        c = ext4_crc32c(c, &zero, 2);
        return (uint16_t)ext4_crc32c(c, (const char *)d + behind, fs->desc_size - behind);
    }
    uint16_t c = ext4_crc16(0xffff, fs->super->uuid, 16);
    c = ext4_crc16(c, &group, 4);
    c = ext4_crc16(c, d, at);
    return fs->desc_size > behind && (fs->incompat & INCOMPAT_64BIT)
               ? ext4_crc16(c, (const char *)d + behind, fs->desc_size - behind)
               : c;
}

static int check_descriptor(struct ext4_fs *fs, uint32_t group, const struct ext4_disk_group *d) {
    uint64_t table = get_inode_table(fs, d),
             table_blocks = (uint64_t)fs->inodes_per_group * fs->inode_size >> fs->block_shift;
    if ((fs->ro_compat & (RO_GDT_CSUM | RO_METADATA_CSUM)) && d->checksum != descriptor_sum(fs, group, d))
        return ext4_corrupt(fs, "the checksum of group %u's descriptor is wrong", group);
    uint64_t first = (uint64_t)fs->first_block + 1;
    if (get_block_bitmap(fs, d) < first || get_block_bitmap(fs, d) >= fs->blocks || get_inode_bitmap(fs, d) < first ||
        get_inode_bitmap(fs, d) >= fs->blocks || table < first || table > fs->blocks - table_blocks)
        return ext4_corrupt(fs, "group %u's tables lie outside", group);
    if (get_free_blocks(fs, d) > ext4_group_blocks(fs, group) || get_free_inodes(fs, d) > fs->inodes_per_group)
        return ext4_corrupt(fs, "group %u has more free than it has", group);
    return 0;
}

int ext4_group_get(struct ext4_fs *fs, uint32_t group, struct ext4_group_ref *out) {
    uint32_t n = group / fs->desc_per_block, first = n * fs->desc_per_block;
    out->b = ext4_buffer_read(fs, descriptor_block(fs, n));
    if (IS_ERR(out->b))
        return (int)PTR_ERR(out->b);
    if (unlikely(load_acquire(&out->b->checked) != EXT4_IS_GROUPS)) {
        // Nobody changes a descriptor before the check of its block: so not in the midst of it either.
        int err = 0;
        mutex_lock(&out->b->lock);
        for (uint32_t g = first; out->b->checked != EXT4_IS_GROUPS && err == 0; g++) {
            if (g < MIN(first + fs->desc_per_block, fs->groups))
                err = check_descriptor(fs, g, (void *)(out->b->data + (g - first) * fs->desc_size));
            else
                store_release(&out->b->checked, EXT4_IS_GROUPS);
        }
        mutex_unlock(&out->b->lock);
        if (err < 0) {
            ext4_buffer_put(fs, out->b);
            return err;
        }
    }
    out->group = group;
    out->desc = (void *)(out->b->data + (group - first) * fs->desc_size);
    return 0;
}

void ext4_group_put(struct ext4_fs *fs, struct ext4_group_ref *g) { ext4_buffer_put(fs, g->b); }

void ext4_group_changed(struct ext4_fs *fs, struct ext4_group_ref *g) {
    if (fs->ro_compat & (RO_GDT_CSUM | RO_METADATA_CSUM))
        g->desc->checksum = descriptor_sum(fs, g->group, g->desc);
}

int ext4_count_free(struct ext4_fs *fs) {
    fs->free_blocks = 0;
    fs->free_inodes = 0;
    for (uint32_t g = 0; g < fs->groups; g++) {
        struct ext4_group_ref r;
        int err = ext4_group_get(fs, g, &r);
        if (err < 0)
            return err;
        fs->free_blocks += ext4_group_free_blocks(fs, r.desc);
        fs->free_inodes += ext4_group_free_inodes(fs, r.desc);
        ext4_group_put(fs, &r);
    }
    return 0;
}

// --- Bitmaps ---

static uint32_t bitmap_sum(const struct ext4_fs *fs, const struct ext4_buffer *b, uint32_t bits) {
    return ext4_crc32c(fs->seed, b->data, bits / 8);
}

static bool sum_matches(const struct ext4_fs *fs, uint32_t sum, uint16_t lo, uint16_t hi) {
    return !fs->csum || (fs->desc_size >= 64 ? sum == (lo | (uint32_t)hi << 16) : (sum & 0xffff) == lo);
}

static void set_range(uint8_t *map, uint32_t first, uint32_t end) {
    for (; first < end; first++)
        bit_set(map, first);
}

// Calls for the blocks of [start, start + count) that lie in the group: are they marked?
static bool marked(const struct ext4_fs *fs, uint32_t group, const uint8_t *map, uint64_t start, uint64_t count) {
    uint64_t base = ext4_group_start(fs, group), end = base + ext4_group_blocks(fs, group);
    for (uint64_t k = MAX(start, base); k < MIN(start + count, end); k++)
        if (!bit_get(map, (uint32_t)(k - base)))
            return false;
    return true;
}

static void mark(const struct ext4_fs *fs, uint32_t group, uint8_t *map, uint64_t start, uint64_t count) {
    uint64_t base = ext4_group_start(fs, group), end = base + ext4_group_blocks(fs, group);
    for (uint64_t k = MAX(start, base); k < MIN(start + count, end); k++)
        bit_set(map, (uint32_t)(k - base));
}

static uint32_t table_blocks(const struct ext4_fs *fs) {
    return fs->inodes_per_group * fs->inode_size >> fs->block_shift;
}

struct ext4_buffer *ext4_load_block_bitmap(struct ext4_fs *fs, struct ext4_group_ref *g) {
    uint64_t at = ext4_block_bitmap(fs, g->desc);
    bool uninit = (g->desc->flags & GROUP_BLOCK_UNINIT) && (fs->ro_compat & (RO_GDT_CSUM | RO_METADATA_CSUM));
    struct ext4_buffer *b = uninit ? ext4_buffer_zero(fs, at) : ext4_buffer_read(fs, at);
    if (IS_ERR(b) || b->checked == EXT4_IS_BLOCK_BITMAP)
        return b;
    uint32_t bits = ext4_group_blocks(fs, g->group);
    if (uninit) {
        set_range(b->data, 0, base_blocks(fs, g->group));
        mark(fs, g->group, b->data, at, 1);
        mark(fs, g->group, b->data, ext4_inode_bitmap(fs, g->desc), 1);
        mark(fs, g->group, b->data, ext4_inode_table(fs, g->desc), table_blocks(fs));
        set_range(b->data, bits, fs->block_size * 8);
        return b; // made anew as long as the descriptor says so
    }
    int err = 0;
    if (!sum_matches(fs, bitmap_sum(fs, b, fs->blocks_per_group), g->desc->block_bitmap_csum_lo,
                     g->desc->block_bitmap_csum_hi))
        err = ext4_corrupt(fs, "the checksum of group %u's block bitmap is wrong", g->group);
    else if (!marked(fs, g->group, b->data, at, 1) ||
             !marked(fs, g->group, b->data, ext4_inode_bitmap(fs, g->desc), 1) ||
             !marked(fs, g->group, b->data, ext4_inode_table(fs, g->desc), table_blocks(fs)))
        err = ext4_corrupt(fs, "group %u's block bitmap does not know the group's own tables", g->group);
    if (err < 0) {
        ext4_buffer_put(fs, b);
        return ERR_PTR(err);
    }
    b->checked = EXT4_IS_BLOCK_BITMAP;
    return b;
}

struct ext4_buffer *ext4_load_inode_bitmap(struct ext4_fs *fs, struct ext4_group_ref *g) {
    uint64_t at = ext4_inode_bitmap(fs, g->desc);
    bool uninit = (g->desc->flags & GROUP_INODE_UNINIT) && (fs->ro_compat & (RO_GDT_CSUM | RO_METADATA_CSUM));
    struct ext4_buffer *b = uninit ? ext4_buffer_zero(fs, at) : ext4_buffer_read(fs, at);
    if (IS_ERR(b) || b->checked == EXT4_IS_INODE_BITMAP)
        return b;
    if (uninit) {
        set_range(b->data, fs->inodes_per_group, fs->block_size * 8);
        return b;
    }
    if (!sum_matches(fs, bitmap_sum(fs, b, fs->inodes_per_group), g->desc->inode_bitmap_csum_lo,
                     g->desc->inode_bitmap_csum_hi)) {
        ext4_buffer_put(fs, b);
        return ERR_PTR(ext4_corrupt(fs, "the checksum of group %u's inode bitmap is wrong", g->group));
    }
    b->checked = EXT4_IS_INODE_BITMAP;
    return b;
}

void ext4_block_bitmap_changed(struct ext4_fs *fs, struct ext4_group_ref *g, struct ext4_buffer *bitmap) {
    g->desc->flags &= (uint16_t)~GROUP_BLOCK_UNINIT;
    bitmap->checked = EXT4_IS_BLOCK_BITMAP;
    if (!fs->csum)
        return;
    uint32_t sum = bitmap_sum(fs, bitmap, fs->blocks_per_group);
    g->desc->block_bitmap_csum_lo = (uint16_t)sum;
    if (fs->desc_size >= 64)
        g->desc->block_bitmap_csum_hi = (uint16_t)(sum >> 16);
}

void ext4_inode_bitmap_changed(struct ext4_fs *fs, struct ext4_group_ref *g, struct ext4_buffer *bitmap) {
    g->desc->flags &= (uint16_t)~GROUP_INODE_UNINIT;
    bitmap->checked = EXT4_IS_INODE_BITMAP;
    if (!fs->csum)
        return;
    uint32_t sum = bitmap_sum(fs, bitmap, fs->inodes_per_group);
    g->desc->inode_bitmap_csum_lo = (uint16_t)sum;
    if (fs->desc_size >= 64)
        g->desc->inode_bitmap_csum_hi = (uint16_t)(sum >> 16);
}

bool ext4_data_blocks_valid(const struct ext4_fs *fs, uint64_t block, uint64_t count) {
    return block > fs->first_block && block < fs->blocks && count <= fs->blocks - block;
}
