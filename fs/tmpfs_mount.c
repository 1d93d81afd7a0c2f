// Mounting a tmpfs: its options, and the limits they set. tmpfs(5).
#include "fs/seqbuf.h"
#include "fs/tmpfs.h"
#include "kernel/string.h"
#include <linux/magic.h>
#include <linux/mount.h>

struct options {
    uint32_t mode, uid, gid;
    uint64_t pages, inodes; // 0: no limit
    bool size_given, inodes_given;
};

// --- Limits ---

static bool take(uint64_t *used, uint64_t max) {
    uint64_t n = atomic_add(used, 1);
    if (!max || n < max)
        return true;
    atomic_sub(used, 1);
    return false;
}

bool tmpfs_take_page(struct tmpfs_limits *l) { return take(&l->pages_used, READ_ONCE(l->pages)); }

bool tmpfs_take_inode(struct tmpfs_limits *l) { return take(&l->inodes_used, READ_ONCE(l->inodes)); }

bool tmpfs_full(const struct tmpfs_limits *l) { return l->pages && READ_ONCE(l->pages_used) >= READ_ONCE(l->pages); }

// --- Options ---

// A number with a unit (k, m, g, and % of all memory where that makes sense), up to the option's end. False: it is none.
static bool parse_size(const char *s, const char *end, bool percent, uint64_t *out) {
    uint64_t n = 0;
    if (s == end || *s < '0' || *s > '9')
        return false;
    for (; s < end && *s >= '0' && *s <= '9'; s++)
        if (__builtin_mul_overflow(n, 10ul, &n) || __builtin_add_overflow(n, (uint64_t)(*s - '0'), &n))
            return false;
    if (s < end && *s == '%' && percent) {
        struct page_stats ps;
        page_stats(&ps);
        if (n > 100000)
            return false;
        n = n * ps.total / 100 * PAGE_SIZE;
        s++;
    } else if (s < end) {
        unsigned shift = (*s | 32) == 'k' ? 10 : (*s | 32) == 'm' ? 20 : (*s | 32) == 'g' ? 30 : 0;
        if (!shift || n > (UINT64_MAX >> shift))
            return false;
        n <<= shift;
        s++;
    }
    *out = n;
    return s == end;
}

static bool parse_number(const char *s, const char *end, unsigned base, uint32_t *out) {
    uint64_t n = 0;
    if (s == end)
        return false;
    for (; s < end; s++) {
        if (*s < '0' || *s >= (char)('0' + base) || (n = n * base + (unsigned)(*s - '0')) > UINT32_MAX)
            return false;
    }
    *out = (uint32_t)n;
    return true;
}

static bool named(const char *s, const char *name, const char **value) {
    size_t len = strlen(name);
    *value = s + len;
    return strncmp(s, name, len) == 0;
}

static bool parse_one(struct options *o, const char *s, const char *end) {
    const char *v;
    if (named(s, "size=", &v)) {
        o->size_given = true;
        bool ok = parse_size(v, end, true, &o->pages);
        o->pages = o->pages / PAGE_SIZE + (o->pages % PAGE_SIZE != 0);
        return ok;
    }
    if (named(s, "nr_blocks=", &v)) {
        o->size_given = true;
        return parse_size(v, end, false, &o->pages);
    }
    if (named(s, "nr_inodes=", &v)) {
        o->inodes_given = true;
        return parse_size(v, end, false, &o->inodes);
    }
    if (named(s, "mode=", &v))
        return parse_number(v, end, 8, &o->mode);
    if (named(s, "uid=", &v))
        return parse_number(v, end, 10, &o->uid);
    if (named(s, "gid=", &v))
        return parse_number(v, end, 10, &o->gid);
    // What Linux knows besides, and changes nothing here: huge pages, memory policies, the width of inode numbers, swap.
    return named(s, "huge=", &v) || named(s, "mpol=", &v) || named(s, "inode32", &v) || named(s, "inode64", &v) ||
           named(s, "noswap", &v);
}

static bool parse(struct options *o, const char *text) {
    for (const char *s = text, *end; *s; s = *end ? end + 1 : end) {
        end = strchr(s, ',');
        end = end ? end : s + strlen(s);
        if (end != s && !parse_one(o, s, end))
            return false;
    }
    return true;
}

// --- The superblock ---

static void statistics(struct superblock *sb, struct fs_statistics *st) {
    const struct tmpfs_limits *l = sb->limits;
    tmpfs_statistics(sb, st);
    if (l->pages) {
        uint64_t used = MIN(READ_ONCE(l->pages_used), l->pages);
        st->blocks = l->pages;
        st->blocks_free = l->pages - used;
    }
    if (l->inodes) {
        st->files = l->inodes;
        st->files_free = l->inodes - MIN(READ_ONCE(l->inodes_used), l->inodes);
    }
}

static int remount(struct superblock *sb, unsigned long flags, const char *text) {
    struct tmpfs_limits *l = sb->limits;
    struct options o = {.pages = l->pages, .inodes = l->inodes};
    if (!parse(&o, text))
        return -EINVAL;
    // A limit does not fall below what is there, and what had none does not get one: both as on Linux.
    if (o.size_given && o.pages && (!l->pages || o.pages < l->pages_used))
        return -EINVAL;
    if (o.inodes_given && o.inodes && (!l->inodes || o.inodes < l->inodes_used))
        return -EINVAL;
    WRITE_ONCE(l->pages, o.pages);
    WRITE_ONCE(l->inodes, o.inodes);
    return 0;
}

static void show_options(struct superblock *sb, struct seqbuf *s) {
    const struct tmpfs_limits *l = sb->limits;
    struct page_stats ps;
    page_stats(&ps);
    if (l->pages != ps.total / 2)
        seq_printf(s, ",size=%luk", (unsigned long)l->pages * (PAGE_SIZE / 1024));
    if (l->inodes != ps.total / 2)
        seq_printf(s, ",nr_inodes=%lu", (unsigned long)l->inodes);
    if (l->mode != 01777)
        seq_printf(s, ",mode=%03o", l->mode);
    if (l->uid)
        seq_printf(s, ",uid=%u", l->uid);
    if (l->gid)
        seq_printf(s, ",gid=%u", l->gid);
}

static void release(struct superblock *sb) { kfree(sb->limits); }

static const struct superblock_ops sb_ops = {
    .statistics = statistics, .remount = remount, .show_options = show_options, .release = release};

static struct superblock *tmpfs_mount(const struct fs_type *type, const char *source, unsigned long flags,
                                      const char *text) {
    struct page_stats ps;
    page_stats(&ps);
    struct options o = {.mode = 01777, .pages = ps.total / 2, .inodes = ps.total / 2};
    if (!parse(&o, text ? text : ""))
        return ERR_PTR(-EINVAL);
    struct tmpfs_limits *l = kzalloc(sizeof(*l));
    if (!l)
        return ERR_PTR(-ENOMEM);
    *l = (struct tmpfs_limits){
        .pages = o.pages, .inodes = o.inodes, .inodes_used = 1, .mode = o.mode & 07777, .uid = o.uid, .gid = o.gid};
    struct superblock *sb = tmpfs_superblock(type, l->mode);
    if (IS_ERR(sb)) {
        kfree(l);
        return sb;
    }
    sb->ops = &sb_ops;
    sb->limits = l;
    sb->root->inode->uid = o.uid;
    sb->root->inode->gid = o.gid;
    return sb;
}

const struct fs_type tmpfs_type = {.name = "tmpfs", .nodev = true, .mount = tmpfs_mount};
