// After a power cut: the log is read from its tail to the last complete commit, and what it has is written home, but for blocks that
// were freed later (revoked). Nothing in the log is trusted before its checksum was.
#include "fs/ext4/ext4.h"
#include "kernel/memory/slab.h"
#include "kernel/string.h"

enum pass { PASS_SCAN, PASS_REVOKE, PASS_REPLAY };

struct revoked {
    uint64_t block;
    uint32_t seq;
    bool used;
};
struct recovery {
    struct ext4_fs *fs;
    enum pass pass;
    uint32_t end_seq;      // the first one that is not complete
    uint32_t revokes;      // how many there may be
    struct revoked *table; // open hash, a power of two
    uint32_t mask;
    uint64_t replayed;
    uint8_t *block, *data;
};

uint32_t ext4_tag_size(const struct ext4_journal *j) {
    if (j->features & JOURNAL_CSUM_V3)
        return sizeof(struct journal_tag3);
    uint32_t size = sizeof(struct journal_tag) + (j->features & JOURNAL_CSUM_V2 ? 2 : 0);
    return j->features & JOURNAL_64BIT ? size : size - 4;
}

static bool has_sums(const struct ext4_journal *j) { return j->features & (JOURNAL_CSUM_V2 | JOURNAL_CSUM_V3); }

static int read_log(struct recovery *r, uint32_t at, uint8_t *data) {
    uint64_t block;
    int err = ext4_journal_map(r->fs, at, &block);
    return err < 0 ? err : ext4_io_block(r->fs, BLOCK_READ, block, data, 1);
}

static bool tail_good(struct recovery *r) {
    const struct ext4_journal *j = &r->fs->journal;
    uint32_t *tail = (uint32_t *)(r->block + r->fs->block_size - 4), sum = *tail;
    if (!has_sums(j))
        return true;
    *tail = 0;
    bool good = __builtin_bswap32(sum) == ext4_crc32c(j->seed, r->block, r->fs->block_size);
    *tail = sum;
    return good;
}

static bool commit_good(struct recovery *r) {
    const struct ext4_journal *j = &r->fs->journal;
    struct journal_commit *c = (struct journal_commit *)r->block;
    uint32_t sum = c->checksum[0];
    if (!has_sums(j))
        return true;
    c->checksum[0] = 0;
    bool good = __builtin_bswap32(sum) == ext4_crc32c(j->seed, r->block, r->fs->block_size);
    c->checksum[0] = sum;
    return good;
}

static struct revoked *revoke_slot(struct recovery *r, uint64_t block) {
    uint32_t at = (uint32_t)(block * 0x9e3779b97f4a7c15ul >> 40) & r->mask;
    while (r->table[at].used && r->table[at].block != block)
        at = (at + 1) & r->mask;
    return &r->table[at];
}

static int read_revokes(struct recovery *r, uint32_t seq) {
    const struct ext4_journal *j = &r->fs->journal;
    const struct journal_revoke *v = (const struct journal_revoke *)r->block;
    uint32_t size = j->features & JOURNAL_64BIT ? 8 : 4, count = __builtin_bswap32(v->count);
    if (count < sizeof(*v) || count > r->fs->block_size - (has_sums(j) ? 4 : 0))
        return ext4_corrupt(r->fs, "a revoke block of the journal is damaged");
    if (r->pass == PASS_SCAN)
        r->revokes += (count - (uint32_t)sizeof(*v)) / size;
    if (r->pass != PASS_REVOKE)
        return 0;
    for (uint32_t at = sizeof(*v); at + size <= count; at += size) {
        uint64_t block = size == 8 ? __builtin_bswap64(*(const uint64_t *)(r->block + at))
                                   : __builtin_bswap32(*(const uint32_t *)(r->block + at));
        struct revoked *slot = revoke_slot(r, block);
        if (!slot->used || ext4_seq_after(seq, slot->seq))
            *slot = (struct revoked){block, seq, true};
    }
    return 0;
}

struct tag {
    uint64_t block;
    uint32_t flags, sum;
};

static struct tag tag_read(const struct ext4_journal *j, const uint8_t *at) {
    if (j->features & JOURNAL_CSUM_V3) {
        const struct journal_tag3 *t = (const struct journal_tag3 *)at;
        uint64_t hi = j->features & JOURNAL_64BIT ? __builtin_bswap32(t->block_hi) : 0;
        return (struct tag){hi << 32 | __builtin_bswap32(t->block), __builtin_bswap32(t->flags),
                            __builtin_bswap32(t->checksum)};
    }
    const struct journal_tag *t = (const struct journal_tag *)at;
    uint64_t hi = j->features & JOURNAL_64BIT ? __builtin_bswap32(t->block_hi) : 0;
    return (struct tag){hi << 32 | __builtin_bswap32(t->block), __builtin_bswap16(t->flags),
                        __builtin_bswap16(t->checksum)};
}

static int replay_block(struct recovery *r, const struct tag *t, uint32_t seq, uint32_t at) {
    struct ext4_fs *fs = r->fs;
    const struct ext4_journal *j = &fs->journal;
    if (r->table) {
        struct revoked *slot = revoke_slot(r, t->block);
        if (slot->used && !ext4_seq_after(seq, slot->seq))
            return 0;
    }
    if (t->block >= fs->blocks)
        return ext4_corrupt(fs, "the journal has block %lu", t->block);
    int err = read_log(r, at, r->data);
    if (err < 0)
        return err;
    if (has_sums(j)) {
        uint32_t number = __builtin_bswap32(seq),
                 sum = ext4_crc32c(ext4_crc32c(j->seed, &number, 4), r->data, fs->block_size);
        if (t->sum != (j->features & JOURNAL_CSUM_V3 ? sum : sum & 0xffff))
            return ext4_corrupt(fs, "the checksum of block %lu in the journal is wrong", t->block);
    }
    if (t->flags & JOURNAL_TAG_ESCAPE)
        *(uint32_t *)r->data = __builtin_bswap32(JOURNAL_MAGIC);
    r->replayed++;
    return ext4_io_block(fs, BLOCK_WRITE, t->block, r->data, 1);
}

// The blocks that follow a descriptor. *at: behind it; becomes what comes behind them.
static int read_descriptor(struct recovery *r, uint32_t seq, uint32_t *at, uint32_t *left) {
    const struct ext4_journal *j = &r->fs->journal;
    uint32_t size = ext4_tag_size(j), end = r->fs->block_size - (has_sums(j) ? 4 : 0);
    for (uint32_t used = sizeof(struct journal_header); used + size <= end;) {
        struct tag t = tag_read(j, r->block + used);
        if ((*left)-- == 0)
            return 1;
        int err = r->pass == PASS_REPLAY ? replay_block(r, &t, seq, *at) : 0;
        if (err < 0)
            return err;
        *at = ext4_journal_next(j, *at);
        if (t.flags & JOURNAL_TAG_LAST)
            break;
        used += size + (t.flags & JOURNAL_TAG_SAME_UUID ? 0 : 16);
    }
    return 0;
}

// 0: the log's end was reached.
static int one_pass(struct recovery *r, enum pass pass) {
    const struct ext4_journal *j = &r->fs->journal;
    uint32_t at = __builtin_bswap32(j->super->start), seq = __builtin_bswap32(j->super->sequence),
             left = j->end - j->first;
    r->pass = pass;
    while (pass == PASS_SCAN || seq != r->end_seq) {
        int err = left-- ? read_log(r, at, r->block) : 1;
        if (err < 0)
            return err;
        const struct journal_header *h = (const struct journal_header *)r->block;
        if (err > 0 || __builtin_bswap32(h->magic) != JOURNAL_MAGIC || __builtin_bswap32(h->sequence) != seq)
            break;
        at = ext4_journal_next(j, at);
        uint32_t type = __builtin_bswap32(h->type);
        if (type == JOURNAL_COMMIT) {
            if (!commit_good(r))
                break;
            seq++;
        } else if (type == JOURNAL_DESCRIPTOR) {
            if (!tail_good(r))
                break;
            err = read_descriptor(r, seq, &at, &left);
        } else if (type == JOURNAL_REVOKE) {
            if (!tail_good(r))
                break;
            err = read_revokes(r, seq);
        } else {
            break;
        }
        if (err < 0)
            return err;
        if (err > 0)
            break;
    }
    if (pass == PASS_SCAN)
        r->end_seq = seq;
    else if (seq != r->end_seq)
        return ext4_corrupt(r->fs, "the journal changes while it is read");
    return 0;
}

static int make_table(struct recovery *r) {
    if (!r->revokes)
        return 0;
    if (r->revokes > 1u << 20)
        return -ENOMEM;
    uint32_t size = 64;
    while (size < 2 * r->revokes)
        size *= 2;
    if ((uint64_t)size * sizeof(*r->table) > 4u << 20)
        return -ENOMEM;
    r->table = kzalloc(size * sizeof(*r->table));
    r->mask = size - 1;
    return r->table ? 0 : -ENOMEM;
}

static int replay(struct recovery *r) {
    struct ext4_fs *fs = r->fs;
    int err = make_table(r);
    if (err == 0 && r->table)
        err = one_pass(r, PASS_REVOKE);
    if (err == 0)
        err = one_pass(r, PASS_REPLAY);
    if (err == 0)
        err = ext4_flush(fs);
    if (err == 0)
        log_info("ext4 (%s): journal replayed: %lu blocks", fs->dev->name, r->replayed);
    fs->recovered = true;
    return err;
}

int ext4_recover(struct ext4_fs *fs) {
    struct recovery r = {.fs = fs, .block = kmalloc(fs->block_size), .data = kmalloc(fs->block_size)};
    int err = r.block && r.data ? one_pass(&r, PASS_SCAN) : -ENOMEM;
    // A file system that was unmounted well does not need what its log still has.
    if (err == 0 && (fs->incompat & INCOMPAT_RECOVER))
        err = fs->dev->read_only ? -EROFS : replay(&r);
    if (err == 0) {
        fs->journal.next_seq = r.end_seq + 1;
        if (!fs->dev->read_only)
            err = ext4_journal_write_super(fs, 0, fs->journal.next_seq);
    }
    kfree(r.block);
    kfree(r.data);
    kfree(r.table);
    return err;
}
