// The table of file system types, and superblocks: one is kept by its mounts, and by who uses an inode of it without a mount.
// Lock: superblock_lock (spinlock, a leaf) protects the list of those that have a medium.
#include "fs/cache/dentry_lru.h"
#include "fs/cache/pagecache.h"
#include "fs/inotify.h"
#include "fs/internal.h"
#include "kernel/string.h"

static struct spinlock superblock_lock = SPINLOCK_INIT;
static struct list superblocks = LIST_INIT(superblocks); // with a medium
static uint32_t next_dev = 16;

static const struct fs_type *const types[] = {&tmpfs_type,  &proc_type,   &sysfs_type, &devfs_type,
                                              &devpts_type, &mqueue_type, &erofs_type, &p9_type,
                                              &ext4_type,   &ext3_type,   &ext2_type};

const struct fs_type *fs_type_at(unsigned index) { return index < ARRAY_SIZE(types) ? types[index] : NULL; }

const struct fs_type *fs_type_find(const char *name) {
    for (unsigned i = 0; i < ARRAY_SIZE(types); i++)
        if (strcmp(types[i]->name, name) == 0)
            return types[i];
    return NULL;
}

struct superblock *superblock_alloc(const struct superblock_ops *ops, const struct fs_type *type, unsigned flags) {
    struct superblock *sb = kzalloc(sizeof(*sb));
    if (sb) {
        sb->ops = ops;
        sb->type = type;
        sb->refs = 1;
        sb->flags = flags;
        sb->dev = atomic_add(&next_dev, 1);
        sb->next_ino = 1;
        list_init(&sb->link);
    }
    if (sb && ops->sync) {
        spin_lock(&superblock_lock);
        list_push_back(&superblocks, &sb->link);
        spin_unlock(&superblock_lock);
    }
    return sb;
}

bool superblock_any(void) { return !list_empty(&superblocks); }

struct superblock *superblock_next(struct superblock *sb) {
    struct superblock *found = NULL;
    spin_lock(&superblock_lock);
    for (struct list *at = sb ? sb->link.next : superblocks.next; at != &superblocks && !found; at = at->next) {
        struct superblock *s = list_entry(at, struct superblock, link);
        uint32_t refs = READ_ONCE(s->refs); // none: it is on its way out, and waits for our lock
        while (refs &&
               !__atomic_compare_exchange_n(&s->refs, &refs, refs + 1, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
            ;
        if (refs)
            found = s;
    }
    spin_unlock(&superblock_lock);
    if (sb)
        superblock_unref(sb);
    return found;
}

// The last user writes what is not written yet, while the file system is whole; then nobody else may have come by.
static bool drop_reference(struct superblock *sb) {
    uint32_t refs = READ_ONCE(sb->refs);
    do {
        if (refs == 1 && sb->ops->sync && sb->root)
            superblock_sync(sb);
    } while (!__atomic_compare_exchange_n(&sb->refs, &refs, refs - 1, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));
    return refs == 1;
}

void superblock_unref(struct superblock *sb) {
    if (!drop_reference(sb))
        return;
    spin_lock(&superblock_lock);
    list_remove(&sb->link);
    spin_unlock(&superblock_lock);
    if (sb->root) {
        inotify_unmounted(sb);
        dentry_drop_children(sb->root, false);
        if (!(sb->flags & SB_COMPLETE)) { // names and inodes on their way out elsewhere
            dentry_lru_settle();
            page_cache_leave(sb);
        }
        dentry_unref(sb->root);
    }
    if (sb->ops->release)
        sb->ops->release(sb);
    kfree(sb);
}
